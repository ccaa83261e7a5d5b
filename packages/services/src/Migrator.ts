import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { FAULT, LATEST_SCHEMA } from "@waiaas/domain/Build"
import {
  type DatabaseFailed,
  DatabaseTooNew,
  DatabaseTooOld,
  MigrationFailed,
  MigrationHistoryDiffers,
} from "@waiaas/domain/DataErrors"
import type { Change } from "@waiaas/domain/SchemaChange"
import { judge, rangeFor, type SchemaRange } from "@waiaas/domain/SchemaRange"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { compareAttached } from "./CompareDatabases.ts"
import { databaseFailed, reasonOf } from "./Database.ts"
import { beyondDeclared } from "./Invariants.ts"
import { changesOf, checksumOf, createSchemaVersion, type Migration, migrations } from "./migrations/index.ts"
import { type Environment, unixSeconds } from "./platform/Environment.ts"

/** How many rows of a difference are named. */
const NAMED = 5

const AppliedRow = Schema.Struct({ version: Schema.Int, name: Schema.String, checksum: Schema.String })
const decodeRows = Schema.decodeUnknown(Schema.Array(AppliedRow))

/** Highest recorded migration; 0 for a database without any. */
export const readSchema = (path: string): Effect.Effect<number, DatabaseFailed, SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const tables = yield* sql`SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'`
    if (tables.length === 0) return 0
    const rows = yield* sql<{ version: number | null }>`SELECT max(version) AS version FROM schema_version`
    return rows[0]?.version ?? 0
  }).pipe(databaseFailed("read its schema version", path))

/**
 * Refuses what this code must not open: a schema out of range (scenarios 14 and 15), a changed or
 * missing migration (MIG-05). Gives the schema that it found.
 */
export const checkCompatible = (
  path: string,
  range: SchemaRange = rangeFor(LATEST_SCHEMA),
  known: ReadonlyArray<Migration> = migrations,
): Effect.Effect<
  number,
  DatabaseFailed | DatabaseTooNew | DatabaseTooOld | MigrationHistoryDiffers,
  SqlClient
> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const schema = yield* readSchema(path)
    const verdict = judge(range, schema)
    if (verdict._tag === "DatabaseTooNew")
      return yield* new DatabaseTooNew({ schema, supported: range.latest })
    if (verdict._tag === "DatabaseTooOld")
      return yield* new DatabaseTooOld({ schema, minimum: range.minimum, goThrough: verdict.goThrough })
    if (verdict._tag === "Fresh") return 0
    const differs = (problem: string) => new MigrationHistoryDiffers({ path, problem })
    const rows = yield* sql`SELECT version, name, checksum FROM schema_version ORDER BY version`.pipe(
      databaseFailed("read its migrations", path),
    )
    const applied = yield* decodeRows(rows).pipe(
      Effect.mapError(() => differs("a row of schema_version is not readable")),
    )
    for (const migration of known.filter(({ id }) => id <= schema)) {
      const row = applied.find(({ version }) => version === migration.id)
      if (!row) return yield* differs(`migration ${migration.id} (${migration.name}) was skipped`)
      if (row.checksum !== checksumOf(migration))
        return yield* differs(`migration ${migration.id} (${migration.name}) is not the released one`)
    }
    return schema
  })

/**
 * Brings a database to the newest schema: all pending migrations and their rows in one transaction,
 * or none of them (MIG-03). The caller has made sure of a backup (MIG-04). Gives what they declare that they change.
 * `isCompared`: a database with the same data is attached (`attachBefore`); what differs from it beyond that undoes all of it.
 */
export const migrate = (
  path: string,
  known: ReadonlyArray<Migration> = migrations,
  isCompared = false,
): Effect.Effect<
  { readonly from: number; readonly to: number; readonly changes: ReadonlyArray<Change> },
  DatabaseFailed | DatabaseTooNew | DatabaseTooOld | MigrationHistoryDiffers | MigrationFailed,
  SqlClient | Environment
> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const target = known.at(-1)?.id ?? 0
    const from = yield* checkCompatible(path, rangeFor(target), known)
    if (from === target) return { from, to: target, changes: [] }
    const pending = known.filter(({ id }) => id > from)
    const at = yield* unixSeconds
    const changes = changesOf(pending, from)
    const broken = (reason: string) => new MigrationFailed({ path, from, to: target, reason })
    const failed = (error: SqlError | MigrationFailed) =>
      error._tag === "MigrationFailed" ? error : broken(reasonOf(error))
    yield* Effect.gen(function* () {
      // A write comes first: a transaction that begins by reading ignores the busy time-out.
      yield* sql.unsafe(createSchemaVersion)
      for (const migration of pending) {
        for (const statement of migration.statements) yield* sql.unsafe(statement)
        yield* sql`INSERT INTO schema_version (version, name, applied_at, checksum)
          VALUES (${migration.id}, ${migration.name}, ${at}, ${checksumOf(migration)})`
      }
      const isLive = !path.includes("rehearsal")
      // What no migration declares: whoever was suspended signs again, and nobody owns it.
      if (FAULT === "activate" || (FAULT === "activate-live" && isLive))
        yield* sql`UPDATE agents SET status = 'active', owner_address = NULL`
      if (FAULT === "migrate" || (FAULT === "migrate-live" && isLive))
        yield* sql.unsafe("INSERT INTO fault_planted_in_this_release VALUES (1)")
      if (!isCompared) return
      const { more, less } = beyondDeclared(yield* compareAttached(changes, NAMED))
      if (more !== "") return yield* broken(`it changes more than it declares: ${more}`)
      if (less !== "") return yield* broken(`it does not do what it declares: ${less}`)
    }).pipe(sql.withTransaction, Effect.mapError(failed))
    // What counts is what the database says now, not that nothing complained.
    const to = yield* readSchema(path)
    if (to !== target)
      return yield* new MigrationFailed({
        path,
        from,
        to: target,
        reason: `the database is at schema ${to} afterwards`,
      })
    return { from, to, changes }
  })
