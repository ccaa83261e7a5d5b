/** Lessons of others about the daemon; each test is named after its lesson. */
import { strict as assert } from "node:assert"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { run } from "../../scripts/lib/run.mts"
import { request, until } from "../support/net.mts"
import { installedMachine } from "../support/scoped.mts"

/** Real machines in here take seconds. */
const LIMIT = 60_000

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
        await until("whoever comes now is sent away", () =>
          request(`${machine.daemonUrl()}/health`).then(
            ({ status }) => status === 503,
            // It came as the stop began.
            () => false,
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
