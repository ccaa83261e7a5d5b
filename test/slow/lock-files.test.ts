/** Lock files that somebody removes while they are held: whoever lives keeps what it has. */
import assert from "node:assert/strict"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "vitest"
import { readJournal } from "../../scripts/lib/chaos/journal.mts"
import { until } from "../support/net.mts"
import { expectStands, expectTold, newRelease, oldRelease, type Place, slowWorld } from "./support.ts"

const world = slowWorld()

const remove = ({ machine }: Place, ...names: ReadonlyArray<string>) => {
  for (const name of names) rmSync(join(machine.dataDir, "upgrade", name))
}

describe("the data lock removed while the daemon serves", () => {
  it("start, backup, upgrade and rollback see the daemon, and no acknowledged write is lost", {
    timeout: 300_000,
  }, async () => {
    const place = await world.serving()
    const { machine, env } = place
    const pid = machine.daemonPid()
    const writers = await world.writers(place)
    remove(place, "data.lock", "data.holder.json")
    const started = await machine.mustWaiaas(["start", "--background"], { env })
    assert.ok(started.stdout.includes(`runs already: process ${pid}`), started.stdout)
    await machine.mustWaiaas(["backup", "create"], { env })
    const upgraded = await machine.mustWaiaas(["upgrade"], { env, timeoutMs: 120_000 })
    const text = `${upgraded.stdout}${upgraded.stderr}`
    assert.doesNotMatch(text, /it was not running/)
    assert.match(text, /\[2\/7\] Stop the daemon\n\s+done in [\d.]+ s: stopped/)
    await writers.stop()
    await expectStands(place, newRelease, writers.acknowledged)
    const upgradedPid = machine.daemonPid()
    remove(place, "data.lock")
    const back = await machine.mustWaiaas(["upgrade", "--rollback", "--yes"], { env, timeoutMs: 120_000 })
    assert.doesNotMatch(`${back.stdout}${back.stderr}`, /it was not running/)
    assert.notEqual(machine.daemonPid(), upgradedPid)
    assert.throws(() => process.kill(upgradedPid ?? 0, 0))
  })
})

describe("every lock removed in the middle of an upgrade", () => {
  it("a second upgrade and a start leave the data to the first one, which comes to its end", {
    timeout: 300_000,
  }, async () => {
    const place = await world.serving()
    const { machine, env } = place
    const first = machine.spawnWaiaas(["upgrade"], { env })
    await until(
      "it is in step 1",
      async () => readJournal(machine).lines.some((line) => line._tag === "PhaseBegun"),
      { timeoutMs: 60_000, everyMs: 5 },
    )
    remove(place, "run.lock")
    rmSync(join(machine.prefix, "lib/node_modules/.waiaas/install.lock"))
    rmSync(join(machine.dataDir, "upgrade/tool.lock"), { force: true })
    const second = await machine.waiaas(["upgrade"], { env, timeoutMs: 120_000 })
    expectTold(second, [4], /Another process works here|is going on/)
    const ended = await first.exit
    assert.equal(ended.code, 0, `${first.stdout()}${first.stderr()}`)
    await expectStands(place, newRelease)
    assert.notEqual(newRelease.version, oldRelease.version)
  })
})
