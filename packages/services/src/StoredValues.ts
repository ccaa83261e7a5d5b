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

/** Id and name of every agent in a database that this process has not opened; none below the schema that has agents. */
export const readAgentNames = (path: string) =>
  Effect.try((): ReadonlyArray<{ readonly id: string; readonly name: string }> => {
    const database = new Sqlite(path, { readonly: true, fileMustExist: true, timeout: 100 })
    try {
      const known = database.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'agents'")
      if (known.get() === undefined) return []
      const rows = database
        .prepare("SELECT id, name FROM agents ORDER BY created_at, id")
        .raw()
        .all() as Array<[string, string]>
      return rows.map(([id, name]) => ({ id, name }))
    } finally {
      database.close()
    }
  })
