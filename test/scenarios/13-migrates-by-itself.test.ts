import { strict as assert } from "node:assert"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { migrate, readSchema } from "@waiaas/services/Migrator"
import { insertAgent, layerDatabaseAt } from "@waiaas/services/testing/TestDatabase"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import * as Effect from "effect/Effect"
import { dataDirectory } from "../support/daemon.mts"
import { release } from "../support/releases.mts"
import { databaseOf, installedMachine } from "../support/scoped.mts"
import { execute, keysIn, query } from "../support/sqlite.mts"

const versions = (path: string) =>
  query<{ version: number }>(path, "SELECT version FROM schema_version ORDER BY version").map(
    ({ version }) => version,
  )

it.effect("layers: a database of an older schema is migrated, with its rows", () =>
  Effect.gen(function* () {
    yield* insertAgent("alice")
    assert.equal(yield* readSchema(":memory:"), 3)
    const { from, to } = yield* migrate(":memory:").pipe(Effect.provide(layerEnvironment()))
    assert.deepEqual([from, to], [3, 5])
    assert.equal(yield* readSchema(":memory:"), 5)
    const sql = yield* SqlClient
    assert.deepEqual(yield* sql`SELECT name, key_type FROM agents`, [{ name: "alice", key_type: "ed25519" }])
  }).pipe(Effect.provide(layerDatabaseAt(3))),
)

it.scopedLive("layers: the daemon's start backs up, migrates and serves", () =>
  Effect.gen(function* () {
    const daemon = yield* dataDirectory({ schema: 4 })
    yield* daemon.start
    const health = (yield* daemon.health).json<Record<string, unknown>>()
    assert.deepEqual([health.status, health.schemaVersion], ["ok", 5])
    assert.deepEqual(versions(daemon.database), [1, 2, 3, 4, 5])
    const [backup = ""] = readdirSync(join(daemon.root, "backups"))
    assert.match(backup, /^pre-migrate-/)
    assert.equal(keysIn(daemon.database).written_by, '{"version":"2.0.0","schema":5}')
    assert.deepEqual(versions(join(daemon.root, "backups", backup, "waiaas.db")), [1, 2, 3, 4])
  }),
)

it.scopedLive("real: newer code installed by hand migrates at its start and serves", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine({ start: false })
    const database = databaseOf(machine)
    assert.deepEqual(versions(database), [1, 2, 3, 4])
    execute(
      database,
      "INSERT INTO agents (id, name, chain, network, public_key, status, created_at, updated_at) VALUES ('1', 'alice', 'solana', 'mainnet', 'key', 'active', 1, 1)",
    )
    yield* Effect.promise(async () => {
      await machine.installGlobal(await release("2.1.0", 5))
      await machine.mustWaiaas(["start", "--background"])
      const health = (await machine.api("GET", "/health")).json<Record<string, unknown>>()
      assert.deepEqual([health.status, health.version, health.schemaVersion], ["ok", "2.1.0", 5])
      const backups = await machine.mustWaiaas(["backup", "list"])
      assert.match(
        backups.stdout,
        /^pre-migrate-2\.0\.0-\S+ +2\.0\.0 -> 2\.1\.0 .*\n.*a rollback takes this one$/m,
      )
    })
    assert.deepEqual(versions(database), [1, 2, 3, 4, 5])
    assert.deepEqual(query(database, "SELECT name, key_type FROM agents"), [
      { name: "alice", key_type: "ed25519" },
    ])
  }),
)
