import { createHash } from "node:crypto"
import { SqlClient } from "@effect/sql/SqlClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { migrate } from "../Migrator.ts"
import { type Migration, migrations } from "../migrations/index.ts"
import { layerEnvironment } from "./TestEnvironment.ts"

/** The boundary to the database: SQLite in memory, at `schema`; by default at the newest one. */
export const layerDatabaseAt = (schema: number = migrations.length) =>
  Layer.effectDiscard(
    schema === 0
      ? Effect.void
      : migrate(":memory:", migrations.slice(0, schema)).pipe(Effect.provide(layerEnvironment())),
  ).pipe(Layer.provideMerge(SqliteClient.layer({ filename: ":memory:", disableWAL: true })))

/** The migrations up to `schema`, the last of which does something more, undeclared. */
export const migrationsTo = (schema: number, more: ReadonlyArray<string> = []): ReadonlyArray<Migration> =>
  migrations
    .slice(0, schema)
    .map((each) => (each.id === schema ? { ...each, statements: [...each.statements, ...more] } : each))

/** The id of a test's agent. */
export const agentIdOf = (name: string): string =>
  `00000000-0000-4000-8000-${createHash("sha256").update(name).digest("hex").slice(0, 12)}`

/** A row of an agent, in the columns that every schema since the second has. */
export const insertAgent = (name: string) =>
  Effect.flatMap(
    SqlClient,
    (sql) => sql`INSERT INTO agents (id, name, chain, network, public_key, status, created_at, updated_at)
      VALUES (${agentIdOf(name)}, ${name}, 'solana', 'mainnet', ${`key-${name}`}, 'active', 1, 1)`,
  )
