import { join } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { PACKAGE_NAME } from "@waiaas/domain/Release"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import { makeVersion } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { Backup } from "../Backup.ts"
import { Cancellation } from "../Cancellation.ts"
import { Compatibility } from "../Compatibility.ts"
import { ConfigFile } from "../ConfigFile.ts"
import { DaemonControl } from "../DaemonControl.ts"
import { DaemonHandover } from "../DaemonHandover.ts"
import { layerDatabase } from "../Database.ts"
import { DatabaseTool } from "../DatabaseTool.ts"
import { DataRestore } from "../DataRestore.ts"
import { migrate, readSchema } from "../Migrator.ts"
import { migrations } from "../migrations/index.ts"
import { NpmInstaller } from "../NpmInstaller.ts"
import { PackageSwap } from "../PackageSwap.ts"
import { PhaseReporter } from "../PhaseReporter.ts"
import { DataDir } from "../platform/DataDir.ts"
import { DiskSpace } from "../platform/DiskSpace.ts"
import { DurableFile } from "../platform/DurableFile.ts"
import { Environment } from "../platform/Environment.ts"
import { ExclusiveLock } from "../platform/ExclusiveLock.ts"
import { ProcessRunner } from "../platform/ProcessRunner.ts"
import { Recover } from "../Recover.ts"
import { ReleaseFile } from "../ReleaseFile.ts"
import { Rollback } from "../Rollback.ts"
import { RollbackSteps } from "../RollbackSteps.ts"
import { RunLocks } from "../RunLocks.ts"
import { Supervision } from "../Supervision.ts"
import { Upgrade } from "../Upgrade.ts"
import { UpgradeJournal } from "../UpgradeJournal.ts"
import { UpgradeObstacle } from "../UpgradeObstacle.ts"
import { UpgradePhases } from "../UpgradePhases.ts"
import { type ProgressEvent, UpgradeProgress } from "../UpgradeProgress.ts"
import { UpgradeTarget } from "../UpgradeTarget.ts"
import {
  makeProcesses,
  SimulatedInstall,
  type SimulatedRelease,
  sealedKeyOf,
  writePackage,
} from "./SimulatedInstall.ts"
import { agentIdOf, insertAgent } from "./TestDatabase.ts"
import { layerEnvironment } from "./TestEnvironment.ts"
import { TestHttp } from "./TestHttp.ts"

/** What a run reported to its operator, in order. */
export class Heard extends Context.Tag("@waiaas/services/testing/Heard")<
  Heard,
  Ref.Ref<ReadonlyArray<ProgressEvent>>
>() {}

export interface SimulatedSetup {
  /** What is installed. Default 2.0.0 with schema 4. */
  readonly installed?: SimulatedRelease
  /** What the registry has, oldest first. Default: the installed release, and 2.1.0 with schema 5. */
  readonly releases?: ReadonlyArray<SimulatedRelease>
  /** Names of the agents in the database. Default: `alice`. */
  readonly agents?: ReadonlyArray<string>
  readonly variables?: Readonly<Record<string, string>>
  readonly configToml?: string
  /** Free bytes on the file system of a path. Default: plenty. */
  readonly available?: (path: string) => number
}

const release200: SimulatedRelease = { version: "2.0.0", schema: 4 }
const release210: SimulatedRelease = { version: "2.1.0", schema: 5 }

/** The services of an upgrade as the command builds them, over whatever processes, HTTP, files and locks are given. */
export const layerUpgradeServices = (schema: number) =>
  Layer.mergeAll(Upgrade.layer, Rollback.layer).pipe(
    Layer.provideMerge(
      Layer.mergeAll(UpgradePhases.layer, UpgradeTarget.layer, UpgradeObstacle.layer, ReleaseFile.layer),
    ),
    Layer.provideMerge(Recover.layer),
    Layer.provideMerge(RollbackSteps.layer),
    Layer.provideMerge(
      Layer.mergeAll(DataRestore.layer, DaemonHandover.layer, RunLocks.layer, PhaseReporter.layer),
    ),
    Layer.provideMerge(
      Layer.mergeAll(
        Backup.layer,
        Compatibility.layerOf(rangeFor(schema)),
        DaemonControl.layer,
        NpmInstaller.layer,
        PackageSwap.layer,
        Supervision.layer,
        Cancellation.layerNever,
      ),
    ),
    Layer.provideMerge(DatabaseTool.layer),
  )

/**
 * An installation in a temporary directory, with data in it and no daemon running: real files and real
 * SQLite; npm, the packages' tools, the daemon and HTTP are simulated.
 */
