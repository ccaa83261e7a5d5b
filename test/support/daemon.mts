/** The whole daemon in this process, on a temporary data directory; only HTTP to the outside is a test's. */
import { join } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { initialise } from "@waiaas/daemon/Initialise"
import { ProcessLifetime } from "@waiaas/daemon/ProcessLifetime"
import { serve } from "@waiaas/daemon/Serve"
import { dataDirectoryActs } from "@waiaas/daemon/Tool"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { installOf } from "@waiaas/domain/Install"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { Compatibility } from "@waiaas/services/Compatibility"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { DaemonHandover } from "@waiaas/services/DaemonHandover"
import { layerDatabase } from "@waiaas/services/Database"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { DataRestore } from "@waiaas/services/DataRestore"
import { migrate } from "@waiaas/services/Migrator"
import { migrations } from "@waiaas/services/migrations/index"
import { PackageSwap } from "@waiaas/services/PackageSwap"
import { PhaseReporter } from "@waiaas/services/PhaseReporter"
import { Probation } from "@waiaas/services/Probation"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { Registry } from "@waiaas/services/platform/Registry"
import { Recover } from "@waiaas/services/Recover"
import { RollbackSteps } from "@waiaas/services/RollbackSteps"
import { RunLocks } from "@waiaas/services/RunLocks"
import { StartGate } from "@waiaas/services/StartGate"
import { Supervision } from "@waiaas/services/Supervision"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import { type Respond, respondTags, TestHttp } from "@waiaas/services/testing/TestHttp"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import { UpgradeProgress } from "@waiaas/services/UpgradeProgress"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { type Answer, freePort, request, until } from "./net.mts"

/** The graph of the daemon's `main`, over a test's environment and HTTP. */
const layerGraph = (
  root: string,
  http: Layer.Layer<HttpClient.HttpClient>,
  version: string,
  variables: Readonly<Record<string, string>> = {},
) => {
  const environment = layerEnvironment({
    variables,
    uid: process.geteuid?.() ?? null,
    pid: process.pid,
    node: process.execPath,
    version: makeVersion(version),
    packageDir: packageIn(root),
  })
  const platform = Layer.mergeAll(ProcessRunner.layer, ExclusiveLock.layer, http).pipe(
    Layer.provideMerge(DurableFile.layer),
    Layer.provideMerge(Layer.mergeAll(NodeFileSystem.layer, environment)),
  )
  const place = Probation.layer.pipe(
    Layer.provideMerge(UpgradeJournal.layer),
    Layer.provideMerge(ConfigFile.layer),
    Layer.provideMerge(DataDir.layer(Option.some(root))),
    Layer.provideMerge(platform),
  )
  const tool = Layer.unwrapEffect(Effect.map(dataDirectoryActs, (acts) => layerDatabaseToolLocal(acts))).pipe(
    Layer.provideMerge(platform),
  )
  const data = Layer.mergeAll(DataRestore.layer, Compatibility.layerOf(rangeFor(LATEST_SCHEMA))).pipe(
    Layer.provideMerge(Backup.layer),
    Layer.provideMerge(tool),
    Layer.provideMerge(place),
  )
  return Layer.mergeAll(StartGate.layer, ProcessLifetime.layerScoped).pipe(
    Layer.provideMerge(Recover.layer),
    Layer.provideMerge(RollbackSteps.layer),
    Layer.provideMerge(Layer.mergeAll(PhaseReporter.layer, DaemonHandover.layer, RunLocks.layer)),
    Layer.provideMerge(
      Layer.mergeAll(
        DaemonControl.layer,
        PackageSwap.layer,
        UpgradeProgress.layerSilent,
        Registry.layer,
        Supervision.layer,
      ),
    ),
    Layer.provideMerge(data),
  )
}

const packageIn = (root: string) => join(root, "node/lib/node_modules/@waiaas/cli")
const installAt = (root: string) => {
  const install = installOf(packageIn(root), process.execPath)
  if (install === null) throw new Error("no install")
  return install
}

const beginRun = (root: string) =>
  Effect.flatMap(UpgradeJournal, ({ begin }) =>
    begin({
      kind: "upgrade",
      from: makeVersion("2.0.0"),
      to: makeVersion("2.1.0"),
      install: installAt(root),
      dataDir: root,
      databasePath: join(root, "data/waiaas.db"),
      daemon: null,
      restart: false,
      pid: 1,
    }),
  )

/** A run that goes on until the scope closes, and lets the new version start, held; given is its commit. */
const beginHeld = (root: string) =>
  Effect.gen(function* () {
    const journal = yield* UpgradeJournal
    yield* (yield* RunLocks).acquireRun("upgrade")
    let run = yield* beginRun(root)
    run = yield* journal.append(run, { _tag: "PhaseBegun", phase: "stop" })
    run = yield* journal.append(run, { _tag: "Starting", version: run.started.to })
    return Effect.flatMap(journal.commit(run), journal.announce)
  })

