/** Compares how two databases define the tables that both have, and which numbers AUTOINCREMENT has given out. */
import { SqlClient } from "@effect/sql/SqlClient"
import type { Change, Difference, TablePair } from "@waiaas/domain/SchemaChange"
import * as Effect from "effect/Effect"
import { type SameNames, tableDefinitionOf } from "./TableDefinitions.ts"

/** SQLite writes a new name into all that uses it: names that a declared change makes one are compared as one. */
export const sameNamesOf = (declared: ReadonlyArray<Change>): SameNames => {
  const names = new Map<string, string>()
  for (const change of declared) {
    if (change._tag !== "TableRenamed" && change._tag !== "ColumnRenamed") continue
    const [from, to] = [change._tag === "TableRenamed" ? change.table : change.column, change.to].map(
      (name) => name.toLowerCase(),
    )
    if (from === undefined || to === undefined) continue
    const [kept, other] = [names.get(from) ?? from, names.get(to) ?? to]
    for (const [name, is] of names) if (is === other) names.set(name, kept)
    for (const name of [from, to, other]) names.set(name, kept)
  }
  return names
}

/** A declared change of a definition under the names that hold at the end of the list. */
const definitionsDeclared = (declared: ReadonlyArray<Change>) =>
  declared.flatMap((change, index) => {
    if (change._tag !== "DefinitionChanged") return []
    let { table, column } = change
    let isThere = true
    for (const later of declared.slice(index + 1)) {
      if (!("table" in later) || later.table !== table) continue
      if (later._tag === "TableRenamed") table = later.to
      else if (later._tag === "TableDropped") isThere = false
      else if (later._tag === "ColumnRenamed" && later.column === column) column = later.to
      else if (later._tag === "ColumnDropped" && later.column === column) isThere = false
    }
    return isThere ? [{ change, table, column }] : []
  })

const definitionsOf = (database: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql.unsafe<{ name: string; sql: string }>(
        `SELECT name, sql FROM ${database}.sqlite_schema WHERE type = 'table' AND sql IS NOT NULL`,
      ),
      (rows) => new Map(rows.map((row) => [row.name, row.sql])),
    ),
  )

/** What the definition of a table in `pairs` says otherwise than in `before`, beyond what is declared, and what is declared but did not happen. */
export const compareDefinitions = (
  before: string,
  pairs: ReadonlyArray<TablePair>,
  declared: ReadonlyArray<Change>,
) =>
  Effect.gen(function* () {
    const names = sameNamesOf(declared)
    const [was, is] = [yield* definitionsOf(before), yield* definitionsOf("main")]
    const allowed = definitionsDeclared(declared)
    const happened = new Set<Change>()
    const differences: Array<Difference> = []
    for (const pair of pairs) {
      const [one, other] = [
        tableDefinitionOf(was.get(pair.before) ?? "", names),
        tableDefinitionOf(is.get(pair.after) ?? "", names),
      ]
      const found = pair.columns
        .filter(
          (column) =>
            one.columns.get(column.before.toLowerCase()) !== other.columns.get(column.after.toLowerCase()),
        )
        .map((column): string | null => column.after)
      if (one.whole !== other.whole) found.push(null)
      for (const column of found) {
        const by = allowed.filter((each) => each.table === pair.after && each.column === column)
        for (const { change } of by) happened.add(change)
        if (by.length === 0)
          differences.push({
            change: { _tag: "DefinitionChanged", table: pair.after, column },
            rows: 0,
            sample: [],
          })
      }
    }
    // Of a table or a column that an earlier migration of the same run made, nothing is compared.
    const absent = allowed.filter(({ change, table, column }) => {
      const pair = pairs.find(({ after }) => after === table)
      const isCompared =
        pair !== undefined && (column === null || pair.columns.some(({ after }) => after === column))
      return isCompared && !happened.has(change)
    })
    return { differences, absent: absent.map(({ change }): Change => change) }
  })

const SEQUENCES = "sqlite_sequence"

const sequencesOf = (database: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const there = yield* sql.unsafe(`SELECT 1 FROM ${database}.sqlite_schema WHERE name = '${SEQUENCES}'`)
    if (there.length === 0) return new Map<string, bigint>()
    // As text: a number of JavaScript is not exact beyond 2^53.
    const rows = yield* sql.unsafe<{ name: string; seq: string }>(
      `SELECT name, CAST(CAST(seq AS INTEGER) AS TEXT) AS seq FROM ${database}.${SEQUENCES} WHERE name IS NOT NULL`,
    )
    return new Map(rows.map(({ name, seq }) => [name, BigInt(seq ?? 0)]))
  })

/** Numbers that were given out and would be given out again: a table that is built anew forgets those of rows that are gone. */
export const compareSequences = (
  before: string,
  pairs: ReadonlyArray<TablePair>,
  declared: ReadonlyArray<Change>,
) =>
  Effect.gen(function* () {
    const [was, is] = [yield* sequencesOf(before), yield* sequencesOf("main")]
    const by = declared.filter(
      (change) => change._tag === "ValuesChanged" && change.table === SEQUENCES && change.column === "seq",
    )
    const lower = pairs.filter((pair) => {
      const last = was.get(pair.before)
      return last !== undefined && (is.get(pair.after) ?? -1n) < last
    })
    const difference: Difference = {
      change: { _tag: "ValuesChanged", table: SEQUENCES, column: "seq" },
      rows: lower.length,
      sample: lower.map(({ before: name, after }) => ({
        key: { name },
        name,
        before: String(was.get(name)),
        after: is.has(after) ? String(is.get(after)) : null,
      })),
    }
    return {
      differences: lower.length > 0 && by.length === 0 ? [difference] : [],
      absent: lower.length === 0 ? by : [],
    }
  })
