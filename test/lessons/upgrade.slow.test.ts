/** Lessons of others about the upgrade itself; each test is named after its lesson. */
import { strict as assert } from "node:assert"
import { spawn } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { release } from "../support/releases.mts"
import { databaseOf, installedMachine, realRegistry } from "../support/scoped.mts"
import { query } from "../support/sqlite.mts"

/** Real machines in here take seconds. */
const LIMIT = 60_000

it.scopedLive(
  "a foreground start never returns",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false, daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const started = await machine.mustWaiaas(["start", "--background"], { timeoutMs: 30_000 })
        assert.match(started.stdout, /serves on/)
        const pid = machine.daemonPid()
        assert.deepEqual(machine.processes(), [pid], "the command is gone, the daemon is not")
        assert.equal((await machine.api("GET", "/health")).status, 200)
        // In the foreground it is one process that stays, with the terminal's own life.
        await machine.mustWaiaas(["stop"])
        const live = machine.spawnWaiaas(["start"])
        await live.says(/is ready on/)
        assert.equal(machine.daemonPid(), live.pid)
        process.kill(live.pid, "SIGTERM")
        assert.deepEqual(await live.exit, { code: 0, signal: null })
      })
    }),
  LIMIT,
)

it.scopedLive(
  "a stale PID kills an unrelated process",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const path = join(machine.dataDir, "daemon.json")
        const facts = JSON.parse(readFileSync(path, "utf8"))
        process.kill(facts.pid, "SIGKILL")
        // The pid of the dead daemon belongs to somebody else now.
        const bystander = spawn("/bin/sleep", ["600"])
        const died = new Promise<string>((resolve) =>
          bystander.once("exit", (_, signal) => resolve(`died of ${signal}`)),
        )
        try {
          writeFileSync(path, JSON.stringify({ ...facts, pid: bystander.pid }), { mode: 0o600 })
          const status = JSON.parse((await machine.mustWaiaas(["--json", "status"])).stdout)
          assert.equal(status.daemon, "Stopped")
          assert.match((await machine.mustWaiaas(["stop"])).stdout, /does not run/)
          await machine.mustWaiaas(["upgrade", "--from", await release("2.1.0", 5)])
          assert.equal(await Promise.race([died, Promise.resolve("lives")]), "lives")
          assert.equal(bystander.exitCode, null)
          assert.equal(process.kill(bystander.pid ?? 0, 0), true)
        } finally {
          bystander.kill("SIGKILL")
        }
      })
    }),
  LIMIT,
)

it.scopedLive(
  "no lock: two upgrades at once",
  () =>
    Effect.gen(function* () {
      const registry = yield* realRegistry(["2.1.0", 5])
      const machine = yield* installedMachine({ registryUrl: registry.url, daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const first = machine.spawnWaiaas(["upgrade"])
        await first.says(/\[1\/7\]/)
        const second = await machine.waiaas(["upgrade"])
        assert.equal(second.code, 4, second.stderr)
        assert.match(second.stderr, /Another process works here: upgrade( of .*)?, process \d+/)
        assert.match(second.stderr, /next: waiaas upgrade --status/)
        assert.deepEqual(await first.exit, { code: 0, signal: null }, first.stderr())
        const health = (await machine.api("GET", "/health")).json<Record<string, unknown>>()
        assert.deepEqual([health.version, health.schemaVersion], ["2.1.0", 5])
        const runs = JSON.parse((await machine.mustWaiaas(["--json", "upgrade", "--status"])).stdout).runs
        assert.equal(runs.length, 1)
      })
      assert.deepEqual(query(databaseOf(machine), "SELECT count(*) AS n FROM schema_version"), [{ n: 5 }])
    }),
  LIMIT,
)
