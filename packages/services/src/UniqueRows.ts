/** Rows of tables that this code does not know: a later release's, or an operator's own. Each one is a write. */
import * as Effect from "effect/Effect"
import { exactly, quoted, type Table, tablesOf } from "./TableShapes.ts"

/** Compared write by write, or written by the daemon itself. */
const KNOWN = new Set(["agents", "agent_events", "schema_version", "key_value_store"])

/** The tables of `main` whose rows are compared as a whole. */
export const otherTables = Effect.map(tablesOf("main"), (tables) =>
  [...tables].filter(([name]) => !KNOWN.has(name)),
)

/** The rows of `own` tables in a database, as `agent`, `what`, `at`; a column that it does not have has its default there. */
export const otherRowsOf = (database: string, own: ReadonlyArray<readonly [string, Table]>) =>
  Effect.map(tablesOf(database), (tables) =>
    own.flatMap(([name, { columns }]) => {
      const there = tables.get(name)
      if (there === undefined) return []
      const values = columns.map((column) =>
        exactly(
          there.columns.some((each) => each.name === column.name)
            ? quoted(column.name)
            : `(${column.dflt_value ?? "NULL"})`,
        ),
      )
      const what = `'row ${name.replaceAll("'", "''")}'`
      return [`SELECT '', ${what}, ${values.join(" || ',' || ") || "''"} FROM ${database}.${quoted(name)}`]
    }),
  )
