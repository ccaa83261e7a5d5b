import type { DaemonFacts, Supervisor } from "@waiaas/domain/DaemonFacts"
import { type FileFailed, LockBusy } from "@waiaas/domain/DataErrors"
import type { Run } from "@waiaas/domain/JournalRecord"
import { RestartWouldFail } from "@waiaas/domain/PackageErrors"
import { DaemonStartFailed } from "@waiaas/domain/RunErrors"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { ConfigFile } from "./ConfigFile.ts"
import { DaemonControl, type DaemonState, START_LIMIT } from "./DaemonControl.ts"
import { timeLimitFor } from "./DatabaseTool.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { ExclusiveLock } from "./platform/ExclusiveLock.ts"
import type { DataLease } from "./RunLocks.ts"
import { PATIENCE, Supervision } from "./Supervision.ts"
import type { RecordBody } from "./UpgradeJournal.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

export interface StartOptions {
  readonly packageDir: string
  readonly version: string
  readonly supervisor: Supervisor | null
  /** Seconds in which the supervisor's start comes. */
  readonly patience?: number | undefined
  readonly schema: number | null
  readonly status: "held" | "ok"
  readonly database: string
  /** The configuration that it has to run with, where this command starts it in its supervisor's place. */
  readonly configDigest?: string | undefined
}

/** How often a supervisor's start may end before it is healthy. */
const DEATHS = 3
/** A start that was admitted in the last moment of step 1 has the data, and says a moment later who it is. */
const ADMITTED_LIMIT = "10 seconds"

