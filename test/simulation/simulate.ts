/** One run of a simulated machine: from a state, by an actor, to its end or to a crash. */
import { Recover } from "@waiaas/services/Recover"
import { Rollback } from "@waiaas/services/Rollback"
import { resumeDaemon, startDaemon } from "@waiaas/services/testing/SimulatedDaemon"
import type { DiskState } from "@waiaas/services/testing/SimulatedDiskState"
import { commandIn, dataDir, installed } from "@waiaas/services/testing/SimulatedPackage"
import { launch, type Services } from "@waiaas/services/testing/SimulatedProduct"
import {
  type Operation,
  SimulatedProcess,
  World,
  type WorldState,
} from "@waiaas/services/testing/SimulatedWorld"
import { Upgrade } from "@waiaas/services/Upgrade"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"

/**
 * `upgrade` and `rollback` are the runs that are examined; `start` and `recover` are what an operator
 * types after a crash: `waiaas start`, and `waiaas upgrade`, which recovers before anything else;
 * `later` is the same when a daemon that was left alone has had time to act first.
 */
export type Actor = "upgrade" | "rollback" | "start" | "recover" | "later"

const recover = Effect.flatMap(Recover, ({ onSight }) => onSight({ startDaemon: true }))

const programs: Record<Exclude<Actor, "start">, Effect.Effect<unknown, unknown, Services>> = {
  upgrade: Effect.flatMap(Upgrade, (upgrade) =>
    upgrade.run({ to: Option.none(), from: Option.none(), restart: true, dryRun: false }),
  ),
  rollback: Effect.gen(function* () {
    const rollback = yield* Rollback
    return yield* rollback.run(yield* rollback.plan(Option.none()), { restart: true, resumeSuspended: false })
  }),
  recover,
  later: recover,
}

export interface Ended {
  readonly world: World
  /** How the command ended; `null` where it was killed, or where there was none. */
  readonly exit: Exit.Exit<unknown, unknown> | null
}

/** The pid in `daemon.json`, and the boot that it belongs to. */
const factsIn = (disk: World["disk"]): { readonly pid: number | null; readonly boot: string } => {
  const node = disk.node(`${dataDir}/daemon.json`)
  const found = node?.kind === "file" ? /"pid":(\d+),"processStart":"(\d)-/.exec(node.content.text) : null
  return { pid: found?.[1] === undefined ? null : Number(found[1]), boot: found?.[2] ?? "" }
}

/** The machine switched on again: nothing of what ran before runs. */
export const switchedOn = (
  disk: DiskState,
  { acknowledged, supervised = false }: Pick<WorldState, "acknowledged" | "supervised">,
): WorldState => {
  const { boot } = factsIn(new World({ disk, acknowledged, survivors: [], boot: "" }).disk)
  return { disk, acknowledged, survivors: [], boot: boot === "1" ? "2" : "1", supervised }
}

export interface Options {
  readonly judge?: World["judge"]
  readonly changed?: (operation: Operation, world: World, main: SimulatedProcess | null) => void
  /** Kills the command right after this operation; what else runs goes on. */
  readonly killAfter?: number
  /** The operator types Ctrl-C right after this operation. */
  readonly interruptAt?: number
  /** Something else that happens right after an operation. */
  readonly meanwhile?: { readonly at: number; readonly act: (world: World) => void }
  /** Whether the operator starts the daemon at the end, where none runs. */
  readonly isLast?: boolean
}

/** Virtual milliseconds that a machine is left alone at the end, so that its daemon does what it still wants to do. */
const QUIET = 1000
const LATER = 300
/** ... until a supervisor starts what has ended. */
const SUPERVISED = 100

