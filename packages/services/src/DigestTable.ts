import { createHash } from "node:crypto"
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { asExpression, exactly, quoted, soundKeyOf, type Table } from "./TableShapes.ts"

export interface TableDigest {
  readonly rows: number
  readonly digest: string
}

const BATCH = 5000

/**
 * Row count and digest of a table's columns; none where the table, or one of the columns, is not there. The rows come
 * in the order of their primary key, else of their content: never in one that a rebuilt table would change.
 */
export const digestTable = (
  table: Table | undefined,
  name: string,
  columns: ReadonlyArray<string>,
): Effect.Effect<Option.Option<TableDigest>, SqlError, SqlClient> =>
  Effect.gen(function* () {
    if (table === undefined) return Option.none()
    const hasAll = columns.every((column) => table.columns.some((each) => each.name === column))
    if (!hasAll) return Option.none()
    const sql = yield* SqlClient
    const row =
      columns.length === 0 ? "''" : columns.map((column) => exactly(quoted(column))).join(" || ',' || ")
    const hash = createHash("sha256")
    const key = soundKeyOf(table)
    const [first] = key
    if (key.length !== 1 || first === undefined) {
      const [all = []] = yield* sql.unsafe(
        `SELECT count(*), group_concat(row, char(10) ORDER BY row) FROM (SELECT ${row} AS row FROM ${quoted(name)})`,
      ).values
      if (Number(all[0]) > 0) hash.update(`${all[1]}\n`)
      return Option.some({ rows: Number(all[0]), digest: hash.digest("hex") })
    }
    const by = quoted(first.name)
    let rows = 0
    // An expression, not a value: a number of JavaScript is not exact beyond 2^53.
    let after = ""
    while (true) {
      // Batches by key keep memory flat whatever the table's size.
      const [batch = []] = yield* sql.unsafe(
        `SELECT count(*), ${asExpression("max(key)")}, group_concat(row, char(10) ORDER BY key)
         FROM (SELECT ${by} AS key, ${row} AS row FROM ${quoted(name)} ${after === "" ? "" : `WHERE ${by} > ${after}`} ORDER BY ${by} LIMIT ${BATCH})`,
      ).values
      const [count, last, text] = batch
      if (Number(count) === 0) break
      hash.update(`${text}\n`)
      rows += Number(count)
      after = String(last)
    }
    return Option.some({ rows, digest: hash.digest("hex") })
  })
