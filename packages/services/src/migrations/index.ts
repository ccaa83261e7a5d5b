import { createHash } from "node:crypto"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
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

/** The table that records what was applied; older than every migration. */
export const createSchemaVersion = `CREATE TABLE IF NOT EXISTS schema_version (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at INTEGER NOT NULL,
  checksum TEXT NOT NULL
) STRICT`
