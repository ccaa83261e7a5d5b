/** Reads and writes of SQLite files from outside of the product, as an operator's sqlite3 would. */
import Sqlite from "better-sqlite3"

/** What a query gives; the database may be in use. */
export const query = <A,>(path: string, sql: string): ReadonlyArray<A> => {
  const database = new Sqlite(path, { readonly: true, fileMustExist: true })
  try {
    return database.prepare<[], A>(sql).all()
  } finally {
    database.close()
  }
}

export const execute = (path: string, sql: string): void => {
  const database = new Sqlite(path, { fileMustExist: true, timeout: 5000 })
  try {
    database.exec(sql)
  } finally {
    database.close()
  }
}

/** The key-value store of a database. */
export const keysIn = (path: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    query<{ key: string; value: string }>(path, "SELECT key, value FROM key_value_store").map(
      ({ key, value }) => [key, value],
    ),
  )

export const setKeys = (path: string, values: Readonly<Record<string, string>>): void => {
  const database = new Sqlite(path, { fileMustExist: true, timeout: 5000 })
  try {
    const set = database.prepare(
      "INSERT OR REPLACE INTO key_value_store (key, value, updated_at) VALUES (?, ?, 1)",
    )
    for (const [key, value] of Object.entries(values)) set.run(key, value)
  } finally {
    database.close()
  }
}
