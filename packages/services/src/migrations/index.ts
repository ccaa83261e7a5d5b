import { createHash } from "node:crypto"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import type { Change } from "@waiaas/domain/SchemaChange"
import { migration0001 } from "./0001_key_value_store.ts"
import { migration0002 } from "./0002_agents.ts"
import { migration0003 } from "./0003_owner_address.ts"
import { migration0004 } from "./0004_agent_events.ts"
import { migration0005 } from "./0005_key_type.ts"

/**
 * One step of the schema, as data: a released one never changes (its checksum is recorded in every
 * database that has it). No foreign-key pragma works in here: all of it runs in one transaction.
 */
export interface Migration {
  readonly id: number
  readonly name: string
  readonly statements: ReadonlyArray<string>
  /** All that it does to tables, columns, their definitions, rows, values, indexes, triggers and views that are there before it: whatever else differs afterwards is refused. */
  readonly changes: ReadonlyArray<Change>
}

const all: ReadonlyArray<Migration> = [
  migration0001,
  migration0002,
  migration0003,
  migration0004,
  migration0005,
]

/** The migrations of this build, ascending, without gaps. */
export const migrations: ReadonlyArray<Migration> = all.filter((migration) => migration.id <= LATEST_SCHEMA)

/** Checksum of a migration's definition (MIG-05). */
export const checksumOf = (migration: Migration): string =>
  createHash("sha256")
    .update(JSON.stringify([migration.id, migration.name, migration.statements]))
    .digest("hex")

/** What a run of migrations declares, its own record included. `from`: the schema before it. */
export const changesOf = (run: ReadonlyArray<Migration>, from: number): ReadonlyArray<Change> =>
  run.length === 0
    ? []
    : [
        from === 0
          ? { _tag: "TableAdded", table: "schema_version" }
          : { _tag: "RowsAdded", table: "schema_version" },
        ...run.flatMap(({ changes }) => changes),
      ]

/** The table that records what was applied; older than every migration. */
export const createSchemaVersion = `CREATE TABLE IF NOT EXISTS schema_version (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at INTEGER NOT NULL,
  checksum TEXT NOT NULL
) STRICT`
