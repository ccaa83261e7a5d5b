/** What was written since a backup beside the agents that its comparison names: values of columns, rows and tables that go back with it. */
import { type Difference, namesOfRows } from "./SchemaChange.ts"

/** Written by the daemon itself: its migrations and its check for updates. It writes them again. */
const OF_DAEMON = new Set(["schema_version", "key_value_store"])

/** Those of the differences that a return to the earlier database undoes, but for what `AgentChanges` says of agents. */
export const otherWritesIn = (differences: ReadonlyArray<Difference>): ReadonlyArray<Difference> =>
  differences.filter(({ change, rows }) => {
    if (!("table" in change) || OF_DAEMON.has(change.table) || rows === 0) return false
    switch (change._tag) {
      case "TableAdded":
      case "ColumnAdded":
        return true
      case "RowsAdded":
      case "RowsRemoved":
      case "ValuesChanged":
        return change.table !== "agents"
      default:
        return false
    }
  })

/** What a rollback undoes of them, in sentences. */
export const otherWritesInWords = (writes: ReadonlyArray<Difference>): ReadonlyArray<string> =>
  writes.flatMap((write) => {
    const { change, rows } = write
    if (!("table" in change)) return []
    const place =
      "column" in change && change.column !== null ? `${change.table}.${change.column}` : change.table
    const counted = `${rows} ${rows === 1 ? "row" : "rows"}${namesOfRows(write)}`
    switch (change._tag) {
      case "TableAdded":
        return [`table ${place} was made and has ${counted}. That backup has no such table.`]
      case "ColumnAdded":
        return [`column ${place} was made and has a value in ${counted}. That backup has no such column.`]
      case "RowsAdded":
        return [
          `${counted} ${rows === 1 ? "was" : "were"} added to ${place}. That backup does not have ${rows === 1 ? "it" : "them"}.`,
        ]
      case "RowsRemoved":
        return [
          `${counted} ${rows === 1 ? "was" : "were"} removed from ${place}. ${rows === 1 ? "It comes" : "They come"} back.`,
        ]
      case "ValuesChanged":
        return [
          `${place} was changed in ${counted}. ${rows === 1 ? "It gets its" : "They get their"} earlier value back.`,
        ]
      default:
        return []
    }
  })
