import { randomBytes } from "node:crypto"
import { FAULT, VERSION } from "@waiaas/domain/Build"
import { DaemonFacts } from "@waiaas/domain/DaemonFacts"
import { type FileFailed, LockBusy } from "@waiaas/domain/DataErrors"
import type { Run } from "@waiaas/domain/JournalRecord"
import { DaemonStartFailed } from "@waiaas/domain/RunErrors"
import { ConfigFile, warnOfUnknownVariables } from "@waiaas/services/ConfigFile"
import { layerDatabase } from "@waiaas/services/Database"
import { KeyValueStore } from "@waiaas/services/KeyValueStore"
import { checkCompatible } from "@waiaas/services/Migrator"
import { namedBuild } from "@waiaas/services/NamedBuild"
import { Probation } from "@waiaas/services/Probation"
import { unnamedDaemon } from "@waiaas/services/platform/DatabaseReaders"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment, unixSeconds } from "@waiaas/services/platform/Environment"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { exitFlushed } from "@waiaas/services/platform/Streams"
import { Recover } from "@waiaas/services/Recover"
import { RunLocks } from "@waiaas/services/RunLocks"
import { StartGate } from "@waiaas/services/StartGate"
import { Supervision } from "@waiaas/services/Supervision"
import { VersionCheck } from "@waiaas/services/VersionCheck"
import { recordWrittenBy } from "@waiaas/services/WrittenBy"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { BackgroundWorkers } from "./BackgroundWorkers.ts"
import { layerDaemon } from "./DaemonLayers.ts"
import { Facts } from "./Facts.ts"
import { HeldGate } from "./HeldGate.ts"
import { Keystore } from "./Keystore.ts"
import { layerLastCheckpoint } from "./LastCheckpoint.ts"
import { layerLog } from "./Log.ts"
import { prepareDatabase } from "./PrepareDatabase.ts"
import { Shutdown } from "./Shutdown.ts"
import { UpdateCheck, UpdateCheckFailed } from "./UpdateCheck.ts"

/** What `serve` ends with: it was asked to stop, or other code has to take this process over. */
export type Ending = { readonly _tag: "Stopped" } | { readonly _tag: "BecomeOther"; readonly daemon: string }

/** The daemon: environment and lock, database, keystore, services, HTTP, background workers, ready. */
export const serve = (background: boolean) =>
  Effect.scoped(
    Effect.gen(function* () {
      // Before anything else that a stop takes down: so it is in force until all of that is.
      const endInTime = yield* stopDeadline
      const { paths, check, checkAll } = yield* DataDir
      yield* check
      const loaded = yield* (yield* ConfigFile).load
      const { config } = loaded
      const log = layerLog({
        level: config.daemon.log_level,
        file: loaded.logFile,
        // In the background nobody reads stderr, and its file is not rotated: only a crash speaks there.
        ...(background ? { stderr: () => {} } : {}),
      })
      return yield* Effect.gen(function* () {
        yield* warnOfUnknownVariables
        const admission = yield* (yield* StartGate).admit
        if (admission._tag === "BecomeOther") return admission
        const { held } = admission
        yield* expectNoOther(loaded.databasePath)
        const facts = yield* writeFacts(loaded.digest, config.daemon)
        const files = yield* DurableFile
        yield* atEndInOrder(files.remove(paths.facts))
        // A held daemon opens what the upgrade has checked and migrated: it changes nothing itself.
        if (Option.isNone(held)) {
          yield* checkAll(loaded)
          yield* prepareDatabase(loaded.databasePath)
        }
        const probation = yield* Probation
        // What ends before it was ready was refused: that says nothing about this version.
        yield* atEndInOrder(probation.refused)
        if (Option.isNone(held)) yield* probation.started
        const suspicion = yield* probation.suspicion
        if (Option.isSome(suspicion))
          yield* Effect.logWarning(`${suspicion.value.message} To go back: ${suspicion.value.next}`)
        if (FAULT === "start") return yield* startFailed("this release was made not to start")

        const database = Layer.mergeAll(
          layerLastCheckpoint(loaded.databasePath),
          Option.isNone(held) ? Layer.effectDiscard(recordVersion(loaded.databasePath)) : Layer.empty,
        ).pipe(Layer.provideMerge(layerDatabase({ path: loaded.databasePath, create: false })))
        const daemon = layerDaemon({
          hostname: config.daemon.hostname,
          port: config.daemon.port,
          drain: Duration.seconds(Math.max(1, config.daemon.shutdown_timeout - 2)),
        }).pipe(
          Layer.provideMerge(layerUpdateCheck),
          Layer.provideMerge(
            Layer.mergeAll(Keystore.layer, HeldGate.layer(Option.isSome(held) ? "held" : "open")),
          ),
          Layer.provideMerge(Shutdown.layer),
          Layer.provideMerge(Layer.succeed(Facts, facts)),
          Layer.provideMerge(database),
        )
        yield* run(loaded.databasePath, config.daemon, held, endInTime).pipe(Effect.provide(daemon))
        return { _tag: "Stopped" } as const
      }).pipe(Effect.provide(log))
    }),
  )

