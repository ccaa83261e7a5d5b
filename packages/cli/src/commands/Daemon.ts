/** The daemon's life: init, start, stop, restart, status, health. */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type { DaemonFacts } from "@waiaas/domain/DaemonFacts"
import { LockBusy } from "@waiaas/domain/DataErrors"
import { addressOf, isServing, urlOf } from "@waiaas/domain/Health"
import { gateFor, type Run } from "@waiaas/domain/JournalRecord"
import { DaemonNotRunning, DaemonSupervised, DaemonUnreachable, ListenFailed } from "@waiaas/domain/RunErrors"
import { Compatibility } from "@waiaas/services/Compatibility"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { DaemonHandover } from "@waiaas/services/DaemonHandover"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { Probation } from "@waiaas/services/Probation"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DiskSpace } from "@waiaas/services/platform/DiskSpace"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { expectFreePort } from "@waiaas/services/platform/PortProbe"
import { Recover } from "@waiaas/services/Recover"
import { recordRegistry } from "@waiaas/services/RegistryRecord"
import { RunLocks } from "@waiaas/services/RunLocks"
import { Supervision } from "@waiaas/services/Supervision"
import { expectToken } from "@waiaas/services/TokenFile"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { expectDaemonFile, runAgain, runDaemonFile, takeOver } from "../DaemonFile.ts"
import { Output } from "../Output.ts"
import { noteUnusedPassword } from "../StrayVariables.ts"
import { showStatus } from "./Status.ts"
import { inSameDataDir } from "./Text.ts"

/** So that the daemon's check and npm's install agree; unknown is a warning, never a failure. */
const recordForCheck = recordRegistry.pipe(
  Effect.catchAll((error) =>
    Effect.flatMap(Output, (output) =>
      output.note(
        `warning: it is not known which registry npm uses, so the daemon will not look for new versions (set [daemon] update_registry): ${error.message.split("\n")[0]}`,
      ),
    ),
  ),
)

export const init = Command.make("init", {}, () =>
  Effect.gen(function* () {
    const output = yield* Output
    const { paths, expectPlace } = yield* DataDir
    const disk = yield* DiskSpace
    yield* expectPlace
    yield* expectDaemonFile
    const made = yield* runDaemonFile("init")
    yield* recordForCheck
    if (yield* disk.isNetwork(paths.root))
      yield* output.note(
        `warning: ${paths.root} is on a network file system; its locks and syncs cannot be relied on. Use a local disk.`,
      )
    const here = yield* inSameDataDir
    yield* output.result(made, [
      made.created
        ? `Initialised ${paths.root}`
        : made.token
          ? `A new API token was made in ${paths.token}; the rest was there already and was left as it is.`
          : `${paths.root} is initialised already; what is there was left alone.`,
      `Keys are sealed under ${made.keystore === "password" ? "your master password" : "a key file"}, in ${paths.keystore}. Back that directory up yourself: upgrades and backups do not hold it.`,
      `next: ${here("waiaas start --background")}`,
    ])
  }),
).pipe(
  Command.withDescription(
    "Create a data directory: configuration, database, keystore, API token. What is there already is left alone. WAIAAS_MASTER_PASSWORD or WAIAAS_MASTER_PASSWORD_FILE, if set now, seals the keystore; else a key file does.",
  ),
)

const noteRecovered = (recovered: Option.Option<Run>) =>
  Option.match(recovered, {
    onNone: () => Effect.void,
    onSome: ({ started, ended }) =>
      ended === null
        ? Effect.void
        : Effect.flatMap(Output, (output) =>
            output.note(`run ${started.run} was cut off; it was recovered first`),
          ),
  })

const showRunning = ({ pid, port, version }: DaemonFacts) =>
  Effect.flatMap(Output, (output) =>
    output.result({ running: true, pid, port, started: false }, [
      `WAIaaS ${version} runs already: process ${pid}, port ${port}.`,
    ]),
  )

