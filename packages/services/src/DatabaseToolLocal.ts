import { createHash } from "node:crypto"
import { SqlClient } from "@effect/sql/SqlClient"
import { DatabaseFailed, type FileFailed } from "@waiaas/domain/DataErrors"
import { type Description, type Tables, type ToolError, valueTables } from "@waiaas/domain/ToolProtocol"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { databaseFailed, layerDatabase } from "./Database.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { migrate, readSchema } from "./Migrator.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import type { Environment } from "./platform/Environment.ts"
import { readWrittenBy } from "./WrittenBy.ts"

/**
 * `DatabaseTool` in this process, with this code: what the child side, the daemon's start and tests use.
 * `mapped`: how many bytes of a database an examination may read through a memory map, which halves its
 * time. An error of the disk then ends the process, so only a child may.
 */
export const layerDatabaseToolLocal = (
  describe: (dataDir: string, config?: string) => Effect.Effect<typeof Description.Type, ToolError>,
  { mapped = 0 } = {},
) =>
  Layer.effect(
    DatabaseTool,
    Effect.gen(function* () {
      const context = yield* Effect.context<DurableFile | Environment>()
      const within =
        (path: string) =>
        <A, E>(
          effect: Effect.Effect<A, E, SqlClient | DurableFile | Environment>,
        ): Effect.Effect<A, E | DatabaseFailed> =>
          effect.pipe(
            Effect.provide(layerDatabase({ path, create: false })),
            Effect.scoped,
            Effect.provide(context),
          )
      return DatabaseTool.of({
        isApart: false,
        describe: (_packageDir, dataDir, config) => describe(dataDir, config),
        examine: (_packageDir, database, check, tables) =>
          within(database)(examineHere(database, check, tables, mapped)),
        verify: (_packageDir, database, dataDir) =>
          // The master key is derived off the main thread, while SQLite reads.
          Effect.zipWith(
            describe(dataDir),
            within(database)(examineHere(database, "quick", valueTables, mapped)),
            ({ keys }, found) => ({ ...found, keys }),
            { concurrent: true },
          ),
        checkpoint: (_packageDir, database) => within(database)(checkpointHere(database)),
        copyLive: (_packageDir, from, to) =>
          within(from)(
            Effect.gen(function* () {
              const sql = yield* SqlClient
              yield* sql`VACUUM INTO ${to}`.pipe(databaseFailed("copy it", from))
              const files = yield* DurableFile
              yield* files.chmod(to, 0o600).pipe(Effect.mapError(asDatabaseFailed(from)))
            }),
          ),
        migrate: (_packageDir, database) =>
          within(database)(Effect.zipLeft(migrate(database), checkpointHere(database))),
      })
    }),
  )

const asDatabaseFailed = (path: string) => (error: FileFailed) =>
  new DatabaseFailed({ operation: error.operation, path, reason: error.message })

const checkpointHere = (path: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const rows = yield* sql<{ busy: number }>`PRAGMA wal_checkpoint(TRUNCATE)`.pipe(
      databaseFailed("checkpoint it", path),
    )
    if (rows[0]?.busy !== 0)
      return yield* new DatabaseFailed({
        operation: "checkpoint it",
        path,
        reason: "another process reads or writes it",
      })
  })

const examineHere = (
  path: string,
  check: "none" | "quick" | "full",
  tables: typeof Tables.Type,
  mapped: number,
) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    yield* sql.unsafe(`PRAGMA mmap_size = ${mapped}`).pipe(databaseFailed("open it", path))
    if (check !== "none") {
      const pragma = check === "quick" ? "quick_check" : "integrity_check"
      const rows = yield* sql
        .unsafe<Record<string, unknown>>(`PRAGMA ${pragma}(1)`)
        .pipe(databaseFailed("check it", path))
      const [first] = rows.flatMap((row) => Object.values(row))
      if (first !== "ok")
        return yield* new DatabaseFailed({ operation: "check it", path, reason: String(first) })
    }
    const schema = yield* readSchema(path)
    const digests: Record<string, { rows: number; digest: string }> = {}
    for (const [table, columns] of Object.entries(tables)) {
      const digest = yield* digestTable(path, table, columns)
      if (Option.isSome(digest)) digests[table] = digest.value
    }
    const writtenBy = Option.getOrUndefined(yield* readWrittenBy(path, schema))
    return { schema, tables: digests, ...(writtenBy === undefined ? {} : { writtenBy }) }
  })

/** Row count and digest of a table's columns in key order; none where it does not exist yet. */
const digestTable = (path: string, table: string, columns: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const present = yield* sql<{ name: string }>`SELECT name FROM pragma_table_info(${table})`
    if (present.length === 0) return Option.none()
    const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
    const key = columns[0] ?? "rowid"
    const row = columns.map((name) => `quote(${quoted(name)})`).join(" || ',' || ")
    const hash = createHash("sha256")
    let rows = 0
    let after: unknown = null
    while (true) {
      // Batches by key keep memory flat whatever the table's size. SQLite joins a batch in the order that it reads it:
      // that takes a fifth less than to make a string of each row here. Another order would be told as a difference.
      const [batch]: ReadonlyArray<ReadonlyArray<unknown>> = yield* sql.unsafe(
        `SELECT count(*), max(key), group_concat(row, char(10)) FROM (SELECT ${quoted(key)} AS key, ${row} AS row FROM ${quoted(table)} ${after === null ? "" : `WHERE ${quoted(key)} > ?`} ORDER BY ${quoted(key)} LIMIT 5000)`,
        after === null ? [] : [after],
      ).values
      const [count, last, text] = batch ?? []
      if (Number(count) === 0) break
      hash.update(`${text}\n`)
      rows += Number(count)
      after = last
    }
    return Option.some({ rows, digest: hash.digest("hex") })
  }).pipe(databaseFailed(`read its table ${table}`, path))
