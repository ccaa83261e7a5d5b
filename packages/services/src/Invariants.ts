import type { Invariants } from "@waiaas/domain/JournalRecord"
import { VerificationFailed } from "@waiaas/domain/RunErrors"
import * as Effect from "effect/Effect"

type Digests = Invariants["tables"]

/** No row that holds value was lost, added or changed. */
export const expectSame = (before: Digests, after: Digests): Effect.Effect<void, VerificationFailed> =>
  Effect.forEach(
    Object.entries(before),
    ([table, was]) => {
      const is = after[table]
      if (is?.digest === was.digest && is.rows === was.rows) return Effect.void
      return new VerificationFailed({
        what: `the table ${table}`,
        expected: `${was.rows} rows, unchanged`,
        found: is === undefined ? "gone" : is.rows === was.rows ? "changed" : `${is.rows} rows`,
      })
    },
    { discard: true },
  )
