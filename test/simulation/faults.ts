/** Every error at every operation of a run: once, and as a cause that stays until somebody removes it. */
import { takesSpace } from "@waiaas/services/testing/SimulatedFileSystem"
import { dataDir } from "@waiaas/services/testing/SimulatedPackage"
import { childFaults } from "@waiaas/services/testing/SimulatedProcesses"
import type {
  Fault,
  Operation,
  OperationKind,
  World,
  WorldState,
} from "@waiaas/services/testing/SimulatedWorld"
import { type Explorer, type Found, STRIDE } from "./explore.ts"
import { type Actor, describeExit, exitCodeOf, simulate, switchedOn } from "./simulate.ts"
import { Violation, verify } from "./verify.ts"

/**
 * One error of each kind that the product can tell apart: one that may have done a part (EIO, ENOSPC)
 * and one that did nothing (EACCES, EROFS), and EXDEV; of the many writes each takes one in turn. `isDeep` tries every name.
 */
const faultsOf = (
  { kind, number }: Pick<Operation, "kind" | "number">,
  isDeep: boolean,
): ReadonlyArray<Fault> => {
  const faults: Record<OperationKind, readonly [usual: ReadonlyArray<Fault>, more?: ReadonlyArray<Fault>]> = {
    read: [["EIO"], ["EACCES"]],
    write: [
      ["ENOSPC", "EACCES"],
      ["EIO", "EROFS"],
    ],
    rename: [
      ["EROFS", "EXDEV"],
      ["EIO", "ENOSPC", "EACCES"],
    ],
    tool: [childFaults.tool],
    npm: [childFaults.npm],
    spawn: [childFaults.spawn],
    http: [childFaults.http],
    space: [["ENOSPC", "EIO"]],
    lock: [["EIO", "EACCES"]],
  }
  const [usual, more = []] = faults[kind]
  if (isDeep) return [...usual, ...more]
  const fault = usual[number % usual.length]
  return kind === "write" && fault !== undefined ? [fault] : usual
}

/**
 * Causes that last: from an operation on, everything of its kinds fails. `isDeep` adds a disk that stays full
 * whatever is given back; one that is full until then is tried in both (`fullAt`).
 */
const lasting: ReadonlyArray<
  readonly [fault: Fault, kinds: ReadonlyArray<OperationKind>, onlyDeep?: boolean]
> = [
  ["ENOSPC", ["write"], true],
  ["EROFS", ["write", "rename"]],
]

export interface FaultCounts {
  operations: number
  /** Runs with one error, and with a cause that stays. */
  single: number
  lasting: number
  readonly exits: Record<string, number>
}

/** The operations of a run that nothing disturbs. */
export const operationsOf = (
  state: WorldState,
  actor: Actor,
): ReadonlyArray<Pick<Operation, "number" | "kind" | "what">> => {
  const all: Array<Pick<Operation, "number" | "kind" | "what">> = []
  simulate(state, actor, {
    judge: ({ number, kind, what }) => {
      all.push({ number, kind, what })
      return null
    },
  })
  return all
}

/** A fault as a path names it: `!31:EIO`, and `!31:ENOSPC+` for one that stays. */
export const judgeOf = (number: number, fault: Fault, stays: boolean): NonNullable<World["judge"]> => {
  if (!stays) return (operation) => (operation.number === number ? fault : null)
  const kinds = lasting.find(([name]) => name === fault)?.[1] ?? []
  return (operation) => (operation.number >= number && kinds.includes(operation.kind) ? fault : null)
}

/**
 * A disk that is full from an operation on, as long as the reserve stands: whoever recovers then has to
 * give the reserve back before anything else. Not judged where there is none (yet, or any more).
 */
export const fullFrom = (number: number, sawReserve = () => {}): NonNullable<World["judge"]> => {
  const reserve = `${dataDir}/upgrade/reserve`
  return ({ number: at, what, process: { world } }) => {
    if (at < number || world.disk.node(reserve) === null) return null
    sawReserve()
    return takesSpace(world.disk, what) ? "ENOSPC" : null
  }
}

