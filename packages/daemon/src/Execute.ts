import { NO_DEBUGGER } from "@waiaas/domain/NodeRange"
import { Environment } from "@waiaas/services/platform/Environment"
import { flushStreams } from "@waiaas/services/platform/Streams"
import * as Effect from "effect/Effect"

/**
 * Replaces this process by another package's daemon: the process id stays, so a supervisor sees one
 * process that goes on. Locks end here, as with any process that ends.
 */
export const execute = (
  daemon: string,
  args: ReadonlyArray<string>,
): Effect.Effect<void, never, Environment> =>
  Effect.flatMap(Environment, ({ node, variables }) =>
    // What is not written yet would end with this program.
    Effect.zipRight(
      Effect.promise(() => flushStreams(2000)),
      Effect.sync(() => {
        // Node marks execve as experimental; an operator cannot do anything about that line.
        process.removeAllListeners("warning")
        const env = Object.fromEntries(
          Object.entries(variables).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
        )
        if (process.execve === undefined) throw new Error(`This Node has no execve (${process.version})`)
        process.execve(node, [node, NO_DEBUGGER, daemon, "serve", ...args], env)
      }),
    ),
  )