export const simulate = (
  state: WorldState,
  actor: Actor,
  {
    judge,
    changed,
    killAfter,
    interruptAt,
    meanwhile,
    isLast = judge === undefined && killAfter === undefined,
  }: Options = {},
): Ended => {
  const probe = new World(state)
  const world = new World(state, factsIn(probe.disk).pid)
  const code = commandIn(world.disk)
  if (code === null) throw new Error("the command does not work")
  for (const survivor of state.survivors) resumeDaemon(world, survivor)
  let exit: Exit.Exit<unknown, unknown> | null = null
  let over = false
  let main: SimulatedProcess | null = null
  if (world.supervised)
    world.daemonEnded = () => {
      world.after(SUPERVISED, () => {
        const now = commandIn(world.disk)
        if (now !== null && world.daemons().length === 0) startDaemon(world, now.packageDir)
      })
    }
  const begin = () => {
    if (actor === "start") {
      const pid = startDaemon(world, code.packageDir)
      main = world.processes.find((process) => process.pid === pid) ?? null
    } else {
      const process = new SimulatedProcess(world, world.newPid(), "command", code)
      main = process
      world.processes.push(process)
      // As the command runs it: uninterruptible, and what it ended with counts though a signal came too late.
      const toItsEnd = Effect.uninterruptible(
        Effect.map(Effect.exit(programs[actor]), (ended) => {
          exit = ended
        }),
      )
      launch(process, toItsEnd, () => {
        if (process.alive) world.kill(process)
      })
    }
  }
  world.judge = (operation) => {
    if (operation.number === interruptAt) main?.interrupt()
    if (operation.number === meanwhile?.at) meanwhile.act(world)
    return judge?.(operation) ?? null
  }
  world.changed = (operation) => {
    changed?.(operation, world, main)
    if (operation.number === killAfter && main !== null) world.kill(main)
  }
  if (actor === "later") {
    world.after(LATER, () => {
      over = true
    })
    world.run(() => over)
    over = false
  }
  begin()
  const isBusy = () =>
    world.processes.some((process) => process.alive && (process.role === "command" || process.inTransit))
  world.run(() => !isBusy())
  world.after(QUIET, () => {
    over = true
  })
  world.run(() => over && !isBusy())
  // The operator's last word, where nothing runs: the data must be served again by what is installed.
  if (isLast && actor !== "start" && world.daemons().length === 0) {
    const stands = commandIn(world.disk)
    if (stands === null) throw new Error("the command does not work at the end")
    startDaemon(world, stands.packageDir)
    over = false
    world.after(QUIET, () => {
      over = true
    })
    world.run(() => over && !isBusy())
  }
  return { world, exit }
}

/** Another command that is typed while a run goes on; gives how it ends, once it has. */
export const typed = (
  world: World,
  actor: Exclude<Actor, "start">,
): (() => Exit.Exit<unknown, unknown> | null) => {
  const code = commandIn(world.disk)
  if (code === null) throw new Error("the command does not work")
  const process = new SimulatedProcess(world, world.newPid(), "command", code)
  let exit: Exit.Exit<unknown, unknown> | null = null
  world.processes.push(process)
  launch(process, programs[actor], (ended) => {
    exit = ended
    if (process.alive) world.kill(process)
  })
  return () => exit
}

/** What a machine can be besides the usual. */
export interface Setting {
  readonly supervised?: boolean
  /** Its backups are on a file system of their own. */
  readonly isApart?: boolean
}

/** The old version, installed and serving. */
export const beforeUpgrade = ({ supervised = false, isApart = false }: Setting = {}): WorldState => {
  const disk = installed(["row 1", "row 2"], isApart)
  const off: WorldState = {
    disk: disk.state,
    acknowledged: ["row 1", "row 2"],
    survivors: [],
    boot: "0",
    supervised,
  }
  const { world } = simulate(off, "start")
  const state = world.stateWithout(null)
  if (state === null || state.survivors.length !== 1)
    throw new Error(`the old version does not serve: ${world.notes.join("; ")}`)
  return { ...state, disk: { root: state.disk.root, pending: [] } }
}

/** The new version, serving after an upgrade, with the backup and the retained code of the old one. */
export const beforeRollback = (setting: Setting = {}): WorldState => {
  const { world, exit } = simulate(beforeUpgrade(setting), "upgrade")
  const state = world.stateWithout(null)
  if (exit === null || Exit.isFailure(exit) || state === null)
    throw new Error(`no upgrade: ${describeExit(exit)}`)
  return { ...state, disk: { root: state.disk.root, pending: [] } }
}

export const describeExit = (exit: Exit.Exit<unknown, unknown> | null): string =>
  exit === null ? "killed" : Exit.isSuccess(exit) ? "success" : Cause.pretty(exit.cause)

/** The exit code that the command ends with; `null` for a defect. */
export const exitCodeOf = (exit: Exit.Exit<unknown, unknown>): number | null => {
  if (Exit.isSuccess(exit)) return 0
  const failure = Option.getOrNull(Cause.failureOption(exit.cause))
  return typeof failure === "object" && failure !== null && "exitCode" in failure
    ? Number(failure.exitCode)
    : null
}