/** The disk gets full at an operation: the run, and a recovery after its death there, must end by themselves. */
const fullAt = (explorer: Explorer, state: WorldState, actor: "upgrade" | "rollback", number: number) => {
  const attempt = (
    path: string,
    from: WorldState,
    by: Actor,
    at: number,
    options: { killAfter?: number },
  ) => {
    let reserved = false
    try {
      const judge = fullFrom(at, () => {
        reserved = true
      })
      const ended = simulate(from, by, { judge, ...options })
      if (options.killAfter !== undefined || !reserved) return ended
      if (ended.exit !== null && exitCodeOf(ended.exit) === 7)
        throw new Violation(`paused on a full disk with a reserve: ${describeExit(ended.exit)}`)
      return ended
    } catch (cause) {
      explorer.report(path, cause)
      return null
    }
  }
  const path = `${actor}!${number}:full`
  attempt(path, state, actor, number, {})
  const cut = attempt(path, state, actor, number, { killAfter: number })
  if (cut === null) return
  const left = switchedOn(cut.world.disk.state, cut.world)
  attempt(`${path}@${number}:kill-all/recover!0:full`, left, "recover", 0, {})
}

/** One run with a fault: how it ended must be what it says, and what it leaves must be recovered. */
export const faultAt = (
  explorer: Explorer,
  from: Found,
  actor: "upgrade" | "rollback",
  number: number,
  fault: Fault,
  stays: boolean,
  counts: FaultCounts,
): void => {
  const path = `${actor}!${number}:${fault}${stays ? "+" : ""}`
  try {
    const { world, exit } = simulate(from.state, actor, { judge: judgeOf(number, fault, stays) })
    if (exit === null) throw new Violation("the command did not end")
    const code = exitCodeOf(exit)
    const key = `${stays ? "lasting" : "single"} ${fault.startsWith("npm") ? "npm" : fault}: exit ${code}`
    counts.exits[key] = (counts.exits[key] ?? 0) + 1
    if (code === null) throw new Violation(`a defect: ${describeExit(exit)}`)
    const state = world.stateWithout(null)
    if (state === null) throw new Violation("a daemon is still in transit")
    // A pause keeps everything: with the cause gone the recovery must end in one of the two outcomes.
    if (stays || code === 7) explorer.add({ state, path, depth: 1 })
    else {
      const outcome = verify(world, explorer.kind)
      const done = actor === "upgrade" ? "new" : "old"
      if ((code === 0) !== (outcome === done))
        throw new Violation(`exit ${code}, but ${outcome} stands: ${describeExit(exit)}`)
      explorer.end(outcome, "undone at once")
    }
  } catch (cause) {
    explorer.report(path, cause)
  }
}

export const faultEverywhere = (
  explorer: Explorer,
  state: WorldState,
  actor: "upgrade" | "rollback",
): FaultCounts => {
  const operations = operationsOf(state, actor)
  const counts: FaultCounts = { operations: operations.length, single: 0, lasting: 0, exits: {} }
  const from: Found = { state, path: "", depth: 0 }
  for (const operation of operations) {
    const { number, kind } = operation
    // Most of the reads are of one tree after the other, file by file.
    if (kind === "read" && !explorer.isDeep && number % STRIDE !== 0) continue
    for (const fault of faultsOf(operation, explorer.isDeep)) {
      counts.single += 1
      faultAt(explorer, from, actor, number, fault, false, counts)
    }
    for (const [fault, kinds, onlyDeep = false] of lasting) {
      if (!kinds.includes(kind) || (!explorer.isDeep && (onlyDeep || number % STRIDE !== 0))) continue
      counts.lasting += 1
      faultAt(explorer, from, actor, number, fault, true, counts)
    }
  }
  return counts
}

/** The disk gets full at the operations that may take space; gives how many were tried. */
export const fullEverywhere = (
  explorer: Explorer,
  state: WorldState,
  actor: "upgrade" | "rollback",
): number => {
  const operations = operationsOf(state, actor)
    .filter(({ kind }) => kind === "write" || kind === "rename")
    .filter((_, index) => explorer.isDeep || index % STRIDE === 0)
  for (const { number } of operations) fullAt(explorer, state, actor, number)
  return operations.length
}
