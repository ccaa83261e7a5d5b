/** The version whose code wrote a database, as the code that serves it records it: inside, so that every copy carries it. */
import { SqlClient } from "@effect/sql/SqlClient"
import type { DatabaseFailed } from "@waiaas/domain/DataErrors"
import { Version } from "@waiaas/domain/Version"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { databaseFailed } from "./Database.ts"
import { readSchema } from "./Migrator.ts"
import { Environment, unixSeconds } from "./platform/Environment.ts"

/** Its key in the key-value store. */
export const WRITTEN_BY = "written_by"

/** With the schema that it wrote: after a migration by other code the record says nothing any more. */
const Record = Schema.parseJson(Schema.Struct({ version: Version, schema: Schema.Int }))
const decode = Schema.decodeUnknownOption(Record)

/** Reads the version that wrote the open database at `schema`; none where no code of that schema has recorded itself. */
export const readWrittenBy = (
  path: string,
  schema: number,
): Effect.Effect<Option.Option<Version>, DatabaseFailed, SqlClient> =>
  Effect.gen(function* () {
    // The key-value store came with the first migration.
    if (schema === 0) return Option.none()
    const sql = yield* SqlClient
    const rows = yield* sql<{
      value: string
    }>`SELECT value FROM key_value_store WHERE key = ${WRITTEN_BY}`.pipe(
      databaseFailed("read which version wrote it", path),
    )
    return decode(rows[0]?.value).pipe(
      Option.filter((record) => record.schema === schema),
      Option.map(({ version }) => version),
    )
  })

/** Records that this code writes the open database from now on; nothing is written where that is recorded already. */
export const recordWrittenBy = (path: string): Effect.Effect<void, DatabaseFailed, SqlClient | Environment> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const { version } = yield* Environment
    const schema = yield* readSchema(path)
    if (Option.contains(yield* readWrittenBy(path, schema), version)) return
    const value = Schema.encodeSync(Record)({ version, schema })
    const at = yield* unixSeconds
    yield* sql`INSERT INTO key_value_store (key, value, updated_at) VALUES (${WRITTEN_BY}, ${value}, ${at})
      ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at`.pipe(
      databaseFailed("record which version writes it", path),
    )
  })
