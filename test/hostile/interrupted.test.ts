/** Ctrl-C in every step of a run, at its first operation, in its middle and at its last one. */
import { assert, describe, test } from "@effect/vitest"
import { phasesOf } from "@waiaas/domain/UpgradePhase"
import { operationsOf } from "../simulation/faults.ts"
import { interruptAt } from "../simulation/interrupt.ts"
import { beforeRollback, beforeUpgrade } from "../simulation/simulate.ts"

const runs = { upgrade: beforeUpgrade, rollback: beforeRollback } as const

for (const kind of ["upgrade", "rollback"] as const)
  describe(`Ctrl-C in a ${kind}`, () => {
    const state = runs[kind]()
    const operations = operationsOf(state, kind)
    // Each step begins with a record of its own, and the commit with a file.
    const appended = operations
      .filter(({ what }) => /^write .*\.jsonl$/.test(what))
      .map(({ number }) => number)
    const commit = operations.find(({ what }) => /^rename .*\.committed$/.test(what))?.number ?? 0

    test("before the commit puts everything back with exit code 130; after it the run goes to its end with 0", () => {
      assert.isAbove(appended.length, 2 * phasesOf[kind].length)
      const outcomes = new Map<boolean, Set<string>>([true, false].map((after) => [after, new Set()]))
      for (const [index, first] of appended.entries()) {
        const next = appended[index + 1] ?? operations.length
        for (const number of new Set([first, (first + next) >> 1, next - 1]))
          outcomes.get(number > commit)?.add(interruptAt(state, kind, number))
      }
      const [done, undone] = kind === "upgrade" ? ["new", "old"] : ["old", "new"]
      assert.deepStrictEqual(outcomes.get(true), new Set([done]))
      assert.isTrue(outcomes.get(false)?.has(undone))
    })
  })