type DaemonSettings = {
  readonly hostname: string
  readonly port: number
  readonly shutdown_timeout: number
  readonly update_check: boolean
  readonly update_check_interval: number
}

/**
 * Does an act at the end of the daemon, but for a bug's: a stop by a signal is an interruption and a refusal is a failure
 * with its reason, so what is done in order cannot come after the run.
 */
const atEndInOrder = (act: Effect.Effect<void, FileFailed>) =>
  Effect.addFinalizer((exit) => {
    const hasReason = Exit.isFailure(exit) && Option.isSome(Cause.failureOption(exit.cause))
    return Exit.isSuccess(exit) || Exit.isInterrupted(exit) || hasReason
      ? Effect.catchAll(act, (error) => Effect.logWarning(error.message))
      : Effect.void
  })

/** It is asked to stop: what ends it from here on is no crash, however long it takes. */
const stopping = (why: string, endInTime: Effect.Effect<void>) =>
  Effect.gen(function* () {
    yield* Effect.logInfo(`Stopping: ${why}`)
    yield* endInTime
    yield* Effect.catchAll((yield* Probation).stopped, (error) => Effect.logWarning(error.message))
  })

/** From ready to stop. */
const run = (
  databasePath: string,
  config: DaemonSettings,
  held: Option.Option<Run>,
  endInTime: (seconds: number) => Effect.Effect<void>,
) =>
  Effect.gen(function* () {
    const shutdown = yield* Shutdown
    yield* checkCompatible(databasePath)
    if (config.update_check) {
      const { check } = yield* UpdateCheck
      yield* (yield* BackgroundWorkers).register(
        "version check",
        Duration.seconds(config.update_check_interval),
        Effect.catchAll(check, (error) => Effect.logWarning(error.message)),
        { runImmediately: true },
      )
    }
    yield* Effect.logInfo(
      `WAIaaS ${VERSION} ${Option.isSome(held) ? "is held until the upgrade is committed" : "is ready"} on ${config.hostname}:${config.port}`,
    )
    if (FAULT === "crash-loop")
      yield* Effect.forkDaemon(
        Effect.delay(
          Effect.sync(() => process.exit(9)),
          "1500 millis",
        ),
      )
    const why = yield* Effect.raceFirst(
      shutdown.requested,
      Option.match(held, {
        onNone: () => Effect.never,
        onSome: (upgrade) => awaitCommit(upgrade, databasePath),
      }),
    )
    yield* stopping(why, endInTime(config.shutdown_timeout))
  }).pipe(Effect.onInterrupt(() => stopping("a signal", endInTime(config.shutdown_timeout))))

/** The lock may be free since somebody has removed its file under a daemon that lives. */
const expectNoOther = (database: string) =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    const other = yield* unnamedDaemon(yield* DurableFile, yield* Environment, { database, root: paths.root })
    if (Option.isSome(other))
      return yield* new LockBusy({ lock: "data", path: paths.dataLock, holder: other.value })
  })

