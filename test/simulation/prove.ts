/** The whole proof for one kind of run, its figures, and the replay of a single path. */
import type { RunKind } from "@waiaas/domain/UpgradePhase"
import { crashed, isLoss } from "@waiaas/services/testing/SimulatedCrash"
import type { WorldState } from "@waiaas/services/testing/SimulatedWorld"
import { type Counts, Explorer } from "./explore.ts"
import { type FaultCounts, faultEverywhere, fullEverywhere, fullFrom, judgeOf } from "./faults.ts"
import { type Actor, beforeRollback, beforeUpgrade, describeExit, simulate, switchedOn } from "./simulate.ts"
import { failEverySync } from "./syncs.ts"
import { verify } from "./verify.ts"

const before = { upgrade: beforeUpgrade, rollback: beforeRollback } as const

export interface Figures extends Counts {
  readonly errors: FaultCounts
  /** Syncs that failed, with the power going after it. */
  readonly failedSyncs: number
  readonly seconds: number
  /** Each path that breaks the promise, with what is wrong at its end. */
  readonly violations: ReadonlyArray<string>
}

/** Every crash point and every error of a run, and every crash of every recovery. */
export const prove = (kind: RunKind, isDeep: boolean): Figures => {
  // The product makes thousands of errors here that nobody reads: their traces take longer than the rest.
  Error.stackTraceLimit = 0
  const began = performance.now()
  const state = before[kind]()
  const explorer = new Explorer(kind, isDeep)
  const { exit, world } = explorer.crashEverywhere({ state, path: "", depth: 0 }, kind, kind, {
    stride: isDeep ? 1 : 2,
  })
  try {
    explorer.end(verify(world, kind), "undisturbed")
  } catch (cause) {
    explorer.report(`${kind} ${describeExit(exit)}`, cause)
  }
  explorer.exhaust()
  const errors = faultEverywhere(explorer, state, kind)
  // What an error leaves is mostly what a crash leaves: only the rest is new.
  explorer.exhaust()
  const failedSyncs = failEverySync(explorer, state, kind)
  explorer.exhaust()
  const seconds = (performance.now() - began) / 1000
  return { ...explorer.counts, errors, failedSyncs, seconds, violations: explorer.violations }
}

export interface FullFigures {
  /** Operations at which the disk got full. */
  readonly full: number
  readonly violations: ReadonlyArray<string>
}

/** A disk that gets full, which has to do with nothing that the rest finds: it can be proved beside that. */
export const proveFull = (kind: RunKind, isDeep: boolean): FullFigures => {
  Error.stackTraceLimit = 0
  const explorer = new Explorer(kind, isDeep)
  const full = fullEverywhere(explorer, before[kind](), kind)
  return { full, violations: explorer.violations }
}

/**
 * Replays one path as a violation prints it, such as `upgrade@212:lose-all/recover@31:keep/start` or
 * `upgrade!120:EIO/recover`, and prints every operation.
 */
export const replay = (path: string): void => {
  const kind: RunKind = path.startsWith("rollback") ? "rollback" : "upgrade"
  let state: WorldState = before[kind]()
  for (const step of path.split("/")) {
    const match = /^(\w+)(?:!(\d+):([^@+]+)(\+?))?(?:@(\d+):([\w-]+))?$/.exec(step)
    if (match === null) throw new Error(`no step of a path: ${step}`)
    const [, actor, faulty, fault = "", stays, point, loss = ""] = match
    let after: WorldState | null = null
    const number = point === undefined ? null : Number(point)
    const { world, exit } = simulate(state, actor as Actor, {
      judge: (operation) => {
        process.stdout.write(`${step} ${operation.number} ${operation.process.role} ${operation.what}\n`)
        if (faulty === undefined) return null
        const from = Number(faulty)
        return (fault === "full" ? fullFrom(from) : judgeOf(from, fault, stays === "+"))(operation)
      },
      changed: (operation, at, main) => {
        if (operation.number !== number || after !== null || loss === "kill-live") return
        if (loss === "kill") after = at.stateWithout(main)
        else if (loss === "kill-all") after = switchedOn(at.disk.state, at)
        else if (isLoss(loss)) after = switchedOn(crashed(at.disk.state, loss), at)
      },
      ...(loss === "kill-live" && number !== null ? { killAfter: number } : {}),
      isLast: number === null && faulty === undefined,
    })
    process.stdout.write(`${step}: ${describeExit(exit)} ${world.notes.join("; ")}\n`)
    const next = after ?? world.stateWithout(null)
    if (next === null) throw new Error("a daemon is in transit")
    // On a full disk it only has to end by itself.
    if (number === null && fault !== "full" && step === path.split("/").at(-1))
      process.stdout.write(`${verify(world, kind)}\n`)
    state = next
  }
}
