import { strict as assert } from "node:assert"
import * as http from "node:http"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { INSTANCE_HEADER } from "@waiaas/domain/DaemonFacts"
import { Health, HealthError } from "@waiaas/domain/Health"
import { isUpdate, makeVersion } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { BackgroundWorkers } from "../src/BackgroundWorkers.ts"
import { HeldGate } from "../src/HeldGate.ts"
import { ask, facts, startDaemon } from "./support.ts"

const version = makeVersion("2.0.0")
const store = (context: Context.Context<SqlClient>, key: string, value: string) => {
  const sql = Context.get(context, SqlClient)
  return sql`INSERT INTO key_value_store (key, value, updated_at) VALUES (${key}, ${value}, 1)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value`
}
/** Longer than the facts behind an answer may be kept. */
const untilRead = Effect.sleep("1050 millis")

it.scopedLive(
  "before any check: latestVersion is null, updateAvailable is false, the schema is the database's",
  () =>
    Effect.gen(function* () {
      const { port } = yield* startDaemon({ version })
      const answer = yield* ask(port, "/health")
      assert.equal(answer.status, 200)
      const health = Schema.decodeUnknownSync(Health, { onExcessProperty: "error" })(answer.json)
      assert.deepEqual(
        { ...health, uptime: 0, timestamp: 0 },
        {
          status: "ok",
          version: "2.0.0",
          latestVersion: null,
          updateAvailable: false,
          schemaVersion: LATEST_SCHEMA,
          uptime: 0,
          timestamp: 0,
        },
      )
      assert.ok(Math.abs(health.timestamp - Date.now() / 1000) < 3)
      assert.equal((yield* ask(port, "/health?verbose=1")).status, 200)
      const head = yield* ask(port, "/health", { method: "HEAD" })
      assert.equal(head.headers["content-length"], String(answer.text.length))
      assert.equal(head.text, "")
    }),
)

it.scopedLive("a newer version that was stored is announced within a second; the schema is no constant", () =>
  Effect.gen(function* () {
    const { port, context } = yield* startDaemon({ version })
    assert.equal((yield* ask(port, "/health")).json.latestVersion, null)
    yield* store(context, "latest_version", "2.1.0")
    const sql = Context.get(context, SqlClient)
    yield* sql`INSERT INTO schema_version (version, name, applied_at, checksum) VALUES (77, 'x', 1, 'x')`
    yield* untilRead
    const { latestVersion, updateAvailable, schemaVersion } = (yield* ask(port, "/health")).json
    assert.deepEqual([latestVersion, updateAvailable, schemaVersion], ["2.1.0", true, 77])
  }),
)

it.scopedLive("a bad stored version never makes /health an error", () =>
  Effect.gen(function* () {
    for (const bad of ["", "v2.1.0", "9".repeat(10_000)]) {
      const { port, context, call } = yield* startDaemon({ version })
      yield* store(context, "latest_version", bad)
      yield* store(context, "version_checked_at", bad)
      const answer = yield* ask(port, "/health")
      assert.equal(answer.status, 200, bad)
      assert.equal(answer.json.latestVersion, null)
      assert.equal(answer.json.updateAvailable, false)
      assert.equal((yield* call("GET", "/v1/version")).json.checkedAt, null)
    }
  }),
)

it.scopedLive("an unreadable database is 503 with status error, and ok again when it can be read", () =>
  Effect.gen(function* () {
    const { port, context } = yield* startDaemon({ version })
    const sql = Context.get(context, SqlClient)
    yield* sql`ALTER TABLE key_value_store RENAME TO elsewhere`
    // Fails when it is read, not when it is prepared: the client keeps a failed preparation for minutes.
    yield* sql`CREATE VIEW key_value_store AS SELECT key, abs(-9223372036854775807 - 1) AS value FROM elsewhere`
    yield* sql`INSERT INTO elsewhere (key, value, updated_at) VALUES ('latest_version', '2.1.0', 1)`
    const answer = yield* ask(port, "/health")
    assert.equal(answer.status, 503)
    const body = Schema.decodeUnknownSync(HealthError, { onExcessProperty: "error" })(answer.json)
    assert.equal(body.version, "2.0.0")
    assert.doesNotMatch(answer.text, /key_value_store|overflow/)
    yield* sql`DROP VIEW key_value_store`
    yield* sql`ALTER TABLE elsewhere RENAME TO key_value_store`
    yield* untilRead
    assert.equal((yield* ask(port, "/health")).status, 200)
  }),
)

it("an update is newer, and a pre-release only for who follows its channel", () => {
  const is = (latest: string, installed: string) => isUpdate(makeVersion(latest), makeVersion(installed))
  assert.ok(is("2.10.0", "2.9.0"))
  assert.ok(is("2.1.0", "2.1.0-rc.1"))
  assert.ok(is("2.1.0-rc.2", "2.1.0-rc.1"))
  assert.ok(!is("2.0.0", "2.0.0"))
  assert.ok(!is("1.9.0", "2.0.0"))
  assert.ok(!is("2.1.0-rc.1", "2.0.0"))
  assert.ok(!is("2.1.0-beta.1", "2.1.0-alpha.1"))
})

it.scopedLive("health checks are never limited", () =>
  Effect.gen(function* () {
    const { port } = yield* startDaemon()
    const agent = new http.Agent({ keepAlive: true, maxSockets: 10 })
    yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
    const statuses = yield* Effect.forEach(
      Array.from({ length: 3000 }),
      () => Effect.map(ask(port, "/health", { agent }), ({ status }) => status),
      { concurrency: 10 },
    )
    assert.ok(statuses.every((status) => status === 200))
  }),
)

it.scopedLive(
  "held: /health says so, everything else waits with 503, no worker runs, until the gate opens",
  () =>
    Effect.gen(function* () {
      const { port, call, context } = yield* startDaemon({ gate: "held" })
      let runs = 0
      yield* Context.get(context, BackgroundWorkers).register(
        "count",
        "1 hour",
        Effect.sync(() => runs++),
        {
          runImmediately: true,
        },
      )
      const held = yield* ask(port, "/health")
      assert.equal(held.status, 200)
      assert.equal(held.headers[INSTANCE_HEADER], facts.instance)
      assert.equal(held.json.status, "held")
      assert.equal(held.json.schemaVersion, LATEST_SCHEMA)
      for (const [method, path] of [
        ["GET", "/v1/agents"],
        ["POST", "/v1/agents"],
        ["POST", "/v1/daemon/shutdown"],
        ["GET", "/docs"],
      ] as const) {
        const answer = yield* call(method, path)
        assert.equal(answer.status, 503)
        assert.equal(answer.json._tag, "Unavailable")
      }
      assert.equal(runs, 0)
      const gate = Context.get(context, HeldGate)
      yield* gate.open
      yield* gate.awaitOpen
      assert.equal((yield* ask(port, "/health")).json.status, "ok")
      assert.equal((yield* call("GET", "/v1/agents")).status, 200)
      yield* Effect.sleep("20 millis")
      assert.equal(runs, 1)
    }),
)
