import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"

/** The key-value store of a database that this process has not opened: only read, whatever its schema. */
export const readStoredValues = (path: string) =>
  Effect.try((): ReadonlyMap<string, string> => {
    // Read-only: such a connection never deletes or writes a write-ahead log.
    const database = new Sqlite(path, { readonly: true, fileMustExist: true, timeout: 100 })
    try {
      const rows = database.prepare("SELECT key, value FROM key_value_store").raw().all() as Array<
        [string, string]
      >
      return new Map(rows)
    } finally {
      database.close()
    }
  })
