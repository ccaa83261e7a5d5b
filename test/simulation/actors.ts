/** Others who act while a run goes on: Ctrl-C, a second command, a daemon that dies; and machines of another make. */
import type { WorldState } from "@waiaas/services/testing/SimulatedWorld"
import { Explorer, type Found } from "./explore.ts"
import { operationsOf } from "./faults.ts"
import { interruptAt } from "./interrupt.ts"
import {
  beforeRollback,
  beforeUpgrade,
  describeExit,
  exitCodeOf,
  type Setting,
  simulate,
  typed,
} from "./simulate.ts"
import { Violation, verify } from "./verify.ts"

type Kind = "upgrade" | "rollback"

export interface ActorFigures {
  /** Runs with Ctrl-C at an operation. */
  readonly interrupted: number
  /** Runs with another command at an operation. */
  readonly second: number
  /** Runs in which the daemon dies at an operation. */
  readonly dying: number
  /** Crashes of a run under a supervisor, and of one whose backups are on another device. */
  readonly supervised: number
  readonly apart: number
}

/** So many operations apart somebody acts; `--deep` takes every one. */
const STRIDE = 23

/** What a run with somebody else on the machine ended with must be what it says. */
const judgeEnd = (kind: Kind, by: Kind | "both", { world, exit }: ReturnType<typeof simulate>): void => {
  if (exit === null) throw new Violation("the command did not end")
  const code = exitCodeOf(exit)
  if (code === null) throw new Violation(`a defect: ${describeExit(exit)}`)
  const outcome = verify(world, by)
  const done = kind === "upgrade" ? "new" : "old"
  // A pause says that it needs somebody, and a second command may have carried the run on, or undone it, since.
  if (code !== 7 && by === kind && code === 0 && outcome !== done)
    throw new Violation(`exit 0, but ${outcome} is in place: ${describeExit(exit)}`)
}

const second = (state: WorldState, kind: Kind, at: number, other: Kind): void => {
  let ended: ReturnType<typeof typed> | undefined
  const run = simulate(state, kind, {
    meanwhile: {
      at,
      act: (world) => {
        ended = typed(world, other)
      },
    },
  })
  // The run may end some operations earlier or later than the one that these were counted in.
  const exit = ended?.()
  if (exit === null || (exit !== undefined && exitCodeOf(exit) === null))
    throw new Violation(`the second command: ${describeExit(exit)}`)
  judgeEnd(kind, kind === "upgrade" && other === "upgrade" ? "upgrade" : "both", run)
}

const dying = (state: WorldState, kind: Kind, at: number): void =>
  judgeEnd(
    kind,
    kind,
    simulate(state, kind, {
      meanwhile: {
        at,
        act: (world) => {
          for (const daemon of world.daemons()) world.kill(daemon)
        },
      },
    }),
  )

/** A run on a machine of another make, cut off at every operation and recovered. */
const explore = (kind: Kind, setting: Setting, isDeep: boolean, violations: Array<string>): number => {
  const explorer = new Explorer(kind, false)
  const state = (kind === "upgrade" ? beforeUpgrade : beforeRollback)(setting)
  const from: Found = { state, path: "", depth: 0, isShallow: true }
  const name = setting.supervised ? "supervised" : "apart"
  const { world, exit } = explorer.crashEverywhere(from, kind, `${name} ${kind}`, {
    stride: isDeep ? 1 : STRIDE,
  })
  try {
    verify(world, kind)
  } catch (cause) {
    explorer.report(`${name} ${kind} ${describeExit(exit)}`, cause)
  }
  explorer.exhaust()
  violations.push(...explorer.violations)
  return explorer.counts.states
}

export const proveActors = (
  kind: Kind,
  isDeep: boolean,
): ActorFigures & { readonly violations: ReadonlyArray<string> } => {
  Error.stackTraceLimit = 0
  const state = (kind === "upgrade" ? beforeUpgrade : beforeRollback)()
  const violations: Array<string> = []
  const numbers = operationsOf(state, kind)
    .map(({ number }) => number)
    .filter((number) => isDeep || number % STRIDE === 0)
  const attempt = (path: string, act: () => unknown) => {
    try {
      act()
    } catch (cause) {
      if (violations.length < 30)
        violations.push(`${path}: ${cause instanceof Violation ? cause.message : String(cause)}`)
    }
  }
  for (const number of numbers) {
    attempt(`${kind}, Ctrl-C at ${number}`, () => interruptAt(state, kind, number))
    attempt(`${kind}, the daemon dies at ${number}`, () => dying(state, kind, number))
    for (const other of ["upgrade", "rollback"] as const)
      attempt(`${kind}, ${other} is typed at ${number}`, () => second(state, kind, number, other))
  }
  return {
    interrupted: numbers.length,
    dying: numbers.length,
    second: 2 * numbers.length,
    supervised: explore(kind, { supervised: true }, isDeep, violations),
    apart: explore(kind, { isApart: true }, isDeep, violations),
    violations,
  }
}
