/**
 * What a migration declares that it does to the data that is there before it, as data: everything else that
 * differs afterwards is refused. Tables are found in the database itself, so nothing is forgotten in a list.
 */
import * as Schema from "effect/Schema"

const table = Schema.String
const column = Schema.String

/** What a database has beside its tables. */
export const ObjectKind = Schema.Literal("index", "trigger", "view")
const object = { kind: ObjectKind, name: Schema.String }

/** One declared change. Names are those that hold at its place in the list; a later change may rename them again. */
export const Change = Schema.Union(
  Schema.TaggedStruct("TableAdded", { table }),
  Schema.TaggedStruct("TableDropped", { table }),
  Schema.TaggedStruct("TableRenamed", { table, to: table }),
  Schema.TaggedStruct("ColumnAdded", { table, column }),
  Schema.TaggedStruct("ColumnDropped", { table, column }),
  Schema.TaggedStruct("ColumnRenamed", { table, column, to: column }),
  /** Values in a column of rows that were there before. */
  Schema.TaggedStruct("ValuesChanged", { table, column }),
  Schema.TaggedStruct("RowsAdded", { table }),
  Schema.TaggedStruct("RowsRemoved", { table }),
  /** An index, a trigger or a view; those of a table that is dropped go with it. */
  Schema.TaggedStruct("ObjectDropped", object),
  Schema.TaggedStruct("ObjectChanged", object),
  /**
   * What the definition says of a column that is there before and after (type, constraints, default, collation), or,
   * without a column, of the table: constraints, STRICT, WITHOUT ROWID.
   */
  Schema.TaggedStruct("DefinitionChanged", { table, column: Schema.NullOr(column) }),
  Schema.TaggedStruct("SettingChanged", { setting: Schema.Literal("user_version", "application_id") }),
)
export type Change = typeof Change.Type

/** A kind of change that this code does not know: what declares it cannot be verified here. */
export const UnknownChange = Schema.Struct({ _tag: Schema.String })
export const isKnown = Schema.is(Change)

/** A row, by its key. Texts are as they are, other values as SQLite's literals, NULL as null. */
export const RowDifference = Schema.Struct({
  key: Schema.Record({ key: Schema.String, value: Schema.NullOr(Schema.String) }),
  /** What its column `name` holds, where there is one. */
  name: Schema.NullOr(Schema.String),
  /** Of a changed value. */
  before: Schema.optional(Schema.NullOr(Schema.String)),
  after: Schema.optional(Schema.NullOr(Schema.String)),
})
export type RowDifference = typeof RowDifference.Type

/** A change that was found and that nobody declared. */
export const Difference = Schema.Struct({
  change: Change,
  /**
   * How many rows it concerns: of a new table all of its rows, of a new column those with another value than its
   * default; 0 where it is something else than rows.
   */
  rows: Schema.Int,
  /** The first of these rows. */
  sample: Schema.Array(RowDifference),
})
export type Difference = typeof Difference.Type

export const Comparison = Schema.Struct({
  /** What differs though nothing declares it. */
  differences: Schema.Array(Difference),
  /** What was declared and did not happen. */
  absent: Schema.Array(Change),
})
export type Comparison = typeof Comparison.Type

/** Whether such a change needs rows: without any, it cannot happen, and that is no mistake. */
export const needsRows = ({ _tag }: Change): boolean =>
  _tag === "ValuesChanged" || _tag === "RowsAdded" || _tag === "RowsRemoved"

/** A declared change that did not happen, in words, for an operator. */
export const absentInWords = (change: Change): string => {
  switch (change._tag) {
    case "TableAdded":
    case "TableDropped":
    case "TableRenamed":
      return `${change._tag} ${change.table}`
    case "ObjectDropped":
    case "ObjectChanged":
      return `${change._tag} ${change.name}`
    case "SettingChanged":
      return `${change._tag} ${change.setting}`
    case "RowsAdded":
    case "RowsRemoved":
      return `${change._tag} ${change.table}`
    default:
      return `${change._tag} ${change.table}${change.column === null ? "" : `.${change.column}`}`
  }
}

/** Columns of each table of a database, in their order. */
export type Shape = ReadonlyMap<string, ReadonlyArray<string>>

export interface ColumnPair {
  readonly before: string
  readonly after: string
  readonly declared: Change | null
}

/** A table that is there before and after, with the columns that it has in both. */
export interface TablePair {
  readonly before: string
  readonly after: string
  readonly columns: ReadonlyArray<ColumnPair>
  readonly added: Change | null
  readonly removed: Change | null
}

interface Column {
  name: string
  /** Its name before; null where it is new. */
  readonly origin: string | null
  adds: Change | null
  values: Change | null
}
interface Table {
  name: string
  readonly origin: string | null
  readonly adds: Change | null
  columns: Array<Column>
  added: Change | null
  removed: Change | null
}

