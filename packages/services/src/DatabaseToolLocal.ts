import { SqlClient } from "@effect/sql/SqlClient"
import { NAMED_AGENTS } from "@waiaas/domain/AgentChanges"
import { DatabaseFailed, type FileFailed } from "@waiaas/domain/DataErrors"
import type { Description, KeyReport, Tables, ToolError } from "@waiaas/domain/ToolProtocol"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { compareAgentsHere, findUniqueHere, keepSuspendedHere } from "./CompareAgents.ts"
import { attachBefore, compareWith, detachBefore } from "./CompareDatabases.ts"
import { databaseFailed, layerDatabase } from "./Database.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { digestTable } from "./DigestTable.ts"
import { migrate, readSchema } from "./Migrator.ts"
import { migrations } from "./migrations/index.ts"
import { readersInWords, readersOf } from "./platform/DatabaseReaders.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { agentsWithoutSealedKey, type KeyedAgent, type SealedKeys } from "./SealedKeys.ts"
import { tablesOf } from "./TableShapes.ts"
import { readWrittenBy } from "./WrittenBy.ts"

/** What this code makes of a data directory: only the daemon's part of it knows configuration and keystore. */
export interface DataDirectoryActs {
  readonly describe: (dataDir: string, config?: string) => Effect.Effect<typeof Description.Type, ToolError>
  /** Opens every sealed key, one after another, and forgets them. */
  readonly openKeys: (dataDir: string) => Effect.Effect<SealedKeys, ToolError>
}

/** How many agents without a key are named; the rest is counted. */
const NAMED = 20

/**
 * `DatabaseTool` in this process, with this code: what the child side, the daemon's start and tests use.
 * `mapped`: how many bytes of a database an examination may read through a memory map, which halves its
 * time. An error of the disk then ends the process, so only a child may.
 */
export const layerDatabaseToolLocal = ({ describe, openKeys }: DataDirectoryActs, { mapped = 0 } = {}) =>
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
        examineKeys: (_packageDir, database, check, dataDir, tables = {}) =>
          Effect.gen(function* () {
            // The agents first: a key is sealed before its agent is there, so none that was made meanwhile is missed.
            const agents = yield* within(database)(agentsHere(database))
            // The master key is derived off the main thread, while SQLite reads.
            const [sealed, found] = yield* Effect.all(
              [openKeys(dataDir), within(database)(examineHere(database, check, tables, mapped))],
              { concurrency: 2 },
            )
            const missing = agentsWithoutSealedKey(agents, sealed)
            const ids = new Set(agents.map(({ id }) => id))
            const keys: KeyReport = {
              agents: agents.length,
              open: sealed.open.length,
              missing: missing.length,
              names: missing.slice(0, NAMED).map(({ name }) => name),
              damaged: sealed.damaged.map((id) => ({ id, isOfAgent: ids.has(id) })),
            }
            return { ...found, keys }
          }),
        compare: (_packageDir, { before, after, changes, limit }) =>
          within(after)(compareWith({ before, after, changes, limit, mapped })),
        checkpoint: (_packageDir, database) => within(database)(checkpointHere(database)),
        copyLive: (_packageDir, from, to) =>
          within(from)(
            Effect.gen(function* () {
              const sql = yield* SqlClient
              yield* sql`VACUUM INTO ${to}`.pipe(databaseFailed("copy it", from, to))
              const files = yield* DurableFile
              yield* files.chmod(to, 0o600).pipe(Effect.mapError(asDatabaseFailed(from)))
            }),
          ),
        compareAgents: (_packageDir, before, now, dataDir) =>
          Effect.gen(function* () {
            const { agents, ...changes } = yield* within(now)(compareAgentsHere(now, before))
            if (dataDir === undefined)
              return { ...changes, keyless: { count: 0, agents: [] }, withoutFile: 0 }
            const sealed = yield* openKeys(dataDir)
            const keyless = agentsWithoutSealedKey(agents, sealed)
            const onFile = new Set([...sealed.open.map(({ agent }) => agent), ...sealed.damaged])
            return {
              ...changes,
              keyless: {
                count: keyless.length,
                agents: keyless.slice(0, NAMED_AGENTS).map(({ id, name }) => ({ id, name })),
              },
              withoutFile: keyless.filter(({ id }) => !onFile.has(id)).length,
            }
          }),
        keepSuspended: (_packageDir, database, now) =>
          within(database)(Effect.zipLeft(keepSuspendedHere(database, now), checkpointHere(database))),
        findUnique: (_packageDir, database, others) => within(database)(findUniqueHere(database, others)),
        migrate: (_packageDir, database, before) =>
          within(database)(
            Effect.gen(function* () {
              if (before !== undefined) yield* attachBefore(before)
              const migrated = yield* migrate(database, migrations, before !== undefined)
              if (before !== undefined) yield* detachBefore(database)
              yield* checkpointHere(database)
              return migrated
            }),
          ),
      })
    }),
  )

const asDatabaseFailed = (path: string) => (error: FileFailed) =>
  new DatabaseFailed({ operation: error.operation, path, reason: error.message })

/** Under which the daemon may be down: whoever still reads then is not waited for as long as a writer is. */
const CHECKPOINT_PATIENCE_MS = 2000

const checkpointHere = (path: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const files = yield* DurableFile
    const { pid } = yield* Environment
    yield* sql.unsafe(`PRAGMA busy_timeout = ${CHECKPOINT_PATIENCE_MS}`).pipe(databaseFailed("open it", path))
    const rows = yield* sql<{ busy: number }>`PRAGMA wal_checkpoint(TRUNCATE)`.pipe(
      databaseFailed("checkpoint it", path),
    )
    if (rows[0]?.busy === 0) return
    const readers = yield* readersOf(files, path, [pid])
    return yield* new DatabaseFailed({
      operation: "checkpoint it",
      path,
      reason: `${readersInWords(readers) || "another process"} has a transaction open in it`,
      remedy: "End that program, then run the command again.",
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
    if (Object.keys(tables).length > 0)
      yield* Effect.gen(function* () {
        const known = yield* tablesOf("main")
        for (const [table, columns] of Object.entries(tables)) {
          const digest = yield* digestTable(known.get(table), table, columns)
          if (Option.isSome(digest)) digests[table] = digest.value
        }
      }).pipe(sql.withTransaction, databaseFailed("read its tables", path))
    const writtenBy = Option.getOrUndefined(yield* readWrittenBy(path, schema))
    return { schema, tables: digests, ...(writtenBy === undefined ? {} : { writtenBy }) }
  })

/** Every agent at one moment, oldest first; none before the table is there. */
const agentsHere = (path: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const there = yield* sql`SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'agents'`
    if (there.length === 0) return []
    return yield* sql<KeyedAgent>`
      SELECT id, name, public_key AS publicKey FROM agents ORDER BY created_at, id`
  }).pipe(databaseFailed("read its agents", path))
