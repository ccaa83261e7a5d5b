import { strict as assert } from "node:assert"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { migrations } from "@waiaas/services/migrations/index"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { Agents } from "../src/Agents.ts"
import { Keystore } from "../src/Keystore.ts"
import { initialise, layerMigrated, layerPlatform, temporaryDirectory } from "./support.ts"

/** The database as a release whose newest migration is `schema` made it. */
const layerAtSchema = (root: string, schema: number) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      for (const migration of migrations.filter(({ id }) => id <= schema))
        for (const statement of migration.statements) yield* sql.unsafe(statement)
    }),
  ).pipe(Layer.provideMerge(layerMigrated(root, false)))

const layerAgents = (root: string, schema: number) =>
  Agents.layerSchema(schema).pipe(
    Layer.provideMerge(Keystore.layer),
    Layer.provideMerge(layerAtSchema(root, schema)),
    Layer.provideMerge(layerPlatform(root)),
    Layer.provideMerge(Logger.remove(Logger.defaultLogger)),
  )
it.scopedLive("a failure of the database names its file", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root)
    yield* Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`DROP TABLE agents`
      const error = yield* Effect.flip((yield* Agents).list)
      assert.ok(
        error.message.startsWith(`Database ${join(root, "data/waiaas.db")}: could not read the agents`),
      )
    }).pipe(Effect.provide(layerAgents(root, 5)))
  }),
)

const wanted = { name: "alice", chain: "solana", network: "mainnet" } as const

for (const schema of [2, 3, 4, 5])
  it.scopedLive(
    `schema ${schema}: agents are stored, suspended and listed with the columns of that schema`,
    () =>
      Effect.gen(function* () {
        const root = yield* temporaryDirectory
        yield* initialise(root)
        yield* Effect.gen(function* () {
          const agents = yield* Agents
          const first = yield* agents.create(wanted)
          const second = yield* agents.create({ ...wanted, name: "bob" })
          const suspended = yield* agents.suspend(first.id)
          assert.equal(suspended.status, "suspended")
          const sql = yield* SqlClient
          yield* sql`UPDATE agents SET updated_at = 7 WHERE id = ${first.id}`
          assert.equal(
            (yield* agents.suspend(first.id)).updatedAt,
            7,
            "it is suspended since then, not since now",
          )
          const listed = yield* agents.list
          assert.deepEqual(new Set(listed.map(({ id }) => id)), new Set([first.id, second.id]))
          assert.equal((yield* Effect.flip(agents.sign(first.id, "x")))._tag, "AgentSuspended")
          assert.equal((yield* agents.sign(second.id, "x")).publicKey, second.publicKey)
          const withOwner = { ...wanted, name: "carol", ownerAddress: "0xabc" }
          if (schema >= 3) assert.equal((yield* agents.create(withOwner)).ownerAddress, "0xabc")
          else assert.equal((yield* Effect.flip(agents.create(withOwner)))._tag, "NoOwnerAddress")
        }).pipe(Effect.provide(layerAgents(root, schema)))
      }),
  )

it.scopedLive("the sealed key is there before the row, and stays when the row is refused", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root)
    yield* Effect.gen(function* () {
      const sql = yield* SqlClient
      const agents = yield* Agents
      const keystore = join(root, "keystore")
      yield* sql`CREATE TRIGGER refuse BEFORE INSERT ON agents BEGIN SELECT RAISE(ABORT, 'refused ' || NEW.id); END`
      const error = yield* Effect.flip(agents.create(wanted))
      assert.equal(error._tag, "DatabaseFailed")
      const id = /refused ([0-9a-f-]{36})/.exec(error.message)?.[1]
      assert.ok(existsSync(join(keystore, `${id}.json`)), "the key was durable before the row was tried")
      assert.deepEqual(yield* agents.list, [])
    }).pipe(Effect.provide(layerAgents(root, 5)))
  }),
)

it.scopedLive("a row that is not an agent is a failure of the database that names the column", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root)
    yield* Effect.gen(function* () {
      const sql = yield* SqlClient
      const agents = yield* Agents
      const { id } = yield* agents.create(wanted)
      yield* sql`UPDATE agents SET public_key = 'not a key' WHERE id = ${id}`
      const error = yield* Effect.flip(agents.show(id))
      assert.equal(error._tag, "DatabaseFailed")
      assert.match(error.message, /public_key/)
      assert.ok(!error.message.includes("not a key"))
    }).pipe(Effect.provide(layerAgents(root, 5)))
  }),
)

it.scopedLive("an unknown agent is not found; a database without the table is a failure, not a defect", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root)
    yield* Effect.gen(function* () {
      const sql = yield* SqlClient
      const agents = yield* Agents
      const id = "33333333-3333-4333-8333-333333333333"
      for (const act of [agents.show(id), agents.suspend(id), agents.sign(id, "x")])
        assert.equal(
          (yield* Effect.flip(act as Effect.Effect<unknown, { _tag: string }>))._tag,
          "AgentNotFound",
        )
      yield* sql`DROP TABLE agents`
      assert.equal((yield* Effect.flip(agents.list))._tag, "DatabaseFailed")
    }).pipe(Effect.provide(layerAgents(root, 2)))
  }),
)
