/** Compares the content of two databases: every column of every table that both have, row by row, in SQLite itself. */
import { SqlClient } from "@effect/sql/SqlClient"
import { DatabaseFailed } from "@waiaas/domain/DataErrors"
import {
  type Change,
  type Comparison,
  compareShapes,
  type Difference,
  type RowDifference,
  type TablePair,
} from "@waiaas/domain/SchemaChange"
import * as Effect from "effect/Effect"
import { compareDefinitions, compareSequences } from "./CompareDefinitions.ts"
import { compareObjects } from "./CompareObjects.ts"
import { databaseFailed } from "./Database.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import {
  type Column,
  exactly,
  quoted,
  rowidOf,
  soundKeyOf,
  type Table,
  type Tables,
  tablesOf,
} from "./TableShapes.ts"

/** Under which name the earlier database is attached. */
const BEFORE = "was"

/** How a row is found again: by its primary key where that is never NULL, else by its rowid; nothing where columns take all of its names. */
const keyOf = (pair: TablePair, before: Table, after: Table) => {
  const declared = soundKeyOf(before)
  const primary = declared.flatMap(({ name }) => pair.columns.find((column) => column.before === name) ?? [])
  if (declared.length > 0 && primary.length === declared.length)
    return primary.map(({ before: was, after: is }) => ({ was, is }))
  const was = rowidOf(before)
  const is = rowidOf(after)
  if (was !== undefined && is !== undefined) return [{ was, is }]
  return []
}

/** Rows that nothing distinguishes: how many of each there are. */
const countUnkeyed = (pair: TablePair) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const rows = (from: string, names: ReadonlyArray<string>) => {
      const row = names.map((name) => exactly(quoted(name))).join(" || ',' || ") || "''"
      return `SELECT row, row_number() OVER (PARTITION BY row) FROM (SELECT ${row} AS row FROM ${from})`
    }
    const was = rows(
      `${BEFORE}.${quoted(pair.before)}`,
      pair.columns.map(({ before }) => before),
    )
    const is = rows(
      `main.${quoted(pair.after)}`,
      pair.columns.map(({ after }) => after),
    )
    const count = (one: string, other: string) =>
      Effect.map(sql.unsafe(`SELECT count(*) FROM (${one} EXCEPT ${other})`).values, ([row]) =>
        Number(row?.[0] ?? 0),
      )
    return { removed: yield* count(was, is), added: yield* count(is, was) }
  })

const compareUnkeyed = (pair: TablePair) =>
  Effect.map(countUnkeyed(pair), ({ removed, added }) => {
    const found: ReadonlyArray<Found> = [
      ...(removed > 0 ? [{ declared: pair.removed, difference: lostRows(pair.after, removed) }] : []),
      ...(added > 0 ? [{ declared: pair.added, difference: moreRows(pair.after, added) }] : []),
    ]
    return outcome(pair, found)
  })

interface Found {
  readonly difference: Difference
  readonly declared: Change | null
}
const lostRows = (table: string, rows: number, sample: ReadonlyArray<RowDifference> = []): Difference => ({
  change: { _tag: "RowsRemoved", table },
  rows,
  sample,
})
const moreRows = (table: string, rows: number, sample: ReadonlyArray<RowDifference> = []): Difference => ({
  change: { _tag: "RowsAdded", table },
  rows,
  sample,
})
/** What nobody declared, and what was declared and is not there. */
const outcome = (pair: TablePair, found: ReadonlyArray<Found>) => ({
  found: found.flatMap(({ declared, difference }) => (declared === null ? [difference] : [])),
  absent: declaredOf(pair).filter((change) => !found.some(({ declared }) => declared === change)),
})

/** As it is read by people: a text as it is, another value as a literal of SQLite, which is exact. */
const shown = (value: string) =>
  `CASE typeof(${value}) WHEN 'text' THEN ${value} WHEN 'null' THEN NULL ELSE quote(${value}) END`