/** Whoever carries a run on may start the daemon itself; which version it is then, the run's end decides. */
const waitForRun = Effect.gen(function* () {
  const locks = yield* RunLocks
  const { paths } = yield* DataDir
  const holder = yield* (yield* ExclusiveLock).holder(paths.runLock)
  const who = Option.match(holder, {
    onNone: () => "another waiaas",
    onSome: ({ what, pid, since }) =>
      `waiaas ${what} (process ${pid}, since ${new Date(since * 1000).toISOString()})`,
  })
  yield* (yield* Output).note(`waiting for ${who} to end`)
  // Its steps have their limits: one that goes on for longer is a process that was stopped.
  yield* locks.live.pipe(
    Effect.repeat({ until: (live) => !live, schedule: Schedule.spaced("200 millis") }),
    Effect.timeoutFail({
      duration: "2 hours",
      onTimeout: () => new LockBusy({ lock: "run", path: paths.runLock, holder: who }),
    }),
  )
})

const startDaemon = (background: boolean) =>
  Effect.gen(function* () {
    const output = yield* Output
    const { paths, check } = yield* DataDir
    const control = yield* DaemonControl
    const { version, packageDir } = yield* Environment
    yield* check
    const { databasePath } = yield* (yield* ConfigFile).load
    let state = yield* control.state
    // A run that was cut off while the daemon served on is nobody else's to recover, and a held daemon is about to end.
    let recovered = Option.none<Run>()
    if (state._tag === "Running" && !(yield* (yield* RunLocks).live)) {
      recovered = yield* (yield* Recover).forStart
      state = yield* control.state
      yield* noteRecovered(recovered)
    }
    if (state._tag === "Running") {
      return yield* showRunning(state.facts)
    }
    yield* (yield* RunLocks).expectNoneElsewhere(packageDir)
    yield* recordForCheck
    yield* noteUnusedPassword
    const suspicion = yield* (yield* Probation).suspicion
    if (Option.isSome(suspicion)) {
      const back = (yield* inSameDataDir)(suspicion.value.next)
      yield* output.note(`warning: ${suspicion.value.message} To go back: ${back}`)
    }
    yield* expectDaemonFile
    if (!background) return yield* takeOver(["serve", "--data-dir", paths.root])
    const live = yield* (yield* RunLocks).live
    const newest = Option.getOrNull(yield* (yield* UpgradeJournal).latest)
    // Until its step 2 a run keeps nobody from starting.
    if (live && gateFor(newest, live, version)._tag !== "Open")
      return yield* Effect.zipRight(waitForRun, runAgain)
    if (!live && Option.isNone(recovered)) {
      recovered = yield* (yield* Recover).forStart
      yield* noteRecovered(recovered)
    }
    const stands = Option.match(recovered, {
      onNone: () => version as string,
      onSome: ({ started, ended, committed }) =>
        (ended === null ? committed : ended.outcome === "new") ? started.to : started.from,
    })
    const installed = Option.match(recovered, {
      onNone: () => packageDir,
      onSome: ({ started }) => started.install.packageDir,
    })
    const facts = yield* (yield* DaemonHandover).start({
      packageDir: installed,
      version: stands,
      supervisor: null,
      schema: null,
      status: "ok",
      database: databasePath,
    })
    yield* output.result({ running: true, pid: facts.pid, port: facts.port, started: true }, [
      `WAIaaS ${stands} serves on ${urlOf(facts.hostname, facts.port)} (process ${facts.pid}).`,
    ])
  })

export const start = Command.make(
  "start",
  {
    background: Options.boolean("background").pipe(
      Options.withAlias("b"),
      Options.withDescription("Start it and return once it is healthy"),
    ),
  },
  ({ background }) => startDaemon(background),
).pipe(
  Command.withDescription(
    "Run the daemon in this process, as a supervisor wants it, or in the background. An upgrade that was cut off is recovered first.",
  ),
)

export const stop = Command.make("stop", {}, () =>
  Effect.gen(function* () {
    const output = yield* Output
    const control = yield* DaemonControl
    const { paths, check } = yield* DataDir
    yield* check
    const state = yield* control.state
    if (state._tag === "Stopped") return yield* output.result({ stopped: false }, ["WAIaaS does not run."])
    if (state._tag === "Busy")
      return yield* new LockBusy({ lock: "data", path: paths.dataLock, holder: state.holder })
    yield* control.stop(state.facts)
    const { supervisor } = state.facts
    yield* output.result({ stopped: true }, [
      "WAIaaS has stopped.",
      ...(supervisor === null
        ? []
        : [`It is owned by ${supervisor}, which may start it again: stop it there.`]),
    ])
  }),
).pipe(
  Command.withDescription(
    "Stop the daemon: requests in flight finish, and the command waits until the process has ended (exit code 5 if it does not)",
  ),
)