/** Before the first write of this version, so that a backup of it names this version. Without the record it is only assumed. */
const recordVersion = (databasePath: string) =>
  Effect.catchAll(recordWrittenBy(databasePath), (error) => Effect.logWarning(error.message))

/** A held daemon opens by the journal's word alone; without its upgrader it ends, and is no failure of anybody's data. */
const awaitCommit = (run: Run, databasePath: string) =>
  Effect.gen(function* () {
    const gate = yield* StartGate
    const word = yield* gate.verdict(run.started.run)
    if (word !== "opened")
      return yield* startFailed(
        word === "undone" ? "the upgrade was undone" : "the upgrade was cut off before its commit",
      )
    yield* recordVersion(databasePath)
    yield* (yield* HeldGate).open
    yield* Effect.logInfo("The upgrade is committed: serving")
    yield* (yield* Probation).started
    yield* finishIfAbandoned
    return yield* Effect.never
  })

/** An upgrader that died after the commit left its last steps: they are done here, if this user may. */
const finishIfAbandoned = Effect.gen(function* () {
  const locks = yield* RunLocks
  const recover = yield* Recover
  while (yield* locks.live) yield* Effect.sleep("100 millis")
  yield* recover
    .onSight({ startDaemon: false })
    .pipe(
      Effect.catchAll((error) =>
        Effect.logWarning(
          `The upgrade is committed, but not tidied up: ${error.message} next: ${error.next}`,
        ),
      ),
    )
})

const startFailed = (problem: string) =>
  Effect.flatMap(
    DataDir,
    ({ paths }) => new DaemonStartFailed({ version: VERSION, problem, logFile: `${paths.logs}/daemon.log` }),
  )

/** A stop that does not come to its end is ended: a supervisor must not wait for ever. */
const stopDeadline = Effect.map(
  Effect.acquireRelease(
    Effect.sync((): { timer?: NodeJS.Timeout } => ({})),
    (deadline) => Effect.sync(() => clearTimeout(deadline.timer)),
  ),
  (deadline) => (seconds: number) =>
    Effect.sync(() => {
      deadline.timer = setTimeout(() => {
        process.stderr.write(`The stop took longer than shutdown_timeout (${seconds} s): ending.\n`)
        exitFlushed(() => 1, 1000)
      }, seconds * 1000).unref()
    }),
)

const layerUpdateCheck = Layer.effect(
  UpdateCheck,
  Effect.map(VersionCheck, ({ check }) => ({
    check: Effect.matchEffect(check, {
      onFailure: (error) => new UpdateCheckFailed({ problem: error.message }),
      onSuccess: ({ latest, isUpdate }) =>
        isUpdate ? Effect.logInfo(`A new version is available: ${latest}`) : Effect.void,
    }),
  })),
).pipe(Layer.provide(VersionCheck.layer.pipe(Layer.provide(KeyValueStore.layer))))

const writeFacts = (configDigest: string, config: DaemonSettings) =>
  Effect.gen(function* () {
    const files = yield* DurableFile
    const environment = yield* Environment
    const { paths } = yield* DataDir
    const runner = yield* ProcessRunner
    const build = yield* namedBuild(environment.packageDir)
    const facts: DaemonFacts = {
      format: 1,
      pid: environment.pid,
      processStart: Option.getOrElse(yield* runner.identity(environment.pid), () => ""),
      instance: randomBytes(16).toString("hex"),
      version: environment.version,
      ...(Option.isSome(build) ? { build: build.value } : {}),
      hostname: config.hostname,
      port: config.port,
      supervisor: yield* (yield* Supervision).own,
      packageDir: environment.packageDir,
      configDigest,
      shutdownTimeout: config.shutdown_timeout,
      startedAt: yield* unixSeconds,
    }
    yield* files.write(paths.facts, JSON.stringify(Schema.encodeSync(DaemonFacts)(facts)))
    return facts
  })
