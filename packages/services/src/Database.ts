import { dirname } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { DatabaseFailed } from "@waiaas/domain/DataErrors"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { DurableFile } from "./platform/DurableFile.ts"
import { refusalAt, shortageAt } from "./platform/Shortage.ts"

/** The client remembers a failed preparation as long as a good one: a passing error must not stay for minutes. */
const PREPARED = "20 seconds"

/** SQLite's own words for an error, without the SQL around it. */
export const reasonOf = (error: SqlError | unknown): string => {
  const cause = typeof error === "object" && error !== null && "cause" in error ? error.cause : error
  return cause instanceof Error ? cause.message : String(cause)
}

/** `written`: the file that the act writes, where it is another one. */
export const databaseFailed =
  (operation: string, path: string, written = path) =>
  <A, R>(effect: Effect.Effect<A, SqlError, R>): Effect.Effect<A, DatabaseFailed, R> =>
    Effect.mapError(effect, (error) => failureOf(operation, path, reasonOf(error), written))

/** What SQLite says names a full disk in some places only: it is asked here. */
const failureOf = (
  operation: string,
  path: string,
  reason: string,
  written: string = path,
): DatabaseFailed => {
  const shortage = /disk|unable to open|readonly/.test(reason)
    ? (shortageAt(written) ?? refusalAt(written))
    : undefined
  return shortage === undefined
    ? new DatabaseFailed({ operation, path, reason })
    : new DatabaseFailed({ operation, path, reason: shortage.problem, remedy: shortage.remedy })
}

/** The file of the open database, for what is said of a failure; where SQLite does not say it, what it is. */
export const fileOfDatabase: Effect.Effect<string, never, SqlClient> = Effect.flatMap(
  SqlClient,
  (sql) => sql<{ file: string }>`SELECT file FROM pragma_database_list WHERE name = 'main'`,
).pipe(
  Effect.map((rows) => rows[0]?.file || "in memory"),
  Effect.orElseSucceed(() => "of this daemon"),
)

/**
 * The operator's database: WAL, `synchronous = FULL` (no acknowledged write is lost to a power cut),
 * foreign keys on, 5 s of patience with other writers. `create` makes a missing file, 0600.
 */
export const layerDatabase = (options: {
  readonly path: string
  readonly create: boolean
}): Layer.Layer<SqlClient, DatabaseFailed, DurableFile> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      const files = yield* DurableFile
      const { path } = options
      const unopenable = (reason: string) => failureOf("open it", path, reason)
      yield* Effect.gen(function* () {
        if (yield* files.exists(path)) return
        if (!options.create) return yield* databaseMissing(path)
        yield* files.makeDirectory(dirname(path))
        yield* files.append(path, "")
      }).pipe(
        Effect.catchTag(
          "FileFailed",
          (error) =>
            new DatabaseFailed({
              operation: "open it",
              path,
              reason: error.message.replace(/\.$/, ""),
              remedy: error.next,
            }),
        ),
      )
      return Layer.effect(
        SqlClient,
        Effect.gen(function* () {
          const sql = yield* SqlClient
          yield* Effect.gen(function* () {
            yield* sql`PRAGMA busy_timeout = 5000`
            yield* sql`PRAGMA synchronous = FULL`
            yield* sql`PRAGMA foreign_keys = ON`
          }).pipe(databaseFailed("open it", path))
          return sql
        }),
      ).pipe(
        Layer.provide(SqliteClient.layer({ filename: path, prepareCacheTTL: PREPARED })),
        // The client throws where it cannot open a file: that is an ordinary failure here.
        Layer.catchAllCause((cause) => Layer.fail(unopenable(reasonOf(Cause.squash(cause))))),
      )
    }),
  )

/** There was one: an empty database in its place would hide the agents. */
export const databaseMissing = (path: string): DatabaseFailed =>
  new DatabaseFailed({
    operation: "open it",
    path,
    reason:
      "it does not exist. If its disk is not mounted, mount it; if [database] path was changed, move the database there; if it is lost, a backup holds it",
  })

/** A database that nothing was ever written into, where an init has made one: something else is in its place. */
export const databaseEmpty = (path: string): DatabaseFailed =>
  new DatabaseFailed({
    operation: "open it",
    path,
    reason:
      "it is empty, and was not when it was made. If its disk is not mounted, mount it; if it is lost, a backup holds it",
  })
