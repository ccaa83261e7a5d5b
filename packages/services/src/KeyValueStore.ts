import { SqlClient } from "@effect/sql/SqlClient"
import type { DatabaseFailed } from "@waiaas/domain/DataErrors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { databaseFailed, fileOfDatabase } from "./Database.ts"
import { Environment, unixSeconds } from "./platform/Environment.ts"

/** Keys of the version check, all plain text. */
export const versionKeys = {
  latest: "latest_version",
  /** Unix seconds. */
  checkedAt: "version_checked_at",
  /** Unix seconds. */
  notifiedAt: "version_notified_at",
  /** The version that the last notice announced. */
  notified: "version_notified",
  /** ETag of the registry's last answer. */
  etag: "version_etag",
  /** The registry that gave the latest version. */
  registry: "version_registry",
} as const

/** The last check, where it failed. */
export const failedCheckKeys = {
  /** Unix seconds. */
  at: "version_check_failed_at",
  problem: "version_check_failure",
  /** Unix seconds of the first one since a check succeeded. */
  since: "version_check_failing_since",
} as const

/** Plain text values by key, in the daemon's database. */
export class KeyValueStore extends Context.Tag("@waiaas/services/KeyValueStore")<
  KeyValueStore,
  {
    readonly get: (key: string) => Effect.Effect<Option.Option<string>, DatabaseFailed>
    readonly set: (key: string, value: string) => Effect.Effect<void, DatabaseFailed>
    readonly remove: (key: string) => Effect.Effect<void, DatabaseFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const environment = yield* Environment
      const file = yield* fileOfDatabase
      return {
        get: Effect.fn("KeyValueStore.get")(function* (key: string) {
          const rows = yield* sql<{
            value: string
          }>`SELECT value FROM key_value_store WHERE key = ${key}`.pipe(databaseFailed("read a key", file))
          return Option.map(Option.fromNullable(rows[0]), (row) => row.value)
        }),
        set: Effect.fn("KeyValueStore.set")(function* (key: string, value: string) {
          const at = yield* unixSeconds.pipe(Effect.provideService(Environment, environment))
          yield* sql`INSERT INTO key_value_store (key, value, updated_at) VALUES (${key}, ${value}, ${at})
            ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at`.pipe(
            databaseFailed("write a key", file),
          )
        }),
        remove: Effect.fn("KeyValueStore.remove")(function* (key: string) {
          yield* sql`DELETE FROM key_value_store WHERE key = ${key}`.pipe(
            databaseFailed("remove a key", file),
          )
        }),
      }
    }),
  )

  static readonly layerMemory = Layer.sync(this, () => {
    const values = new Map<string, string>()
    return {
      get: (key) => Effect.sync(() => Option.fromNullable(values.get(key))),
      set: (key, value) => Effect.sync(() => void values.set(key, value)),
      remove: (key) => Effect.sync(() => void values.delete(key)),
    }
  })
}
