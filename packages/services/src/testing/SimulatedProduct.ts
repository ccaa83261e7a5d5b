/** The product's own graph on simulated boundaries, as `Layers.ts` of the command wires it; and its daemon. */
import { makeVersion } from "@waiaas/domain/Version"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { Backup } from "../Backup.ts"
import { Cancellation, cancellableBy } from "../Cancellation.ts"
import { Compatibility } from "../Compatibility.ts"
import { ConfigFile } from "../ConfigFile.ts"
import { DaemonControl } from "../DaemonControl.ts"
import { DaemonHandover } from "../DaemonHandover.ts"
import { DatabaseTool } from "../DatabaseTool.ts"
import { DataRestore } from "../DataRestore.ts"
import { NpmInstaller } from "../NpmInstaller.ts"
import { PackageSwap } from "../PackageSwap.ts"
import { PhaseReporter } from "../PhaseReporter.ts"
import { DataDir } from "../platform/DataDir.ts"
import { DurableFile } from "../platform/DurableFile.ts"
import { Environment } from "../platform/Environment.ts"
import { Recover } from "../Recover.ts"
import { ReleaseFile } from "../ReleaseFile.ts"
import { Rollback } from "../Rollback.ts"
import { RollbackSteps } from "../RollbackSteps.ts"
import { RunLocks } from "../RunLocks.ts"
import { StartGate } from "../StartGate.ts"
import { PATIENCE, Supervision } from "../Supervision.ts"
import { Upgrade } from "../Upgrade.ts"
import { UpgradeJournal } from "../UpgradeJournal.ts"
import { UpgradePhases } from "../UpgradePhases.ts"
import { UpgradeProgress } from "../UpgradeProgress.ts"
import { UpgradeTarget } from "../UpgradeTarget.ts"
import { startDaemon } from "./SimulatedDaemon.ts"
import { type Host, layerOwnership, layerSimulated } from "./SimulatedFileSystem.ts"
import { dataDir, install, schemaOf } from "./SimulatedPackage.ts"
import { layerDiskSpace, layerHttp, layerLock, layerProcessRunner } from "./SimulatedProcesses.ts"
import type { SimulatedProcess } from "./SimulatedWorld.ts"

/** Unix milliseconds; a recovery's clock is a day behind the run's: clocks go back. */
const NOW = 1_800_000_000_000
const DAY = 86_400_000

const layerEnvironment = (host: Host, version: string, packageDir: string) =>
  Layer.succeed(Environment, {
    variables: {},
    uid: 1000,
    home: "/home",
    cwd: "/",
    get pid() {
      return host.process.pid
    },
    platform: "linux",
    architecture: "x64",
    node: install.node,
    nodeVersion: "24.21.0",
    version: makeVersion(version),
    packageDir,
    container: false,
    now: Effect.sync(() => (host.process.world.boot === "0" ? NOW : NOW - DAY)),
  })

const layerCancellation = (host: Host) =>
  Layer.succeed(Cancellation, {
    cancellable: (act) => Effect.suspend(() => cancellableBy(host.process.requested)(act)),
  })

/** A supervisor of this machine is what its daemon says that it is. */
const layerSupervision = (host: Host) => {
  const supervisor = () => (host.process.world.supervised ? ("runit" as const) : null)
  return Layer.succeed(Supervision, {
    restarting: () => Effect.succeed(Option.none()),
    own: Effect.sync(supervisor),
    prove: () => Effect.sync(() => ({ supervisor: supervisor(), patience: PATIENCE, warning: null })),
  })
}

const layerProduct = (host: Host, version: string, packageDir: string) => {
  const Platform = Layer.mergeAll(
    layerProcessRunner(host, (directory, fault) => startDaemon(host.process.world, directory, fault)),
    layerHttp(host),
    layerLock(host),
    layerDiskSpace(host),
  ).pipe(
    Layer.provideMerge(DurableFile.layer),
    Layer.provideMerge(
      Layer.mergeAll(layerSimulated(host), layerOwnership(host), layerEnvironment(host, version, packageDir)),
    ),
  )
  const Parts = Layer.mergeAll(
    DataRestore.layer,
    DaemonHandover.layer,
    RunLocks.layer,
    PhaseReporter.layer,
  ).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        Backup.layer,
        Compatibility.layerOf({ minimum: 3, latest: schemaOf[version] ?? 0 }),
        DaemonControl.layer,
        NpmInstaller.layer,
        PackageSwap.layer,
        layerSupervision(host),
        layerCancellation(host),
      ),
    ),
    Layer.provideMerge(DatabaseTool.layer),
  )
  return Layer.mergeAll(Upgrade.layer, Rollback.layer, StartGate.layer).pipe(
    Layer.provideMerge(Layer.mergeAll(UpgradePhases.layer, UpgradeTarget.layer, ReleaseFile.layer)),
    Layer.provideMerge(Recover.layer),
    Layer.provideMerge(RollbackSteps.layer),
    Layer.provideMerge(Parts),
    Layer.provideMerge(Layer.mergeAll(UpgradeJournal.layer, UpgradeProgress.layerSilent)),
    Layer.provideMerge(ConfigFile.layer),
    Layer.provideMerge(DataDir.layer(Option.some(dataDir))),
    Layer.provideMerge(Platform),
  )
}

export type Services = Layer.Layer.Success<ReturnType<typeof layerProduct>>

interface Loaded {
  readonly host: Host
  readonly context: Context.Context<Services>
}

const pool = new Map<string, Array<Loaded>>()

/**
 * The services of a process, by the code that it runs. Building the graph is slow and it keeps no
 * state of its own, so a graph is used again once its process is gone or belongs to another world.
 */
export const servicesOf = (process: SimulatedProcess): Context.Context<Services> => {
  const key = `${process.version} ${process.packageDir}`
  const all = pool.get(key) ?? []
  pool.set(key, all)
  const free = all.find(
    ({ host }) => host.process.world !== process.world || !host.process.alive || host.process === process,
  )
  if (free !== undefined) {
    free.host.process = process
    return free.context
  }
  const host: Host = { process }
  const { world } = process
  const { judge } = world
  const { count } = world
  world.judge = null
  const scope = Effect.runSync(Scope.make())
  const context = Effect.runSync(
    Layer.buildWithScope(layerProduct(host, process.version, process.packageDir), scope),
  ) as Context.Context<Services>
  // Loading code is no operation of the run: it must not count where a graph was built before.
  world.judge = judge
  world.count = count
  all.push({ host, context })
  return context
}

/** Starts a program of the product as `process`. */
export const launch = <A, E>(
  process: SimulatedProcess,
  program: Effect.Effect<A, E, Services>,
  ended: (exit: Exit.Exit<A, E>) => void,
): void => {
  process.fiber = process.world.launch(Effect.provide(program, servicesOf(process)), ended)
}
