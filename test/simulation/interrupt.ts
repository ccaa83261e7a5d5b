/** Ctrl-C at an operation of a run: it is undone with exit code 130, or it came too late and changes nothing. */
import type { WorldState } from "@waiaas/services/testing/SimulatedWorld"
import { describeExit, exitCodeOf, simulate } from "./simulate.ts"
import { type Outcome, Violation, verify } from "./verify.ts"

/** The result of a run that is interrupted at an operation; throws where it is neither of the two. */
export const interruptAt = (state: WorldState, kind: "upgrade" | "rollback", number: number): Outcome => {
  let committed = false
  const { world, exit } = simulate(state, kind, {
    interruptAt: number,
    changed: ({ number: at, what }) => {
      if (/^rename .*\.committed$/.test(what) && at < number) committed = true
    },
  })
  if (exit === null) throw new Violation("the command did not end")
  const code = exitCodeOf(exit)
  if (code !== 0 && (committed || code !== 130))
    throw new Violation(`exit ${code}${committed ? " after the commit" : ""}: ${describeExit(exit)}`)
  const outcome = verify(world, kind)
  const done = kind === "upgrade" ? "new" : "old"
  if ((code === 0) !== (outcome === done)) throw new Violation(`exit ${code}, but ${outcome} is in place`)
  return outcome
}
