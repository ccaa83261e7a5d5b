/**
 * What commands read from a database that is not theirs, in their own process. Nothing in it is believed: a named pipe in its
 * place, a view or a trigger that never ends, a value of a gigabyte would keep or fill a process that may be root's.
 */
import { FileFailed } from "@waiaas/domain/DataErrors"
import { NOT_A_FILE } from "@waiaas/domain/FileWords"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import { Ownership } from "./platform/Ownership.ts"
import type { KeyedAgent } from "./SealedKeys.ts"

/** Values and rows of ours are far fewer and shorter. */
const MOST_VALUES = 1000
const MOST_BYTES = 64 * 1024
const MOST_AGENTS = 1_000_000

/** Fails unless a database and its log are ordinary files: a named pipe keeps whoever opens it, and no signal ends that. */
const expectFiles = (path: string) =>
  Effect.gen(function* () {
    const { entriesAt } = yield* Ownership
    for (const suffix of ["", "-wal", "-shm", "-journal"]) {
      const found = yield* entriesAt(`${path}${suffix}`)
      if (found.some(({ kind }) => kind !== "file" && kind !== "link"))
        return yield* new FileFailed({ operation: "read", path: `${path}${suffix}`, code: NOT_A_FILE })
    }
  })

/** Whether a table of ours is there as one, and no view or virtual table: reading it has an end. So has writing, without a trigger. */
const isPlainTable = (database: Sqlite.Database, name: string, isRead: boolean): boolean => {
  const count = (condition: string) =>
    database.prepare(`SELECT count(*) FROM sqlite_master WHERE ${condition}`).pluck().get(name) as number
  return (
    count("name = ? AND type = 'table' AND sql LIKE 'CREATE TABLE %'") === 1 &&
    (isRead || count("type = 'trigger' AND lower(tbl_name) = ?") === 0)
  )
}

/** Opens a database for a moment, for what `use` does with one table of it; `otherwise` where it has none that is plain. */
export const withTable = <A>(
  path: string,
  table: string,
  options: { readonly readonly: boolean; readonly otherwise: A },
  use: (database: Sqlite.Database) => A,
) =>
  Effect.zipRight(
    expectFiles(path),
    Effect.try((): A => {
      // Read-only: such a connection never deletes or writes a write-ahead log.
      const database = new Sqlite(path, { readonly: options.readonly, fileMustExist: true, timeout: 100 })
      try {
        return isPlainTable(database, table, options.readonly) ? use(database) : options.otherwise
      } finally {
        database.close()
      }
    }),
  )

/** The key-value store of a database that this process has not opened: only read, whatever its schema. */
export const readStoredValues = (path: string) =>
  withTable(
    path,
    "key_value_store",
    { readonly: true, otherwise: new Map<string, string>() },
    (database): ReadonlyMap<string, string> =>
      new Map(
        database
          .prepare("SELECT key, value FROM key_value_store WHERE octet_length(value) <= ? LIMIT ?")
          .raw()
          .all(MOST_BYTES, MOST_VALUES) as Array<[string, string]>,
      ),
  )

/** Id and name of every agent in a database that this process has not opened; none below the schema that has agents. */
export const readAgents = (path: string) =>
  withTable(path, "agents", { readonly: true, otherwise: [] }, (database): ReadonlyArray<KeyedAgent> => {
    const rows = database
      .prepare("SELECT id, name, public_key FROM agents ORDER BY created_at, id LIMIT ?")
      .raw()
      .all(MOST_AGENTS) as Array<[string, string, string]>
    return rows.map(([id, name, publicKey]) => ({ id, name, publicKey }))
  })