const compareRows = (pair: TablePair, before: Table, after: Table, limit: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const select = (text: string) => sql.unsafe(text).values
    const numbers = (text: string) =>
      Effect.map(select(text), ([row = []]) => row.map((value) => Number(value ?? 0)))
    const was = (name: string) => `b.${quoted(name)}`
    const is = (name: string) => `a.${quoted(name)}`
    const key = keyOf(pair, before, after)
    if (key.length === 0) return yield* compareUnkeyed(pair)
    // `IS` in a primary key finds a row by the index too, and a NULL finds a NULL.
    const match = key.map((part) => `${is(part.is)} IS ${was(part.was)}`).join(" AND ")
    const typeOf = (table: Table, name: string) => table.columns.find((column) => column.name === name)?.type
    const same = pair.columns.map((column) => {
      const [one, other] = [was(column.before), is(column.after)]
      const type = typeOf(before, column.before)
      // A strict column holds one type. Elsewhere 1, 1.0 and '1' would be equal by affinity.
      const isOneType =
        before.strict && after.strict && type === typeOf(after, column.after) && type !== "ANY"
      // A column's own collation may call different texts equal.
      const equal = `(${one} COLLATE BINARY) IS ${other}`
      return isOneType ? equal : `(typeof(${one}) = typeof(${other}) AND ${equal})`
    })
    const old = `${BEFORE}.${quoted(pair.before)} AS b`
    const now = `main.${quoted(pair.after)} AS a`
    const [rows = 0, equal = 0] = yield* numbers(
      `SELECT count(*), total(${[...key.map((part) => `${is(part.is)} IS NOT NULL`), ...same].join(" AND ")})
       FROM ${old} LEFT JOIN ${now} ON ${match}`,
    )
    const [rowsNow = 0] = yield* numbers(`SELECT count(*) FROM ${now}`)
    const [rowsWere = 0] = yield* numbers(`SELECT count(*) FROM ${old}`)
    if (rows === rowsWere && equal === rowsWere && rowsNow === rowsWere)
      return { found: [], absent: declaredOf(pair) }

    const keys = (name: (part: { was: string; is: string }) => string) =>
      key.map((part) => shown(name(part))).join(", ")
    const named = (columns: ReadonlyArray<Column>, of: (name: string) => string) =>
      columns.some(({ name }) => name === "name") ? shown(of("name")) : "NULL"
    const sample = (text: string, hasValues: boolean) =>
      Effect.map(
        limit === 0 ? Effect.succeed([]) : select(`${text} ORDER BY 1 LIMIT ${limit}`),
        (lines): ReadonlyArray<RowDifference> =>
          lines.map((line) => {
            const values = line as ReadonlyArray<string | null>
            const [name = null, old_ = null, new_ = null] = values.slice(key.length)
            return {
              key: Object.fromEntries(key.map((part, index) => [part.was, values[index] ?? null])),
              name,
              ...(hasValues ? { before: old_, after: new_ } : {}),
            }
          }),
      )
    const found: Array<Found> = []
    const lost = `FROM ${old} WHERE NOT EXISTS (SELECT 1 FROM ${now} WHERE ${match})`
    const extra = `FROM ${now} WHERE NOT EXISTS (SELECT 1 FROM ${old} WHERE ${match})`
    const [removed = 0] = yield* numbers(`SELECT count(*) ${lost}`)
    // Counted, not sought: where a key is there twice, the second one is a row more too.
    const added = rowsNow - (rowsWere - removed)
    const { after: table } = pair
    if (removed > 0)
      found.push({
        declared: pair.removed,
        difference: lostRows(
          table,
          removed,
          yield* sample(
            `SELECT ${keys((part) => was(part.was))}, ${named(before.columns, was)} ${lost}`,
            false,
          ),
        ),
      })
    if (added > 0)
      found.push({
        declared: pair.added,
        difference: moreRows(
          table,
          added,
          yield* sample(`SELECT ${keys((part) => is(part.is))}, ${named(after.columns, is)} ${extra}`, false),
        ),
      })
    const joined = `FROM ${old} JOIN ${now} ON ${match}`
    const counts =
      same.length === 0
        ? []
        : yield* numbers(`SELECT ${same.map((each) => `total(NOT ${each})`).join(", ")} ${joined}`)
    for (const [index, column] of pair.columns.entries()) {
      const changed = counts[index] ?? 0
      if (changed === 0) continue
      found.push({
        declared: column.declared,
        difference: {
          change: { _tag: "ValuesChanged", table, column: column.after },
          rows: changed,
          sample: yield* sample(
            `SELECT ${keys((part) => was(part.was))}, ${named(before.columns, was)}, ${shown(was(column.before))}, ${shown(is(column.after))} ${joined} WHERE NOT ${same[index]}`,
            true,
          ),
        },
      })
    }
    return outcome(pair, found)
  })

/** What was declared of a table's rows. */
const declaredOf = ({ added, removed, columns }: TablePair): ReadonlyArray<Change> =>
  [added, removed, ...columns.map(({ declared }) => declared)].filter((change) => change !== null)

