/**
 * Ties a database tool to the run that asked for it. A child outlives an upgrader that is killed alone, and
 * what it then does to the database would come after the recovery. So it works under a shared lock that a
 * recovery waits for, and not at all once its upgrader is gone.
 */
import { parseArgs } from "node:util"
import { DatabaseFailed, type FileFailed } from "@waiaas/domain/DataErrors"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import * as Effect from "effect/Effect"

/** `args`: the command line's; without a lock nothing is guarded. */
export const underGuard = <A, E, R>(
  args: ReadonlyArray<string>,
  act: Effect.Effect<A, E, R>,
): Effect.Effect<A, E | FileFailed | DatabaseFailed, R | ExclusiveLock> => {
  const { values } = parseArgs({
    args: [...args],
    options: { upgrader: { type: "string" }, lock: { type: "string" } },
    // A newer upgrader may say more than this code knows.
    strict: false,
  })
  const { lock: path, upgrader } = values
  if (typeof path !== "string") return act
  return Effect.gen(function* () {
    yield* (yield* ExclusiveLock).share(path)
    // After the lock: from here on a recovery waits for this process.
    if (process.ppid !== Number(upgrader))
      return yield* new DatabaseFailed({
        operation: "work on it",
        path,
        reason: `the run that asked for it (process ${upgrader}) is gone`,
      })
    return yield* act
  }).pipe(Effect.scoped)
}