export const layerSimulated = (setup: SimulatedSetup = {}) => {
  const { installed = release200, agents = ["alice"] } = setup
  const releases = setup.releases ?? [installed, release210]
  return Layer.unwrapScoped(
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const root = yield* Effect.flatMap(
        fs.makeTempDirectoryScoped({ prefix: "waiaas-simulated-" }),
        fs.realPath,
      )
      const prefix = join(root, "node")
      const packageDir = join(prefix, "lib/node_modules", PACKAGE_NAME)
      const npm = join(prefix, "lib/node_modules/npm/bin")
      yield* writePackage(fs, packageDir, installed)
      yield* fs.makeDirectory(join(prefix, "bin"))
      yield* fs.makeDirectory(npm, { recursive: true })
      yield* fs.writeFileString(join(npm, "npm-cli.js"), "")
      yield* fs.symlink("../lib/node_modules/npm/bin/npm-cli.js", join(prefix, "bin/npm"))
      yield* fs.symlink("../lib/node_modules/@waiaas/cli/dist/bin.js", join(prefix, "bin/waiaas"))

      const base = UpgradeJournal.layer.pipe(
        Layer.provideMerge(ConfigFile.layer),
        Layer.provideMerge(DataDir.layer(Option.some(join(root, "data")))),
        Layer.provideMerge(ExclusiveLock.layerMemory),
        Layer.provideMerge(DurableFile.layer),
        Layer.provideMerge(
          layerEnvironment({
            version: makeVersion(installed.version),
            packageDir,
            node: join(prefix, "bin/node"),
            cwd: root,
            variables: setup.variables ?? {},
          }),
        ),
      )
      const data = Layer.effectDiscard(
        Effect.gen(function* () {
          const { paths, create } = yield* DataDir
          const files = yield* DurableFile
          yield* create
          yield* files.write(paths.config, setup.configToml ?? "[daemon]\nport = 3100\n")
          yield* files.write(paths.token, `${"5".repeat(64)}\n`)
          for (const name of agents)
            yield* files.write(join(paths.keystore, `${agentIdOf(name)}.json`), sealedKeyOf(name))
          const { databasePath } = yield* (yield* ConfigFile).load
          yield* Effect.gen(function* () {
            yield* migrate(databasePath, migrations.slice(0, installed.schema))
            yield* Effect.forEach(agents, insertAgent)
          }).pipe(Effect.provide(layerDatabase({ path: databasePath, create: true })))
        }),
      )
      const processes = Layer.scopedContext(
        Effect.gen(function* () {
          const { control, runner, respond } = yield* makeProcesses(releases)
          const http = yield* Layer.build(TestHttp.layer(respond))
          const reported = yield* Ref.make<ReadonlyArray<ProgressEvent>>([])
          return Context.make(SimulatedInstall, control).pipe(
            Context.add(ProcessRunner, runner),
            Context.add(HttpClient.HttpClient, Context.get(http, HttpClient.HttpClient)),
            Context.add(TestHttp, Context.get(http, TestHttp)),
            Context.add(Heard, reported),
          )
        }),
      )
      const progress = Layer.unwrapEffect(
        Effect.map(Heard, (events) => UpgradeProgress.layerRecording(events)),
      )
      const space = Layer.succeed(DiskSpace, {
        available: (path) => Effect.succeed(setup.available?.(path) ?? 1e12),
        isNetwork: () => Effect.succeed(false),
      })
      return layerUpgradeServices(installed.schema).pipe(
        Layer.provideMerge(Layer.mergeAll(progress, space)),
        Layer.provideMerge(processes),
        Layer.provideMerge(data),
        Layer.provideMerge(base),
      )
    }),
  )
}

/** The agents' names in a database, in order, and its schema. */
export const contentOf = (path: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const rows = yield* sql<{ name: string }>`SELECT name FROM agents ORDER BY name`
    return { names: rows.map(({ name }) => name), schema: yield* readSchema(path) }
  }).pipe(Effect.provide(layerDatabase({ path, create: false })))

/** The same installation as the command of another version sees it, as after an upgrade. */
export const asVersion = <A, E, R>(version: string, act: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const environment = yield* Environment
    const { schema } =
      (yield* SimulatedInstall).releases.find((release) => release.version === version) ?? release210
    const services = layerUpgradeServices(schema).pipe(
      Layer.provide(Layer.succeed(Environment, { ...environment, version: makeVersion(version) })),
    )
    return yield* Effect.provide(act, services)
  })