/** Carries the declared changes out on the shape before. What cannot be carried out is absent. */
const expect = (before: Shape, declared: ReadonlyArray<Change>) => {
  let tables = [...before].map(
    ([name, columns]): Table => ({
      name,
      origin: name,
      adds: null,
      columns: columns.map((each) => ({ name: each, origin: each, adds: null, values: null })),
      added: null,
      removed: null,
    }),
  )
  const dropped: Array<{ readonly table: Table; readonly by: Change }> = []
  const droppedColumns: Array<{ readonly table: Table; readonly column: Column; readonly by: Change }> = []
  const absent: Array<Change> = []
  for (const change of declared) {
    // A definition, and the table of SQLite's own, are compared where they are read.
    if (!("table" in change) || change._tag === "DefinitionChanged" || change.table.startsWith("sqlite_"))
      continue
    const found = tables.find(({ name }) => name === change.table)
    if (change._tag === "TableAdded") {
      if (found) absent.push(change)
      else
        tables.push({
          name: change.table,
          origin: null,
          adds: change,
          columns: [],
          added: null,
          removed: null,
        })
      continue
    }
    if (!found) {
      absent.push(change)
      continue
    }
    // A table that is new as a whole may hold anything.
    if (found.origin === null && change._tag !== "TableDropped" && change._tag !== "TableRenamed") continue
    const at = "column" in change ? found.columns.find(({ name }) => name === change.column) : undefined
    switch (change._tag) {
      case "TableDropped":
        tables = tables.filter((each) => each !== found)
        dropped.push({ table: found, by: change })
        break
      case "TableRenamed":
        found.name = change.to
        break
      case "ColumnAdded":
        if (at) absent.push(change)
        else found.columns.push({ name: change.column, origin: null, adds: change, values: null })
        break
      case "ColumnDropped":
        if (!at) absent.push(change)
        else {
          found.columns = found.columns.filter((each) => each !== at)
          droppedColumns.push({ table: found, column: at, by: change })
        }
        break
      case "ColumnRenamed":
        if (at) at.name = change.to
        else absent.push(change)
        break
      case "ValuesChanged":
        if (at) at.values = change
        else absent.push(change)
        break
      case "RowsAdded":
        found.added = change
        break
      case "RowsRemoved":
        found.removed = change
        break
    }
  }
  return { tables, dropped, droppedColumns, absent }
}

const bare = (change: Change): Difference => ({ change, rows: 0, sample: [] })

/** Compares two shapes: what differs undeclared, what did not happen, and what has to be compared row by row. */
export const compareShapes = (before: Shape, after: Shape, declared: ReadonlyArray<Change>) => {
  const expected = expect(before, declared)
  const differences: Array<Difference> = []
  const absent = [...expected.absent]
  const pairs: Array<TablePair> = []
  const known = new Set<string>()

  const compareTable = (table: Table, origin: string, columns: ReadonlyArray<string>) => {
    const both: Array<ColumnPair> = []
    const isThere = new Set<string>()
    for (const each of table.columns) {
      if (!columns.includes(each.name)) {
        if (each.adds !== null) absent.push(each.adds)
        if (each.origin !== null)
          differences.push(bare({ _tag: "ColumnDropped", table: table.name, column: each.name }))
        continue
      }
      isThere.add(each.name)
      if (each.origin !== null) both.push({ before: each.origin, after: each.name, declared: each.values })
    }
    for (const { table: of, column: each, by } of expected.droppedColumns)
      if (of === table && each.origin !== null && columns.includes(each.name) && !isThere.has(each.name)) {
        absent.push(by)
        isThere.add(each.name)
        both.push({ before: each.origin, after: each.name, declared: null })
      }
    for (const name of columns)
      if (!isThere.has(name)) differences.push(bare({ _tag: "ColumnAdded", table: table.name, column: name }))
    pairs.push({
      before: origin,
      after: table.name,
      columns: both,
      added: table.added,
      removed: table.removed,
    })
  }

  for (const each of expected.tables) {
    const columns = after.get(each.name)
    known.add(each.name)
    if (columns === undefined) {
      if (each.adds !== null) absent.push(each.adds)
      if (each.origin !== null) differences.push(bare({ _tag: "TableDropped", table: each.origin }))
    } else if (each.origin !== null) compareTable(each, each.origin, columns)
  }
  for (const { table: each, by } of expected.dropped) {
    const columns = after.get(each.name)
    if (columns === undefined || known.has(each.name) || each.origin === null) continue
    absent.push(by)
    known.add(each.name)
    compareTable(each, each.origin, columns)
  }
  for (const name of after.keys())
    if (!known.has(name)) differences.push(bare({ _tag: "TableAdded", table: name }))
  return { differences, absent, pairs }
}

/** The first rows by name, in brackets; nothing where there are none. */
export const namesOfRows = ({ rows, sample }: Difference): string => {
  const names = sample.map(({ name, key }) => name ?? Object.values(key).join(" "))
  const more = rows > names.length ? `, and ${rows - names.length} more` : ""
  return names.length === 0 ? "" : ` (${names.join(", ")}${more})`
}

const rowsOf = (difference: Difference): string =>
  `${difference.rows} ${difference.rows === 1 ? "row" : "rows"}${namesOfRows(difference)}`

/** A difference in words, for an operator. */
export const differenceInWords = (difference: Difference): string => {
  const { change } = difference
  switch (change._tag) {
    case "TableAdded":
      return `table ${change.table} is new`
    case "TableDropped":
      return `table ${change.table} is gone`
    case "TableRenamed":
      return `table ${change.table} is now ${change.to}`
    case "ColumnAdded":
      return `column ${change.table}.${change.column} is new`
    case "ColumnDropped":
      return `column ${change.table}.${change.column} is gone`
    case "ColumnRenamed":
      return `column ${change.table}.${change.column} is now ${change.to}`
    case "ValuesChanged":
      return `${change.table}.${change.column} changed in ${rowsOf(difference)}`
    case "RowsAdded":
      return `${change.table} has ${rowsOf(difference)} more`
    case "RowsRemoved":
      return `${change.table} lost ${rowsOf(difference)}`
    case "ObjectDropped":
      return `${change.kind} ${change.name} is gone`
    case "ObjectChanged":
      return `${change.kind} ${change.name} is another one`
    case "DefinitionChanged":
      return change.column === null
        ? `the definition of table ${change.table} is another one`
        : `the definition of column ${change.table}.${change.column} is another one`
    case "SettingChanged":
      return `${change.setting} is another one`
  }
}
