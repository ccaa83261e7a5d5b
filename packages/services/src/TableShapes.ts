/** What tables a database has, from the database itself, and how SQL names them. */
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"

export interface Column {
  readonly name: string
  /** As it was declared, in upper case. */
  readonly type: string
  /** Place in the primary key, from 1; 0 where it is not in it. */
  readonly pk: number
  readonly notnull: number
  /** An expression in SQL. */
  readonly dflt_value: string | null
}
export interface Table {
  readonly columns: ReadonlyArray<Column>
  readonly withoutRowid: boolean
  readonly strict: boolean
}
export type Tables = ReadonlyMap<string, Table>

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** Every table of a schema (`main`, or the name of an attached one) and its columns. SQLite's own (`sqlite_...`) hold nothing of ours. */
export const tablesOf = (schema: string): Effect.Effect<Tables, SqlError, SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const found = yield* sql<{ name: string; wr: number; strict: number }>`
      SELECT name, wr, strict FROM pragma_table_list
      WHERE schema = ${schema} AND type IN ('table', 'virtual') AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name`
    const tables = new Map<string, Table>()
    for (const { name, wr, strict } of found) {
      // `hidden` 1 is a virtual table's own argument; 2 and 3 are generated columns.
      const columns = yield* sql<Column>`
        SELECT name, upper(type) AS type, pk, "notnull", dflt_value FROM pragma_table_xinfo(${name}, ${schema}) WHERE hidden <> 1`
      tables.set(name, { columns, withoutRowid: wr === 1, strict: strict === 1 })
    }
    return tables
  })

/** The primary key's columns in its order, where each row has one of its own: SQLite lets NULL into some keys. */
export const soundKeyOf = ({ columns, withoutRowid, strict }: Table): ReadonlyArray<Column> => {
  const key = columns.filter(({ pk }) => pk > 0).toSorted((one, other) => one.pk - other.pk)
  const isSound =
    withoutRowid ||
    strict ||
    key.every(({ notnull, type }) => notnull === 1 || (type === "INTEGER" && key.length === 1))
  return isSound ? key : []
}

/** A name of the rowid that no column takes; none where there is no rowid. */
export const rowidOf = ({ withoutRowid, columns }: Table): string | undefined =>
  withoutRowid
    ? undefined
    : ["rowid", "_rowid_", "oid"].find(
        (name) => !columns.some((column) => column.name.toLowerCase() === name),
      )

/** An exact literal of a value, one for each value: `quote` alone ends a text at its first NUL. */
export const exactly = (value: string): string =>
  `CASE WHEN typeof(${value}) = 'text' AND instr(${value}, char(0)) > 0 THEN 'text ' || hex(${value}) ELSE quote(${value}) END`

/** An expression that SQL reads as exactly this value again. */
export const asExpression = (value: string): string =>
  `CASE typeof(${value}) WHEN 'text' THEN 'CAST(x''' || hex(${value}) || ''' AS TEXT)' ELSE quote(${value}) END`
