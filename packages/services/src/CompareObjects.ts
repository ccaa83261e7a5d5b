/** Compares what two databases have around their tables: indexes, triggers, views and the numbers that mark the file. */
import { SqlClient } from "@effect/sql/SqlClient"
import { type Change, type Difference, ObjectKind } from "@waiaas/domain/SchemaChange"
import * as Effect from "effect/Effect"
import { sameNamesOf } from "./CompareDefinitions.ts"
import { definitionOf } from "./TableDefinitions.ts"

interface Found {
  readonly type: typeof ObjectKind.Type
  readonly name: string
  readonly of: string
  readonly sql: string
}

/** Those that were declared by name; SQLite's own, which belong to a table, have no SQL. */
const objectsOf = (database: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    sql.unsafe<Found>(
      `SELECT type, name, tbl_name AS "of", sql FROM ${database}.sqlite_schema
       WHERE type IN (${ObjectKind.literals.map((kind) => `'${kind}'`).join(", ")}) AND sql IS NOT NULL ORDER BY type, name`,
    ),
  )

const settings = ["user_version", "application_id"] as const
const settingOf = (database: string, setting: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(sql.unsafe(`PRAGMA ${database}.${setting}`).values, ([row]) => row?.[0]),
  )

const isOfObject = (
  change: Change,
): change is Extract<Change, { _tag: "ObjectDropped" | "ObjectChanged" | "SettingChanged" }> =>
  change._tag === "ObjectDropped" || change._tag === "ObjectChanged" || change._tag === "SettingChanged"

/**
 * What of `before` is gone or different in `main` beyond what is declared, and what is declared but did not happen. What
 * is new is no loss. SQLite itself drops what belongs to a table that is dropped, and writes a new name into all that uses it.
 */
export const compareObjects = (before: string, declared: ReadonlyArray<Change>) =>
  Effect.gen(function* () {
    const now = yield* objectsOf("main")
    const names = sameNamesOf(declared)
    const happened: Array<Change> = []
    const wasThere: Array<{ readonly kind: Found["type"]; readonly name: string }> = []
    for (const was of yield* objectsOf(before)) {
      const object = { kind: was.type, name: was.name }
      wasThere.push(object)
      const is = now.find(({ type, name }) => type === was.type && name === was.name)
      if (is === undefined) {
        if (!declared.some((change) => change._tag === "TableDropped" && change.table === was.of))
          happened.push({ _tag: "ObjectDropped", ...object })
      } else if (definitionOf(is.sql, names) !== definitionOf(was.sql, names)) {
        // One that is dropped may be made anew by a later migration of the same run.
        const isDropped = isIn(declared, { _tag: "ObjectDropped", ...object })
        happened.push({ _tag: isDropped ? "ObjectDropped" : "ObjectChanged", ...object })
      }
    }
    for (const setting of settings)
      if ((yield* settingOf(before, setting)) !== (yield* settingOf("main", setting)))
        happened.push({ _tag: "SettingChanged", setting })
    return {
      differences: happened
        .filter((change) => !isIn(declared, change))
        .map((change): Difference => ({ change, rows: 0, sample: [] })),
      absent: declared.filter(
        (change) =>
          isOfObject(change) &&
          !isIn(happened, change) &&
          // One that an earlier migration of the same run made was not there before all of them.
          (change._tag === "SettingChanged" ||
            wasThere.some((each) => isOne({ ...change, ...each }, change))) &&
          // Changed first, dropped later.
          !(change._tag === "ObjectChanged" && isIn(happened, { ...change, _tag: "ObjectDropped" })),
      ),
    }
  })

const isIn = (changes: ReadonlyArray<Change>, change: Change) => changes.some((each) => isOne(each, change))

const isOne = (one: Change, other: Change): boolean => {
  if (one._tag === "SettingChanged") return other._tag === one._tag && other.setting === one.setting
  if (one._tag !== "ObjectDropped" && one._tag !== "ObjectChanged") return false
  return other._tag === one._tag && other.kind === one.kind && other.name === one.name
}
