/** Lessons of others about the daemon; each test is named after its lesson. */
import { strict as assert } from "node:assert"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { decodeConfig } from "@waiaas/services/ConfigFile"
import { KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
import { migrate, readSchema } from "@waiaas/services/Migrator"
import { insertAgent, layerDatabaseAt } from "@waiaas/services/testing/TestDatabase"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { dataDirectory } from "../support/daemon.mts"
import { healthBody, layerHealth } from "../support/layers.mts"

it.effect("a crash between a migration and its `schema_version` row bricks the database", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    yield* insertAgent("alice")
    // The statements of the last migration succeed, and its row does not: the instant of that crash.
    yield* sql`CREATE TRIGGER crash BEFORE INSERT ON schema_version WHEN NEW.version = ${sql.literal(String(LATEST_SCHEMA))}
      BEGIN SELECT RAISE(ABORT, 'crash'); END`
    const here = Effect.provide(layerEnvironment())
    const failure = yield* Effect.flip(migrate(":memory:").pipe(here))
    assert.equal(failure._tag, "MigrationFailed")
    assert.equal(yield* readSchema(":memory:"), 3, "nothing of any pending migration was kept")
    const columns = yield* sql<{ name: string }>`SELECT name FROM pragma_table_info('agents')`
    assert.ok(!columns.some(({ name }) => name === "key_type"))
    yield* sql`DROP TRIGGER crash`
    const { from, to } = yield* migrate(":memory:").pipe(here)
    assert.deepEqual([from, to], [3, LATEST_SCHEMA])
    assert.deepEqual(yield* sql`SELECT name, key_type FROM agents`, [{ name: "alice", key_type: "ed25519" }])
  }).pipe(Effect.provide(layerDatabaseAt(3))),
)

it.effect("`schemaVersion` is a constant", () =>
  Effect.gen(function* () {
    assert.equal((yield* healthBody).body.schemaVersion, 3)
    yield* (yield* SqlClient)`INSERT INTO schema_version VALUES (77, 'x', 1, 'x')`
    yield* TestClock.adjust("2 seconds")
    assert.equal((yield* healthBody).body.schemaVersion, 77)
  }).pipe(Effect.provide(layerHealth({ version: "2.0.0", schema: 3 }))),
)

it.effect("a bad stored version makes `/health` 500", () =>
  Effect.gen(function* () {
    const store = yield* KeyValueStore
    for (const bad of ["", "latest", "v2.1.0", "2.1", "{}", "\u0000", "9".repeat(100_000)]) {
      yield* store.set(versionKeys.latest, bad)
      yield* TestClock.adjust("2 seconds")
      const { status, body } = yield* healthBody
      assert.equal(status, 200, bad)
      assert.deepEqual([body.status, body.latestVersion, body.updateAvailable], ["ok", null, false], bad)
    }
    yield* store.set(versionKeys.latest, "2.1.0")
    yield* TestClock.adjust("2 seconds")
    assert.equal((yield* healthBody).body.latestVersion, "2.1.0")
  }).pipe(Effect.provide(layerHealth({ version: "2.0.0" }))),
)

it.scopedLive("rate limiting makes the health check fail", () =>
  Effect.gen(function* () {
    const daemon = yield* dataDirectory({ daemon: { update_check: false } })
    yield* daemon.start
    // The measured one answered 429 after a thousand in a minute.
    const statuses = yield* Effect.forEach(
      Array.from({ length: 1200 }),
      () => Effect.map(daemon.health, ({ status }) => status),
      { concurrency: 20 },
    )
    assert.deepEqual([...new Set(statuses)], [200])
  }),
)

/** A registry that answers when it is told to. */
it.effect("a numeric-looking environment value breaks the start", () =>
  Effect.gen(function* () {
    const config = yield* decodeConfig("config.toml", "", {
      WAIAAS_DATABASE_PATH: "0123",
      WAIAAS_DAEMON_LOG_FILE: "1e3",
      WAIAAS_DAEMON_HOSTNAME: "127",
      WAIAAS_DAEMON_PORT: "4000",
      WAIAAS_DAEMON_UPDATE_CHECK: "false",
      // Outside of the scheme: never read as configuration.
      WAIAAS_MASTER_PASSWORD: "123456",
    })
    assert.equal(config.database.path, "0123")
    assert.equal(config.daemon.log_file, "1e3")
    assert.equal(config.daemon.hostname, "127")
    assert.equal(config.daemon.port, 4000)
    assert.equal(config.daemon.update_check, false)
    const refused = yield* Effect.flip(decodeConfig("config.toml", "", { WAIAAS_DAEMON_PORT: "4e3" }))
    assert.match(
      refused.message,
      /environment: WAIAAS_DAEMON_PORT = "4e3" is not allowed \(allowed: a port, 1\.\.65535\)/,
    )
  }),
)
