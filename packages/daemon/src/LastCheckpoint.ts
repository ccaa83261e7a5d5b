import { SqlClient } from "@effect/sql/SqlClient"
import { readersInWords, readersOf } from "@waiaas/services/platform/DatabaseReaders"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * Brings everything from the write-ahead log into the database when the last request is through. It waits for nobody:
 * what a reader elsewhere keeps in the log is safe there, and the next checkpoint brings it in.
 */
export const layerLastCheckpoint = (path: string) =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const files = yield* DurableFile
      const { pid } = yield* Environment
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          yield* sql`PRAGMA busy_timeout = 0`
          const [row] = yield* sql<{ busy: number }>`PRAGMA wal_checkpoint(TRUNCATE)`
          if (row?.busy === 0) return
          const readers = yield* readersOf(files, path, [pid])
          yield* Effect.logWarning(
            `The last checkpoint was left to the next start: ${readersInWords(readers) || "another process"} has a transaction open in ${path}`,
          )
        }).pipe(
          Effect.catchAll((error) =>
            Effect.logWarning("The last checkpoint failed; the next start does it", error),
          ),
        ),
      )
    }),
  )
