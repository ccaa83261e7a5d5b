/** Agents through the API: by id or name, suspended and resumed, and what is said where a key or a name is not as it should be. */
import { strict as assert } from "node:assert"
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Agents } from "../src/Agents.ts"
import { Keystore } from "../src/Keystore.ts"
import { initialise, layerMigrated, layerPlatform, startDaemon, temporaryDirectory } from "./support.ts"

const events = (context: Context.Context<SqlClient>, id: string) =>
  Context.get(context, SqlClient)<{
    event: string
  }>`SELECT event FROM agent_events WHERE agent_id = ${id} ORDER BY id`

it.scopedLive("an agent that is suspended signs again once it is resumed, and both are recorded", () =>
  Effect.gen(function* () {
    const { call, context } = yield* startDaemon()
    const { id } = (yield* call("POST", "/v1/agents", { name: "trea sury" })).json
    const sign = () => call("POST", `/v1/agents/${id}/sign`, { message: "x" })
    const before = (yield* sign()).json.signature
    assert.equal((yield* call("POST", "/v1/agents/trea%20sury/suspend")).json.status, "suspended")
    const refused = yield* sign()
    assert.deepEqual([refused.status, refused.json._tag], [409, "Suspended"])
    assert.equal(refused.json.next, `waiaas agent resume ${id}`)
    const resumed = yield* call("POST", "/v1/agents/trea%20sury/resume")
    assert.equal(resumed.json.status, "active")
    assert.deepEqual((yield* call("POST", `/v1/agents/${id}/resume`)).json, resumed.json, "done is done")
    assert.equal((yield* sign()).json.signature, before)
    assert.deepEqual(
      (yield* events(context, id)).map(({ event }) => event),
      ["created", "suspended", "active"],
    )
  }),
)

it.scopedLive("a name is one agent's: another one is refused, and makes no key", () =>
  Effect.gen(function* () {
    const { call, root } = yield* startDaemon()
    const create = call("POST", "/v1/agents", { name: "alice" })
    const answers = yield* Effect.all([create, create, create, create], { concurrency: 4 })
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409])
    const refused = answers.find(({ status }) => status === 409)
    assert.deepEqual(refused?.json, {
      _tag: "NameTaken",
      message: "There is an agent alice already.",
      next: "waiaas agent list",
    })
    const keys = readdirSync(join(root, "keystore")).filter((name) => /^[0-9a-f-]{36}\.json$/.test(name))
    assert.equal(keys.length, 1)
  }),
)

it.scopedLive(
  "agents that an earlier release stored are read as they are, and a shared name is refused with their ids",
  () =>
    Effect.gen(function* () {
      const { call, context } = yield* startDaemon()
      const sql = Context.get(context, SqlClient)
      const ids: Array<string> = []
      for (const name of ["alice", "bob"]) ids.push((yield* call("POST", "/v1/agents", { name })).json.id)
      yield* sql`UPDATE agents SET name = 'twin ', chain = 'bitcoin', network = 'nonsense'`
      for (const act of ["", "/suspend", "/resume", "/sign"]) {
        const answer = yield* call(
          act === "" ? "GET" : "POST",
          `/v1/agents/twin%20${act}`,
          act === "/sign" ? { message: "x" } : undefined,
        )
        assert.deepEqual([answer.status, answer.json._tag], [409, "Ambiguous"], act)
        for (const id of ids) assert.ok(answer.json.message.includes(id))
      }
      for (const id of ids) {
        const agent = (yield* call("GET", `/v1/agents/${id.toUpperCase()}`)).json
        assert.deepEqual([agent.id, agent.chain, agent.network], [id, "bitcoin", "nonsense"])
        assert.equal((yield* call("POST", `/v1/agents/${id}/sign`, { message: "x" })).status, 200)
      }
    }),
)

it.scopedLive("a chain or network that is not known is refused with the known ones", () =>
  Effect.gen(function* () {
    const { call } = yield* startDaemon()
    const answer = yield* call("POST", "/v1/agents", { name: "a", chain: "bitcoin", network: "nonsense" })
    assert.equal(answer.status, 400)
    assert.equal(answer.json.message, "chain: Expected one of solana, aptos, sui.")
  }),
)