/** Takes the data over from the daemon in step 2, and brings one up at the end: by its supervisor, else by itself. */
export class DaemonHandover extends Context.Tag("@waiaas/services/DaemonHandover")<
  DaemonHandover,
  {
    /** Who runs now, with a supervisor only where that is proven; and in how many seconds it starts it again. */
    readonly proven: (
      facts: DaemonFacts,
    ) => Effect.Effect<{ readonly daemon: DaemonFacts; readonly patience: number }>
    /** Fails where a start from here would run with another configuration than the daemon does. */
    readonly expectSameConfiguration: (facts: DaemonFacts) => Effect.Effect<void, UpgradeError>
    /**
     * Step 2: journals who runs now, asks that daemon to stop, and takes the data lock. Who ran when the run began
     * may have ended, and its supervisor's start have come, meanwhile.
     */
    readonly stop: (options: {
      readonly run: Run
      readonly lease: DataLease
      readonly append: (record: RecordBody) => Effect.Effect<Run, UpgradeError>
    }) => Effect.Effect<string, UpgradeError>
    /** Watches the daemon until the scope closes; gives when it was last seen alive, in nanoseconds. */
    readonly watch: (facts: DaemonFacts) => Effect.Effect<() => bigint, never, Scope.Scope>
    /** Ends when the daemon answers with that version; the caller has journaled `Starting` and freed the data lock. */
    readonly start: (options: StartOptions) => Effect.Effect<DaemonFacts, DaemonStartFailed | FileFailed>
    /** The daemon that runs already, once it is healthy; one that ends before that is started again. */
    readonly ensure: (options: StartOptions) => Effect.Effect<DaemonFacts, DaemonStartFailed | FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const daemon = yield* DaemonControl
      const supervision = yield* Supervision
      const config = yield* ConfigFile
      const lock = yield* ExclusiveLock
      const files = yield* DurableFile
      const progress = yield* UpgradeProgress
      const { paths } = yield* DataDir

      const limitFor = (database: string) =>
        files.stat(database).pipe(
          Effect.map((info) => Number(info.size)),
          Effect.orElseSucceed(() => 0),
          Effect.map((bytes) => Duration.sum(START_LIMIT, timeLimitFor(bytes))),
        )

      const bySpawning = ({ packageDir, version, schema, status }: StartOptions, limit: Duration.Duration) =>
        Effect.gen(function* () {
          const spawned = yield* daemon.spawn(packageDir, version)
          // One that came up wrong, or not at all, must not come to itself later.
          return yield* daemon
            .waitHealthy({ version, schema, status, pid: spawned.pid, limit })
            .pipe(Effect.onError(() => daemon.abandon(spawned)))
        })

      /** Whether somebody has the data within that time. */
      const comes = (patience: number): Effect.Effect<boolean, FileFailed> =>
        Effect.gen(function* () {
          const until = (yield* Clock.currentTimeMillis) + patience * 1000
          while ((yield* Clock.currentTimeMillis) < until) {
            if (yield* lock.isHeld(paths.dataLock)) return true
            yield* Effect.sleep("50 millis")
          }
          return false
        })

      const instead = (options: StartOptions, supervisor: Supervisor, limit: Duration.Duration) =>
        Effect.gen(function* () {
          const { version, configDigest, patience = PATIENCE } = options
          const missing = `${supervisor} did not start it within ${patience} s`
          const here = yield* Effect.either(config.load)
          if (configDigest !== undefined && Either.isRight(here) && here.right.digest !== configDigest)
            return yield* new DaemonStartFailed({
              version,
              problem: `${missing}, and here it would run with another configuration than it had (config.toml or a WAIAAS_ variable)`,
              logFile: `${paths.logs}/daemon.log`,
              instead: `Start it with ${supervisor}.`,
            })
          yield* progress.emit({
            _tag: "Warning",
            text: `${missing}: this command starts it. To hand it back: waiaas stop, then start it with ${supervisor}`,
          })
          return yield* bySpawning(options, limit)
        })

      const start = Effect.fn("DaemonHandover.start")(function* (options: StartOptions) {
        const { version, supervisor, schema, status, database, patience = PATIENCE } = options
        const limit = yield* limitFor(database)
        if (supervisor === null) return yield* bySpawning(options, limit)
        for (let deaths = 1; yield* comes(patience); deaths++) {
          const healthy = yield* Effect.either(
            daemon.waitHealthy({ version, schema, status, pid: null, limit }),
          )
          if (Either.isRight(healthy)) return healthy.right
          if (deaths === DEATHS || (yield* lock.isHeld(paths.dataLock))) return yield* healthy.left
        }
        return yield* instead(options, supervisor, limit)
      })

      const settled: Effect.Effect<DaemonState, FileFailed> = daemon.state.pipe(
        Effect.flatMap((state) => (state._tag === "Busy" ? Effect.fail(state) : Effect.succeed(state))),
        Effect.retry({
          while: (error) => error._tag === "Busy",
          schedule: Schedule.spaced("50 millis").pipe(Schedule.upTo(ADMITTED_LIMIT)),
        }),
        Effect.catchTag("Busy", (busy) => Effect.succeed(busy)),
      )

      const proven = Effect.fn("DaemonHandover.proven")(function* (facts: DaemonFacts) {
        const { supervisor, patience, warning } = yield* supervision.prove(facts)
        if (warning !== null) yield* progress.emit({ _tag: "Warning", text: warning })
        return { daemon: { ...facts, supervisor }, patience }
      })

      const expectSameConfiguration = Effect.fn("DaemonHandover.expectSameConfiguration")(function* (
        facts: DaemonFacts,
      ) {
        const { digest } = yield* config.load
        if (digest !== facts.configDigest)
          return yield* new RestartWouldFail({
            missing:
              "the configuration here is not the one that the daemon runs with (config.toml was changed since it started, or a WAIAAS_ variable is set in only one of the two)",
            command:
              "Run `waiaas stop && waiaas start --background` with the configuration that you want, then `waiaas upgrade`.",
          })
      })

      return {
        start,
        proven,
        expectSameConfiguration,
        ensure: Effect.fn("DaemonHandover.ensure")(function* (options: StartOptions) {
          const state = yield* settled
          if (state._tag !== "Running") return yield* start(options)
          const { version, schema, status, database } = options
          const limit = yield* limitFor(database)
          const { pid } = state.facts
          const healthy = yield* Effect.either(daemon.waitHealthy({ version, schema, status, pid, limit }))
          if (Either.isRight(healthy)) return healthy.right
          return yield* (yield* daemon.isAlive(state.facts)) ? healthy.left : start(options)
        }),
        stop: Effect.fn("DaemonHandover.stop")(function* ({ run, lease, append }) {
          const { started } = run
          const state = yield* settled
          if (state._tag === "Busy")
            return yield* new LockBusy({ lock: "data", path: paths.dataLock, holder: state.holder })
          if (state._tag === "Stopped") {
            yield* append({ _tag: "Stopping", daemon: null })
            yield* lease.take("5 seconds", started.databasePath)
            return started.daemon === null ? "it was not running" : "it had ended meanwhile"
          }
          const isSame = state.facts.instance === started.daemon?.instance
          const found =
            isSame && started.daemon !== null
              ? { daemon: started.daemon, ...(run.patience === undefined ? {} : { patience: run.patience }) }
              : yield* proven(state.facts)
          // Step 1 has seen to the one that it found.
          if (!isSame && found.daemon.supervisor === null && started.restart && started.kind === "upgrade")
            yield* expectSameConfiguration(found.daemon)
          yield* append({ _tag: "Stopping", ...found })
          yield* daemon.stop(state.facts)
          yield* lease.take("5 seconds", started.databasePath)
          return "stopped"
        }),
        watch: (facts) =>
          Effect.gen(function* () {
            let known = facts
            let last = yield* Clock.currentTimeNanos
            const look = Effect.gen(function* () {
              if (!(yield* daemon.isAlive(known))) {
                const state = yield* Effect.option(daemon.state)
                if (Option.isNone(state) || state.value._tag !== "Running") return
                known = state.value.facts
              }
              last = yield* Clock.currentTimeNanos
            })
            // A run is uninterruptible, and this ends with it all the same.
            yield* Effect.forkScoped(
              Effect.interruptible(Effect.forever(Effect.zipRight(look, Effect.sleep("250 millis")))),
            )
            return () => last
          }),
      }
    }),
  )
}