/** An upgrade that has ended well. */
const beginAndEnd = (root: string) =>
  Effect.gen(function* () {
    const journal = yield* UpgradeJournal
    const committed = yield* journal.append(yield* beginRun(root), { _tag: "Committed" })
    yield* journal.append(committed, { _tag: "Ended", outcome: "new" })
  })

/** An empty directory, and `waiaas init` on it in an environment. */
export const emptyDirectory = (variablesOf: (root: string) => Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const root = yield* Effect.flatMap(fs.makeTempDirectoryScoped({ prefix: "waiaas-test-" }), fs.realPath)
    const http = yield* Layer.build(TestHttp.layer(respondTags({})))
    const graph = layerGraph(root, Layer.succeedContext(http), "2.0.0", variablesOf(root))
    const init = initialise.pipe(Effect.provide(graph), Effect.provide(Logger.remove(Logger.defaultLogger)))
    return { root, init }
  }).pipe(Effect.provide(NodeFileSystem.layer))

export interface DaemonSetup {
  /** The registry, over a test's HTTP. Default: dist-tags with 2.1.0. */
  readonly respond?: Respond
  /** Keys of `[daemon]`. */
  readonly daemon?: Record<string, string | number | boolean>
  /** Version of the code. Default 2.0.0. */
  readonly version?: string
  /** Schema of the database that the daemon finds, as the releases up to it made it. Default: the newest. */
  readonly schema?: number
}

/** An initialised data directory, and a start of the daemon on it. */
export const dataDirectory = (setup: DaemonSetup = {}) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const root = yield* Effect.flatMap(fs.makeTempDirectoryScoped({ prefix: "waiaas-test-" }), fs.realPath)
    const port = yield* Effect.promise(freePort)
    const context = yield* Layer.build(TestHttp.layer(setup.respond ?? respondTags({ latest: "2.1.0" })))
    const graph = layerGraph(root, Layer.succeedContext(context), setup.version ?? "2.0.0")
    const quiet = Logger.remove(Logger.defaultLogger)
    const init = initialise.pipe(Effect.provide(graph), Effect.provide(quiet))
    yield* init
    const database = join(root, "data/waiaas.db")
    if (setup.schema !== undefined) {
      for (const suffix of ["", "-wal", "-shm"]) yield* fs.remove(`${database}${suffix}`, { force: true })
      yield* migrate(database, migrations.slice(0, setup.schema)).pipe(
        Effect.provide(layerDatabase({ path: database, create: true })),
        Effect.provide(graph),
      )
    }
    const keys = { port, update_registry: "http://registry.test", ...setup.daemon }
    const lines = Object.entries(keys).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    yield* fs.writeFileString(join(root, "config.toml"), `[daemon]\n${lines.join("")}`, { mode: 0o600 })
    const log = fs.readFileString(join(root, "logs/daemon.log")).pipe(Effect.orElseSucceed(() => ""))
    const health = Effect.promise((): Promise<Answer> => request(`http://127.0.0.1:${port}/health`))
    return {
      root,
      url: `http://127.0.0.1:${port}`,
      database,
      http: Context.get(context, TestHttp),
      log,
      health,
      /** What `waiaas init` does on it once more. */
      init,
      /** Begins a run that nobody carries on. */
      cutOffRun: Effect.provide(beginRun(root), graph),
      /** An upgrade to 2.1.0 that has just ended. */
      endedRun: Effect.provide(beginAndEnd(root), graph),
      /** An upgrade to 2.1.0 that goes on until the scope closes; given is its commit. */
      heldRun: Effect.provide(beginHeld(root), graph),
      /** Ends as the daemon's process would. */
      serve: serve(true).pipe(Effect.provide(graph)),
      /** Serves until the scope closes; given when it is ready. */
      start: Effect.gen(function* () {
        const daemon = yield* Effect.forkScoped(serve(true).pipe(Effect.provide(graph)))
        yield* Effect.promise(() =>
          until("the daemon is ready", async () => {
            const ended = daemon.unsafePoll()
            if (ended !== null) throw new Error(`it ended: ${String(ended)}`)
            return request(`http://127.0.0.1:${port}/health`).then(
              ({ status }) => status === 200,
              () => false,
            )
          }),
        )
      }),
    }
  }).pipe(Effect.provide(NodeFileSystem.layer))

/** Waits for a condition of the world outside of Effect. */
export const eventually = <A,>(what: string, probe: () => A | undefined | false) =>
  Effect.promise(() => until(what, async () => probe()))

/** Looks again until it is so, without a clock: what is waited for comes from outside of Effect, such as a body's stream. */
export const repeatUntil = <E, R>(look: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.flatMap(look, (is) =>
    is
      ? Effect.void
      : Effect.zipRight(
          Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
          Effect.suspend(() => repeatUntil(look)),
        ),
  )