/** Rows of the open database under a condition, the first of them by their key and their name. */
const rowsWhere = (name: string, table: Table, condition: string, limit: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const [row] = yield* sql.unsafe(`SELECT count(*) FROM main.${quoted(name)} WHERE ${condition}`).values
    const key = soundKeyOf(table).map((column) => column.name)
    if (limit === 0 || key.length === 0) return { rows: Number(row?.[0] ?? 0), sample: [] }
    const isNamed = table.columns.some((column) => column.name === "name")
    const lines = yield* sql.unsafe(
      `SELECT ${[...key, ...(isNamed ? ["name"] : [])].map((each) => shown(quoted(each))).join(", ")}
       FROM main.${quoted(name)} WHERE ${condition} ORDER BY 1 LIMIT ${limit}`,
    ).values
    const sample = lines.map((line): RowDifference => {
      const values = line as ReadonlyArray<string | null>
      return {
        key: Object.fromEntries(key.map((part, index) => [part, values[index] ?? null])),
        name: values[key.length] ?? null,
      }
    })
    return { rows: Number(row?.[0] ?? 0), sample }
  })

/** A table or a column that nobody declared, with what is in it. */
const withRows = (difference: Difference, after: Tables, limit: number) =>
  Effect.gen(function* () {
    const { change } = difference
    if (change._tag !== "TableAdded" && change._tag !== "ColumnAdded") return difference
    const table = after.get(change.table)
    if (table === undefined) return difference
    const made = change._tag === "TableAdded" ? undefined : change.column
    const otherwise = table.columns.find((column) => column.name === made)?.dflt_value ?? "NULL"
    const condition = made === undefined ? "1" : `(${quoted(made)} COLLATE BINARY) IS NOT (${otherwise})`
    return { ...difference, ...(yield* rowsWhere(change.table, table, condition, limit)) }
  })

/** Compares the attached database with the one of this connection, as its transaction sees both. */
export const compareAttached = (declared: ReadonlyArray<Change>, limit: number) =>
  Effect.gen(function* () {
    const [before, after] = [yield* tablesOf(BEFORE), yield* tablesOf("main")]
    const shape = (tables: Tables) =>
      new Map([...tables].map(([name, { columns }]) => [name, columns.map((column) => column.name)]))
    const { differences: bare, absent, pairs } = compareShapes(shape(before), shape(after), declared)
    const differences = yield* Effect.forEach(bare, (difference) => withRows(difference, after, limit))
    for (const pair of pairs) {
      const [was, is] = [before.get(pair.before), after.get(pair.after)]
      if (was === undefined || is === undefined) continue
      const rows = yield* compareRows(pair, was, is, limit)
      differences.push(...rows.found)
      absent.push(...rows.absent)
    }
    for (const around of [
      yield* compareObjects(BEFORE, declared),
      yield* compareDefinitions(BEFORE, pairs, declared),
      yield* compareSequences(BEFORE, pairs, declared),
    ]) {
      differences.push(...around.differences)
      absent.push(...around.absent)
    }
    return { differences, absent }
  })

/** Attaches the earlier database, for `compareAttached`. Not in a transaction. */
export const attachBefore = (before: string): Effect.Effect<void, DatabaseFailed, SqlClient | DurableFile> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const files = yield* DurableFile
    const unopenable = (reason: string) =>
      new DatabaseFailed({ operation: "compare it", path: before, reason })
    // To attach what is not there would make it.
    const isThere = yield* files
      .exists(before)
      .pipe(Effect.mapError((error) => unopenable(error.message.replace(/\.$/, ""))))
    if (!isThere) return yield* unopenable("it does not exist")
    yield* sql
      .unsafe(`ATTACH DATABASE ? AS ${BEFORE}`, [before])
      .pipe(databaseFailed("compare with it", before))
  })

/** Detaches the earlier database. */
export const detachBefore = (path: string): Effect.Effect<void, DatabaseFailed, SqlClient> =>
  Effect.flatMap(SqlClient, (sql) => sql.unsafe(`DETACH DATABASE ${BEFORE}`)).pipe(
    databaseFailed("end the comparison", path),
    Effect.asVoid,
  )

/**
 * Compares the database at `before` with the open one at `after`: what differs beyond what is declared, and what
 * is declared but not there. Each is read at one moment. `mapped`: bytes that may be read through a memory map.
 */
export const compareWith = (options: {
  readonly before: string
  readonly after: string
  readonly changes: ReadonlyArray<Change>
  /** How many rows of a difference are named at most. */
  readonly limit: number
  readonly mapped: number
}): Effect.Effect<Comparison, DatabaseFailed, SqlClient | DurableFile> =>
  Effect.gen(function* () {
    const { before, after, changes, limit, mapped } = options
    const sql = yield* SqlClient
    yield* attachBefore(before)
    return yield* Effect.gen(function* () {
      for (const schema of ["main", BEFORE]) yield* sql.unsafe(`PRAGMA ${schema}.mmap_size = ${mapped}`)
      return yield* sql.withTransaction(compareAttached(changes, limit))
    }).pipe(databaseFailed(`compare it with ${before}`, after))
  })
