/** MIG-01..06: every migration over a database of the previous schema that holds data. */
import { SqlClient } from "@effect/sql/SqlClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { assert, describe, it } from "@effect/vitest"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import { checkCompatible, migrate, readSchema } from "@waiaas/services/Migrator"
import { checksumOf, type Migration, migrations } from "@waiaas/services/migrations/index"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const layer = Layer.mergeAll(
  SqliteClient.layer({ filename: ":memory:", disableWAL: true }),
  layerEnvironment(),
)
const to = (schema: number) => migrate(":memory:", migrations.slice(0, schema))

/** What an operator of each schema has in the database; and what must be there in every later one. */
const fixtures: ReadonlyArray<{ readonly schema: number; readonly insert: ReadonlyArray<string> }> = [
  { schema: 1, insert: ["INSERT INTO key_value_store VALUES ('latest_version', '1.5.1', 100)"] },
  {
    schema: 2,
    insert: [
      "INSERT INTO agents (id, name, chain, network, public_key, status, created_at, updated_at) VALUES ('a2', 'two', 'solana', 'mainnet', 'pk2', 'suspended', 200, 201)",
    ],
  },
  {
    schema: 3,
    insert: [
      "INSERT INTO agents (id, name, chain, network, public_key, status, created_at, updated_at, owner_address) VALUES ('a3', 'three', 'evm', 'base', 'pk3', 'active', 300, 300, '0xowner')",
    ],
  },
  {
    schema: 4,
    insert: [
      "INSERT INTO agents (id, name, chain, network, public_key, status, created_at, updated_at) VALUES ('a4', 'four', 'evm', 'base', 'pk4', 'active', 400, 400)",
      "UPDATE agents SET status = 'suspended', updated_at = 401 WHERE id = 'a4'",
    ],
  },
]

/** `inserted`: the schemas at which data was added. */
const expectAll = (schema: number, inserted: ReadonlyArray<number>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const has = (fixture: number) => inserted.includes(fixture)
    if (has(1))
      assert.deepStrictEqual(
        yield* sql`SELECT value, updated_at FROM key_value_store WHERE key = 'latest_version'`,
        [{ value: "1.5.1", updated_at: 100 }],
      )
    if (has(2)) {
      const rows = yield* sql`SELECT name, status, created_at, updated_at FROM agents WHERE id = 'a2'`
      assert.deepStrictEqual(rows, [{ name: "two", status: "suspended", created_at: 200, updated_at: 201 }])
    }
    if (has(3))
      assert.deepStrictEqual(yield* sql`SELECT owner_address FROM agents WHERE id = 'a3'`, [
        { owner_address: "0xowner" },
      ])
    if (schema >= 4 && has(2))
      assert.deepStrictEqual(yield* sql`SELECT event, at FROM agent_events WHERE agent_id = 'a2'`, [
        { event: "created", at: 200 },
      ])
    if (has(4))
      assert.deepStrictEqual(
        yield* sql`SELECT event, at FROM agent_events WHERE agent_id = 'a4' ORDER BY id`,
        [
          { event: "created", at: 400 },
          { event: "suspended", at: 401 },
        ],
      )
    if (schema >= 5 && has(2))
      assert.deepStrictEqual(yield* sql`SELECT DISTINCT key_type FROM agents`, [{ key_type: "ed25519" }])
  })

describe("every migration keeps the data of the schema before it (MIG-06)", () => {
  for (const { schema, insert } of fixtures)
    it.effect(`schema ${schema} -> ${schema + 1}`, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* to(schema)
        for (const statement of insert) yield* sql.unsafe(statement)
        const { from, to: reached } = yield* to(schema + 1)
        assert.deepStrictEqual([from, reached], [schema, schema + 1])
        yield* expectAll(schema + 1, [schema])
      }).pipe(Effect.provide(layer)),
    )

  for (const first of [1, 2, 3])
    it.effect(
      `data that was added at each schema from ${first} on survives to the newest, one migration at a time`,
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          yield* to(first)
          for (let schema = first; schema < migrations.length; schema++) {
            for (const statement of fixtures[schema - 1]?.insert ?? []) yield* sql.unsafe(statement)
            yield* to(schema + 1)
          }
          yield* expectAll(
            migrations.length,
            fixtures.map((fixture) => fixture.schema).filter((schema) => schema >= first),
          )
        }).pipe(Effect.provide(layer)),
    )
})

/** First half of each checksum. A migration that changes this list after a release must be a new one instead. */
const RELEASED = [
  "e4fbc42818de7c42",
  "cda1c8cca6507820",
  "ed4f1ebedf905f51",
  "dc468d5ad285ee98",
  "346b16f144611fe5",
]

const broken: Migration = {
  id: 3,
  name: "broken",
  changes: [],
  statements: ["CREATE TABLE half_done (id INTEGER) STRICT", "INSERT INTO no_such_table VALUES (1)"],
}

describe("a run of migrations", () => {
  it.effect("is all or nothing: a failing one leaves the schema and the earlier tables (MIG-03)", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* to(1)
      const error = yield* Effect.flip(migrate(":memory:", [...migrations.slice(0, 2), broken]))
      assert.strictEqual(error._tag, "MigrationFailed")
      assert.include(error.message, "no_such_table")
      assert.strictEqual(yield* readSchema(":memory:"), 1)
      assert.deepStrictEqual(
        yield* sql`SELECT name FROM sqlite_master WHERE name IN ('agents', 'half_done')`,
        [],
      )
    }).pipe(Effect.provide(layer)),
  )

  it.effect("gives a fresh database every migration, each recorded with its checksum", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const first = yield* to(migrations.length)
      assert.deepStrictEqual([first.from, first.to], [0, migrations.length])
      const rows = yield* sql`SELECT version, name, checksum FROM schema_version ORDER BY version`
      assert.deepStrictEqual(
        rows,
        migrations.map((migration) => ({
          version: migration.id,
          name: migration.name,
          checksum: checksumOf(migration),
        })),
      )
      assert.deepStrictEqual(yield* to(migrations.length), {
        from: migrations.length,
        to: migrations.length,
        changes: [],
      })
    }).pipe(Effect.provide(layer)),
  )

  it("has numbers without gaps", () => {
    assert.deepStrictEqual(
      migrations.map(({ id }) => id),
      migrations.map((_, index) => index + 1),
    )
  })

  it("has the checksums of what was released: a released migration never changes (MIG-05)", () => {
    assert.deepStrictEqual(
      migrations.map((migration) => checksumOf(migration).slice(0, 16)),
      RELEASED,
    )
  })
})

describe("a history that is none of ours is refused (MIG-05)", () => {
  const cases: ReadonlyArray<readonly [string, string]> = [
    ["a changed checksum", "UPDATE schema_version SET checksum = 'x' WHERE version = 2"],
    ["a migration that was skipped", "DELETE FROM schema_version WHERE version = 2"],
    ["an unreadable row", "UPDATE schema_version SET name = '' , checksum = '' WHERE version = 1"],
  ]
  for (const [name, sabotage] of cases)
    it.effect(name, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* to(4)
        yield* sql.unsafe(sabotage)
        const error = yield* Effect.flip(checkCompatible(":memory:", rangeFor(5)))
        assert.strictEqual(error._tag, "MigrationHistoryDiffers")
        assert.strictEqual((yield* Effect.flip(to(5)))._tag, "MigrationHistoryDiffers")
      }).pipe(Effect.provide(layer)),
    )
})