it.scopedLive(
  "an agent whose sealed key is missing or does not open is seen as such, and says what helps",
  () =>
    Effect.gen(function* () {
      const { call, root } = yield* startDaemon()
      const make = (name: string) => Effect.map(call("POST", "/v1/agents", { name }), ({ json }) => json)
      const [whole, lost, torn, swapped] = yield* Effect.forEach(["whole", "lost", "torn", "swapped"], make)
      const file = (agent: { id: string }) => join(root, "keystore", `${agent.id}.json`)
      writeFileSync(file(swapped), readFileSync(file(whole)))
      rmSync(file(lost))
      writeFileSync(file(torn), readFileSync(file(torn), "utf8").slice(0, 40))
      const listed = (yield* call("GET", "/v1/agents")).json as Array<{ name: string; signingKey: string }>
      assert.deepEqual(Object.fromEntries(listed.map(({ name, signingKey }) => [name, signingKey])), {
        whole: "present",
        lost: "missing",
        torn: "damaged",
        swapped: "damaged",
      })
      for (const [agent, signingKey, problem] of [
        [whole, "present", null],
        [lost, "missing", /does not exist/],
        [torn, "damaged", /is not a sealed key/],
        [swapped, "damaged", /is the key of another agent/],
      ] as const) {
        assert.equal((yield* call("GET", `/v1/agents/${agent.name}`)).json.signingKey, signingKey)
        const signed = yield* call("POST", `/v1/agents/${agent.name}/sign`, { message: "x" })
        if (problem === null) assert.equal(signed.status, 200)
        else {
          assert.deepEqual([signed.status, signed.json._tag], [409, "KeyUnavailable"])
          assert.match(signed.json.message, problem)
          assert.ok(signed.json.message.includes(agent.id))
          assert.match(signed.json.next, /^Put .* back from your own copy of the keystore/)
        }
      }
    }),
)

it.scopedLive("a full disk is named as that, and nothing is stored", () =>
  Effect.gen(function* () {
    const { call, context } = yield* startDaemon()
    const sql = Context.get(context, SqlClient)
    const [{ page_count: pages = 0 } = {}] = yield* sql<{ page_count: number }>`PRAGMA page_count`
    yield* sql.unsafe(`PRAGMA max_page_count = ${pages}`)
    let answer = yield* call("POST", "/v1/agents", { name: "agent" })
    for (let index = 0; answer.status === 201 && index < 200; index++)
      answer = yield* call("POST", "/v1/agents", { name: `agent ${index}`, ownerAddress: "x".repeat(128) })
    assert.deepEqual([answer.status, answer.json._tag], [507, "StorageFull"])
    assert.match(
      answer.json.message,
      /^No space, or no inode, is left for the data directory, its keystore or its database/,
    )
    assert.match(answer.json.next, /^Free some space/)
  }),
)

it.scopedLive("a client that hangs up leaves no key without its row", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root)
    const made = yield* Deferred.make<void>()
    const layerSlow = Layer.effect(
      Keystore,
      Effect.map(Keystore, (keystore) => ({
        ...keystore,
        createKey: (agent: string) =>
          keystore.createKey(agent).pipe(
            Effect.zipLeft(Deferred.succeed(made, undefined)),
            // Whoever can be interrupted here is.
            Effect.zipLeft(Effect.sleep("30 millis")),
          ),
      })),
    ).pipe(Layer.provide(Keystore.layer))
    const layer = Agents.layer.pipe(
      Layer.provide(layerSlow),
      Layer.provideMerge(layerMigrated(root)),
      Layer.provideMerge(layerPlatform(root)),
    )
    yield* Effect.gen(function* () {
      const sql = yield* SqlClient
      const agents = yield* Agents
      const creating = yield* Effect.fork(
        agents.create({ name: "alice", chain: "solana", network: "mainnet" }),
      )
      yield* Deferred.await(made)
      yield* Fiber.interrupt(creating)
      const rows = yield* sql<{ id: string }>`SELECT id FROM agents`
      const keys = readdirSync(join(root, "keystore")).filter((name) => /^[0-9a-f-]{36}\.json$/.test(name))
      assert.deepEqual(
        keys,
        rows.map(({ id }) => `${id}.json`),
      )
      assert.equal(rows.length, 1)
    }).pipe(Effect.provide(layer))
  }),
)
