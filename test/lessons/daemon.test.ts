/** Lessons of others about the daemon; each test is named after its lesson. */
import { strict as assert } from "node:assert"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
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
import { run } from "../../scripts/lib/run.mts"
import { dataDirectory } from "../support/daemon.mts"
import { healthBody, layerHealth } from "../support/layers.mts"
import { request, until } from "../support/net.mts"
import { installedMachine } from "../support/scoped.mts"

/** Real machines in here take seconds. */
const LIMIT = 60_000

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
    assert.deepEqual(yield* migrate(":memory:").pipe(here), { from: 3, to: LATEST_SCHEMA })
    assert.deepEqual(yield* sql`SELECT name, key_type FROM agents`, [{ name: "alice", key_type: "ed25519" }])
  }).pipe(Effect.provide(layerDatabaseAt(3))),
)

it.scopedLive(
  "a blocked event loop loses the lock",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const pid = machine.daemonPid() ?? 0
        // A stopped process renews no lease and answers nothing, like one whose loop is blocked.
        process.kill(pid, "SIGSTOP")
        const status = JSON.parse((await machine.mustWaiaas(["--json", "status"])).stdout)
        assert.deepEqual([status.daemon, status.facts.pid, status.health], ["Running", pid, null])
        const again = await machine.waiaas(["start", "--background"])
        assert.match(again.stdout, /runs already/)
        // Past every look of the command's: a second daemon itself cannot have the data.
        const second = await run(
          machine.node,
          [join(machine.packageDir, "dist/daemon.js"), "serve", "--data-dir", machine.dataDir],
          { env: machine.env(), timeoutMs: 30_000 },
        )
        assert.equal(second.code, 4, second.stderr)
        assert.match(second.stderr, new RegExp(`Another process works here: the daemon, process ${pid}`))
        process.kill(pid, "SIGCONT")
        assert.equal((await machine.api("GET", "/health")).status, 200)
        assert.equal(machine.daemonPid(), pid)
      })
    }),
  LIMIT,
)

it.scopedLive(
  "an uncaught exception exits 0",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false, daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const thrower = `if (process.argv[2] === "serve") setInterval(() => {
          if (globalThis.armed) throw new Error("planted"); }, 50);
          process.on("SIGUSR2", () => { globalThis.armed = true })`
        const live = machine.spawnWaiaas(["start"], {
          env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(thrower)}` },
        })
        await live.says(/is ready on/)
        process.kill(live.pid, "SIGUSR2")
        assert.deepEqual(await live.exit, { code: 1, signal: null })
        assert.match(live.stderr(), /planted/)
        // It left facts and a lock file behind; the next start does not mind.
        await machine.mustWaiaas(["start", "--background"])
        assert.equal((await machine.api("GET", "/health")).status, 200)
      })
    }),
  LIMIT,
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
const slowRegistry = Effect.acquireRelease(
  Effect.promise(async () => {
    const waiting: Array<() => void> = []
    const server = createServer((_, response) => {
      waiting.push(() => response.end('{"latest":"2.1.0"}'))
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    return { server, waiting, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  }),
  ({ server }) => Effect.sync(() => server.close()),
)

it.scopedLive(
  "requests in flight are cut at SIGTERM",
  () =>
    Effect.gen(function* () {
      const registry = yield* slowRegistry
      const machine = yield* installedMachine({
        daemon: { update_check: false, update_registry: registry.url },
      })
      yield* Effect.promise(async () => {
        const pid = machine.daemonPid() ?? 0
        const client = await machine.client()
        const inFlight = client("POST", "/v1/version/check")
        await until("the request is in flight", async () => registry.waiting.length > 0)
        process.kill(pid, "SIGTERM")
        await until("no new connection is taken", () =>
          request(`${machine.daemonUrl()}/health`).then(
            () => false,
            () => true,
          ),
        )
        assert.ok(machine.processes().includes(pid), "it waits for the request")
        for (const answer of registry.waiting) answer()
        const answer = await inFlight
        assert.equal(answer.status, 200, answer.text)
        assert.equal(answer.json<{ latestVersion: string }>().latestVersion, "2.1.0")
        await until("it has ended", async () => !machine.processes().includes(pid))
      })
    }),
  LIMIT,
)

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

it.scopedLive(
  "a master password of digits starts the daemon",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({
        start: false,
        initEnv: { WAIAAS_MASTER_PASSWORD: "0123456789" },
      })
      yield* Effect.promise(async () => {
        await machine.mustWaiaas(["start", "--background"], { env: { WAIAAS_MASTER_PASSWORD: "0123456789" } })
        const agent = (await machine.api("POST", "/v1/agents", { name: "alice" })).json<{ id: string }>()
        assert.equal((await machine.api("POST", `/v1/agents/${agent.id}/sign`, { message: "x" })).status, 200)
      })
    }),
  LIMIT,
)
