/** A simulated machine with an installed release, and runs that were cut off on it. */
import type { DaemonFacts } from "@waiaas/domain/DaemonFacts"
import type { PhaseFacts, Run } from "@waiaas/domain/JournalRecord"
import { type PhaseName, rollbackPhases, upgradePhases } from "@waiaas/domain/UpgradePhase"
import { makeVersion } from "@waiaas/domain/Version"
import { PackageSwap } from "@waiaas/services/PackageSwap"
import { Recover } from "@waiaas/services/Recover"
import type { Disk } from "@waiaas/services/testing/SimulatedDisk"
import {
  commandIn,
  database,
  dataDir,
  filesOf,
  hidden,
  install,
  installed,
  NEW,
  OLD,
  writeFile,
} from "@waiaas/services/testing/SimulatedPackage"
import { launch, type Services } from "@waiaas/services/testing/SimulatedProduct"
import { SimulatedProcess, World } from "@waiaas/services/testing/SimulatedWorld"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"

export const [from, to] = [makeVersion(OLD), makeVersion(NEW)]

export const machine = () =>
  new World({ disk: installed(["row"]).state, survivors: [], acknowledged: ["row"], boot: "0" })

/** Runs a program as a command of this machine. */
const run = <A, E>(world: World, program: Effect.Effect<A, E, Services>): Exit.Exit<A, E> => {
  const code = commandIn(world.disk)
  if (code === null) throw new Error("the command does not work")
  const process = new SimulatedProcess(world, world.newPid(), "command", code)
  world.processes.push(process)
  let ended: Exit.Exit<A, E> | undefined
  launch(process, program, (exit) => {
    ended = exit
    world.kill(process)
  })
  world.run(() => ended !== undefined)
  if (ended === undefined) throw new Error("it did not end")
  return ended
}

export const mustRun = <A, E>(world: World, program: Effect.Effect<A, E, Services>): A => {
  const exit = run(world, program)
  if (Exit.isFailure(exit)) throw new Error(String(exit.cause))
  return exit.value
}

export const facts: DaemonFacts = {
  format: 1,
  pid: 300,
  processStart: "0-300",
  instance: "0".repeat(32),
  version: from,
  hostname: "127.0.0.1",
  port: 3100,
  supervisor: null,
  packageDir: install.packageDir,
  configDigest: "",
  shutdownTimeout: 30,
  startedAt: 0,
}

interface Cut {
  readonly kind?: "upgrade" | "rollback"
  /** The last phase that was begun. */
  readonly phase: PhaseName
  readonly facts?: PhaseFacts
  readonly daemon?: DaemonFacts | null
  readonly committed?: boolean
}

/** The journal of a run that was cut off. */
export const cutOff = ({ kind = "upgrade", phase, facts: learned, daemon = null, committed = false }: Cut) =>
  Effect.gen(function* () {
    const journal = yield* UpgradeJournal
    let current = yield* journal.begin({
      kind,
      from: kind === "upgrade" ? from : to,
      to: kind === "upgrade" ? to : from,
      dataDir,
      databasePath: database,
      install,
      daemon,
      restart: true,
      pid: 1,
    })
    const phases = (kind === "upgrade" ? upgradePhases : rollbackPhases).map(({ name }) => name)
    for (const name of phases.slice(0, phases.indexOf(phase) + 1))
      current = yield* journal.append(current, {
        _tag: "PhaseBegun",
        phase: name,
        ...(learned ? { facts: learned } : {}),
      })
    if (kind === "upgrade" && phase === "restart")
      current = yield* journal.append(current, { _tag: "Starting", version: to })
    if (committed) current = yield* journal.append(current, { _tag: "Committed" })
    return current
  })

export const recover = (startDaemon = true) =>
  Effect.map(
    Effect.flatMap(Recover, (service) => service.onSight({ startDaemon })),
    Option.getOrThrow,
  )

export const outcomeOf = (recovered: Run) => ({
  undone: recovered.undone,
  outcome: recovered.ended?.outcome,
})

export const writePackage = (disk: Disk, directory: string, version: string) => {
  for (const [name, text] of filesOf(version)) writeFile(disk, `${directory}/${name}`, text, 0o644)
}

/** The package swapped, as an upgrade's step 4 leaves it. */
export const swapped = (world: World) =>
  Effect.gen(function* () {
    const swap = yield* PackageSwap
    yield* swap.retain(install, OLD)
    writePackage(world.disk, hidden.stagedPackage(1), NEW)
    yield* swap.swap(install, 1, OLD)
  })
