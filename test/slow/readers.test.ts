/** A program that reads the database in a transaction, on a whole machine. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { describe, it } from "vitest"
import { expectStands, expectTold, newRelease, slowWorld } from "./support.ts"

const world = slowWorld()
const sqlite = createRequire(import.meta.url).resolve("better-sqlite3")

/** As `sqlite3` in a transaction: it stays until it is ended. */
const reader = async (database: string) => {
  const code = `const db = new (require(${JSON.stringify(sqlite)}))(${JSON.stringify(database)})
    db.exec("BEGIN"); db.prepare("SELECT * FROM agents").all(); console.log("ready"); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] })
  await new Promise((resolve) => child.stdout.once("data", resolve))
  return { pid: child.pid ?? 0, end: () => child.kill("SIGKILL") }
}

describe.runIf(existsSync("/proc/locks"))("a program in a transaction of the database", () => {
  it("keeps an upgrade from beginning while the daemon serves, and delays no stop", async () => {
    const place = await world.serving()
    const { machine, env } = place
    const { pid, end } = await reader(join(machine.dataDir, "data/waiaas.db"))
    try {
      // What it does not see makes the log grow.
      const kept = JSON.parse(
        (await machine.mustWaiaas(["agent", "create", "kept", "--json"], { env })).stdout,
      )
      const daemon = machine.daemonPid()
      for (const args of [["upgrade"], ["upgrade", "--check"]]) {
        const refused = await machine.waiaas(args, { env, timeoutMs: 60_000 })
        expectTold(refused, [4], new RegExp(`\\(process ${pid}\\)`))
        assert.match(refused.stderr, new RegExp(`kill ${pid}`))
      }
      assert.equal(machine.daemonPid(), daemon)
      const { ms } = await machine.mustWaiaas(["stop"], { env })
      assert.ok(ms < 3000, `the stop took ${ms} ms`)
      await machine.mustWaiaas(["start", "--background"], { env })
      assert.match((await machine.mustWaiaas(["agent", "list"], { env })).stdout, new RegExp(kept.id))
    } finally {
      end()
    }
    await machine.mustWaiaas(["upgrade"], { env, timeoutMs: 120_000 })
    await expectStands(place, newRelease)
  })
})
