import { strict as assert } from "node:assert"
import { createPublicKey, verify } from "node:crypto"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Shutdown } from "../src/Shutdown.ts"
import { UpdateCheckFailed } from "../src/UpdateCheck.ts"
import { startDaemon } from "./support.ts"

const nobody = "33333333-3333-4333-8333-333333333333"

it.scopedLive("an agent is created, shown, listed, signs, is suspended and signs no more", () =>
  Effect.gen(function* () {
    const { call } = yield* startDaemon()
    const created = yield* call("POST", "/v1/agents", { name: "alice", ownerAddress: "0xabc" })
    assert.equal(created.status, 201, created.text)
    const agent = created.json
    assert.equal(agent.chain, "solana")
    assert.equal(agent.ownerAddress, "0xabc")
    assert.deepEqual((yield* call("GET", `/v1/agents/${agent.id}`)).json, agent)
    assert.deepEqual((yield* call("GET", "/v1/agents")).json, [agent])
    const signed = yield* call("POST", `/v1/agents/${agent.id}/sign`, { message: "héllo" })
    assert.equal(signed.status, 200, signed.text)
    const spki = Buffer.concat([
      Buffer.from("302a300506032b6570032100", "hex"),
      Buffer.from(agent.publicKey, "hex"),
    ])
    const key = createPublicKey({ key: spki, format: "der", type: "spki" })
    assert.ok(verify(null, Buffer.from("héllo"), key, Buffer.from(signed.json.signature, "hex")))
    const suspended = yield* call("POST", `/v1/agents/${agent.id}/suspend`)
    assert.equal(suspended.json.status, "suspended")
    const refused = yield* call("POST", `/v1/agents/${agent.id}/sign`, { message: "x" })
    assert.equal(refused.status, 409)
    assert.equal(refused.json._tag, "Suspended")
    for (const [method, path] of [
      ["GET", `/v1/agents/${nobody}`],
      ["POST", `/v1/agents/${nobody}/suspend`],
    ] as const) {
      const missing = yield* call(method, path)
      assert.equal(missing.status, 404)
      assert.match(missing.json.message, /There is no agent/)
    }
  }),
)

it.scopedLive("version: shown, checked, noted as announced; a check that fails is 503 with its reason", () =>
  Effect.gen(function* () {
    const { call, context } = yield* startDaemon({
      check: Effect.fail(new UpdateCheckFailed({ problem: "it answered 503" })),
    })
    const sql = Context.get(context, SqlClient)
    assert.equal((yield* call("GET", "/v1/version")).json.checkedAt, null)
    const failed = yield* call("POST", "/v1/version/check")
    assert.equal(failed.status, 503)
    assert.match(failed.json.message, /it answered 503/)
    assert.equal((yield* call("POST", "/v1/version/notified", { version: "9.9.9" })).status, 204)
    assert.equal((yield* call("POST", "/v1/version/notified", { version: "nine" })).status, 400)
    const rows = yield* sql<{
      key: string
      value: string
    }>`SELECT key, value FROM key_value_store ORDER BY key`
    assert.deepEqual(
      rows.map(({ key }) => key),
      ["version_notified", "version_notified_at"],
    )
    assert.equal(rows[0]?.value, "9.9.9")
    assert.ok(Math.abs(Number(rows[1]?.value) - Date.now() / 1000) < 5)
  }),
)

it.scopedLive("backups are listed, the damaged ones with their problem", () =>
  Effect.gen(function* () {
    const { call } = yield* startDaemon({
      backups: Effect.succeed([
        { name: "manual-x", path: "/p", manifest: null, problem: "it has no manifest" },
      ]),
    })
    const [backup] = (yield* call("GET", "/v1/backups")).json
    assert.equal(backup.name, "manual-x")
    assert.equal(backup.kind, null)
    assert.equal(backup.problem, "it has no manifest")
    assert.ok(!("path" in backup))
  }),
)

it.scopedLive("a shutdown is answered with 202 and reaches whoever waits for it", () =>
  Effect.gen(function* () {
    const { call, context } = yield* startDaemon()
    assert.equal((yield* call("GET", "/v1/daemon")).json.pid, process.pid)
    assert.equal((yield* call("POST", "/v1/daemon/shutdown")).status, 202)
    assert.equal(yield* Context.get(context, Shutdown).requested, "asked through the API")
  }),
)

it.scopedLive("/openapi.json and /docs come from the API, and the page may load and run nothing", () =>
  Effect.gen(function* () {
    const { call } = yield* startDaemon()
    const spec = (yield* call("GET", "/openapi.json")).json
    assert.equal(spec.openapi, "3.1.0")
    assert.ok(spec.paths["/v1/agents/{agent}/sign"].post)
    const page = yield* call("GET", "/docs")
    assert.match(page.headers["content-type"] ?? "", /text\/html/)
    assert.match(String(page.headers["content-security-policy"]), /^default-src 'none'; style-src 'sha256-/)
    assert.ok(page.text.includes("/v1/agents/{agent}/sign"))
    assert.doesNotMatch(page.text, /<script|https?:\/\/|src=/)
    // A reader finds the way: contents, links to schemas that are there, parts that the keyboard reaches.
    assert.match(page.text, /<main>.*<nav aria-label="Contents">/s)
    const anchors = [...page.text.matchAll(/href="#([^"]+)"/g)].map(([, anchor]) => anchor)
    assert.ok(anchors.length > 30)
    for (const anchor of anchors) assert.ok(page.text.includes(`id="${anchor}"`), anchor)
    assert.doesNotMatch(page.text, /<pre>/)
    const operations = Object.values(
      spec.paths as Record<string, Record<string, { summary?: string; responses: object }>>,
    )
    for (const operation of operations.flatMap((item) => Object.values(item))) {
      assert.ok((operation.summary ?? "").length > 10)
      for (const status of ["400", "405", "413", "415", "421", "431", "500", "503"])
        assert.ok(status in operation.responses, status)
    }
    assert.doesNotMatch(JSON.stringify(spec), /HttpApi/)
  }),
)