/** Fails with what would keep the daemon from starting again, while it serves. */
const expectStartable = (running: DaemonFacts) =>
  Effect.gen(function* () {
    const { paths, checkAll } = yield* DataDir
    const { packageDir } = yield* Environment
    const tool = yield* DatabaseTool
    const settings = yield* (yield* ConfigFile).load
    const { hostname, port: wanted } = settings.config.daemon
    yield* checkAll(settings)
    yield* expectToken
    yield* (yield* RunLocks).expectNoneElsewhere(packageDir)
    // A run that is not over is recovered by the start; a journal that nobody can read is not.
    yield* (yield* UpgradeJournal).latest
    yield* expectDaemonFile
    yield* tool.describe(packageDir, paths.root)
    const { schema } = yield* tool.examine(packageDir, settings.databasePath, "none", {})
    yield* (yield* Compatibility).admit(schema)
    if (wanted === running.port && hostname === running.hostname) return
    yield* expectFreePort(hostname, wanted).pipe(
      // Its own port is its own until it has ended, under every name.
      Effect.catchIf(
        ({ code }) => code === "EADDRINUSE" && wanted === running.port,
        () => Effect.void,
      ),
      // It serves on: a start would say so, and take nothing of the configuration.
      Effect.mapError((error) => new ListenFailed({ ...error, command: "waiaas restart" })),
    )
  })

export const restart = Command.make("restart", {}, () =>
  Effect.gen(function* () {
    const { paths, check } = yield* DataDir
    const control = yield* DaemonControl
    yield* check
    yield* (yield* ConfigFile).load
    const state = yield* control.state
    if (state._tag === "Busy")
      return yield* new LockBusy({ lock: "data", path: paths.dataLock, holder: state.holder })
    if (state._tag === "Running") {
      const { supervisor, pid } = state.facts
      const instead = yield* (yield* Supervision).restarting(state.facts)
      if (supervisor !== null && Option.isSome(instead))
        return yield* new DaemonSupervised({ supervisor, pid, instead: instead.value })
      if (yield* (yield* RunLocks).live) {
        const holder = yield* (yield* ExclusiveLock).holder(paths.runLock)
        const who = Option.match(holder, {
          onNone: () => "another waiaas",
          onSome: ({ what, pid: other }) => `waiaas ${what} (process ${other})`,
        })
        return yield* new LockBusy({ lock: "run", path: paths.runLock, holder: who })
      }
      yield* expectStartable(state.facts)
      yield* control.stop(state.facts)
      yield* (yield* Output).note("WAIaaS has stopped.")
    }
    yield* startDaemon(true)
  }),
).pipe(
  Command.withDescription(
    "Stop the daemon and start it in the background; one that does not run is started. What would keep it from starting is found before it is stopped.",
  ),
)

export const status = Command.make("status", {}, () => showStatus).pipe(
  Command.withDescription(
    "What runs, with which version and schema, and whether an upgrade was cut off; changes nothing",
  ),
)

export const health = Command.make("health", {}, () =>
  Effect.gen(function* () {
    const output = yield* Output
    const { check } = yield* DataDir
    yield* check
    const { config } = yield* (yield* ConfigFile).load
    const control = yield* DaemonControl
    const state = yield* control.state
    const { hostname, port } = config.daemon
    if (state._tag === "Stopped") return yield* new DaemonNotRunning()
    if (state._tag === "Busy")
      return yield* new DaemonUnreachable({
        address: addressOf(hostname, port),
        problem: `it does not run; the data is in use by ${state.holder}`,
      })
    const answer = yield* control.health(state.facts)
    if (!isServing(answer))
      return yield* new DaemonUnreachable({
        address: addressOf(state.facts.hostname, state.facts.port),
        problem: answer.message.replace(/\.$/, ""),
      })
    yield* output.result(answer, [
      `${answer.status}: WAIaaS ${answer.version}, schema ${answer.schemaVersion}, up ${answer.uptime} s`,
    ])
  }),
).pipe(Command.withDescription("Ask the daemon's GET /health; exit code 0 only if it answers"))
