import assert from "node:assert/strict"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { describe, it } from "vitest"
import { readJournal } from "../../scripts/lib/chaos/journal.mts"
import { request, until } from "../support/net.mts"
import {
  expectNoTrace,
  expectStands,
  expectTold,
  newRelease,
  oldRelease,
  type Place,
  slowWorld,
} from "./support.ts"

const world = slowWorld()
const holder =
  /Another process works here: .*process \d+, since \d{4}-\d\d-\d\dT|is going on: process \d+, since \d{4}-/

const inPhase = ({ machine }: Place, phase: string) =>
  until(
    `${phase} begins`,
    async () => readJournal(machine).lines.some((line) => line._tag === "PhaseBegun" && line.phase === phase),
    { timeoutMs: 120_000, everyMs: 5 },
  )

describe("at the same time", () => {
  it("50 upgrades: one goes on, the others say who holds it and since when", {
    timeout: 400_000,
  }, async () => {
    const place = await world.serving()
    const { machine, env } = place
    const writers = await world.writers(place)
    const results = await Promise.all(
      Array.from({ length: 50 }, () => machine.waiaas(["upgrade"], { env, timeoutMs: 300_000 })),
    )
    const upgraded = results.filter(({ code }) => code === 0)
    // Somebody so slow that the upgrade was over when it began finds nothing to do.
    const winners = upgraded.filter(({ stdout }) => /^Upgraded WAIaaS/m.test(stdout))
    const late = upgraded.filter(({ stdout }) => /^Already up to date/m.test(stdout))
    assert.equal(winners.length, 1)
    assert.equal(winners.length + late.length, upgraded.length)
    const others = results.filter(({ code }) => code !== 0)
    for (const other of others) expectTold(other, [4])
    const named = others.filter(({ stderr }) => holder.test(stderr))
    const overtaken = others.filter(({ stderr }) => /the installed package is 2\.1\.0 by now/.test(stderr))
    assert.equal(
      named.length + overtaken.length,
      others.length,
      others.find((each) => !named.includes(each))?.stderr,
    )
    assert.ok(named.length > 0)
    await expectStands(place, newRelease, await writers.stop())
    assert.equal(readJournal(machine).run, 1)
  })

  it("start during an upgrade waits for its end or says that it runs, and the upgrade ends well", async () => {
    const place = await world.serving()
    const { machine, env } = place
    const upgrade = machine.spawnWaiaas(["upgrade"], { env })
    const codes: Array<number | null> = []
    let ended = false
    void upgrade.exit.then(() => {
      ended = true
    })
    while (!ended) {
      const start = await machine.waiaas(["start", "--background"], { env })
      expectNoTrace(start)
      assert.equal(start.code, 0, start.stderr)
      codes.push(start.code)
      await sleep(100)
    }
    assert.equal((await upgrade.exit).code, 0, upgrade.stderr())
    assert.ok(codes.length > 2)
    await expectStands(place, newRelease)
  })

  it("a start in the background is admitted in step 1, and the upgrade ends with the new version serving", async () => {
    const place = await world.place()
    const { machine, env } = place
    const upgrade = machine.spawnWaiaas(["upgrade"], { env })
    await inPhase(place, "check")
    const start = await machine.waiaas(["start", "--background"], { env })
    assert.equal(start.code, 0, start.stderr)
    assert.match(start.stdout, /WAIaaS 2\.0\.0 serves/)
    assert.equal((await upgrade.exit).code, 0, upgrade.stderr())
    await expectStands(place, newRelease)
  })

  it("a start in the background waits from step 2 on, says for whom, and then starts", async () => {
    const place = await world.place()
    const { machine, env } = place
    // With the daemon stopped, the upgrade starts none.
    const upgrade = machine.spawnWaiaas(["upgrade"], { env })
    await inPhase(place, "stop")
    process.kill(upgrade.pid, "SIGSTOP")
    const start = machine.spawnWaiaas(["start", "--background"], { env })
    await start.says(/waiting for waiaas upgrade \(process \d+, since 20/)
    process.kill(upgrade.pid, "SIGCONT")
    assert.equal((await start.exit).code, 0, start.stderr())
    assert.match(start.stdout(), /WAIaaS 2\.1\.0 serves/)
    assert.equal((await upgrade.exit).code, 0, upgrade.stderr())
  })

  it("backup create during an upgrade: refused, naming the upgrade", async () => {
    const place = await world.serving()
    const { machine, env } = place
    const upgrade = machine.spawnWaiaas(["upgrade"], { env })
    await inPhase(place, "check")
    expectTold(await machine.waiaas(["backup", "create"], { env }), [4], holder)
    await inPhase(place, "migrate")
    const result = await machine.waiaas(["backup", "create"], { env })
    // The upgrade may be over by now.
    if (result.code !== 0) expectTold(result, [4], holder)
    assert.equal((await upgrade.exit).code, 0, upgrade.stderr())
    await machine.mustWaiaas(["backup", "create"], { env })
    const backups = readdirSync(join(machine.dataDir, "backups"))
    assert.equal(new Set(backups.map((name) => name.slice(-6))).size, backups.length)
    await expectStands(place, newRelease)
  })

  it("two data directories on one install: one goes on, the other says why it does not, and nothing of either is lost", async () => {
    const place = await world.serving()
    const { machine, env } = place
    const second = join(machine.home, "second")
    const port = await machine.freePort()
    const other = { WAIAAS_DATA_DIR: second, WAIAAS_DAEMON_PORT: String(port) }
    await machine.mustWaiaas(["init"], { env: other })
    await machine.mustWaiaas(["start", "--background"], { env: other })
    const made = await machine.mustWaiaas(["agent", "create", "of-the-second"], { env: other })
    assert.match(made.stdout, /of-the-second/)

    const [first, last] = await Promise.all([
      machine.waiaas(["upgrade"], { env, timeoutMs: 120_000 }),
      machine.waiaas(["upgrade"], { env: other, timeoutMs: 120_000 }),
    ])
    const codes = [first.code, last.code].sort()
    assert.deepEqual(codes, [0, 4], `${first.stderr}\n${last.stderr}`)
    const loser = first.code === 4 ? first : last
    expectTold(loser, [4], holder)
    assert.match(loser.stderr, first.code === 4 ? /second/ : /\.waiaas/)

    // The other one migrates at its next start.
    for (const each of [env, other]) {
      await machine.waiaas(["stop"], { env: each })
      await machine.mustWaiaas(["start", "--background"], { env: each })
    }
    await expectStands(place, newRelease)
    const health = await request(`http://127.0.0.1:${port}/health`)
    assert.equal(health.json<{ schemaVersion: number }>().schemaVersion, newRelease.schema)
    assert.match((await machine.mustWaiaas(["agent", "list"], { env: other })).stdout, /of-the-second/)
    await machine.mustWaiaas(["stop"], { env: other })
  })

  it("while a run is not committed, another data directory does not start on the same install", async () => {
    const place = await world.serving()
    const { machine, env } = place
    const other = {
      WAIAAS_DATA_DIR: join(machine.home, "second"),
      WAIAAS_DAEMON_PORT: String(await machine.freePort()),
    }
    await machine.mustWaiaas(["init"], { env: other })
    const upgrade = machine.spawnWaiaas(["upgrade"], { env })
    await inPhase(place, "backup")
    const start = await machine.waiaas(["start", "--background"], { env: other, timeoutMs: 120_000 })
    assert.equal((await upgrade.exit).code, 0, upgrade.stderr())
    expectTold(start, [4], /Run 1 of .*\.waiaas/)
    await machine.mustWaiaas(["start", "--background"], { env: other })
    await machine.mustWaiaas(["stop"], { env: other })
    await expectStands(place, newRelease)
  })

  it("an upgrade beside one that was cut off recovers it first, and then does its own", async () => {
    const place = await world.serving()
    const { machine, env } = place
    const cut = machine.spawnWaiaas(["upgrade"], { env })
    await inPhase(place, "check")
    process.kill(-cut.pid, "SIGKILL")
    await cut.exit
    const again = await machine.mustWaiaas(["upgrade"], { env, timeoutMs: 120_000 })
    assert.match(again.stderr, /recovered first/)
    await expectStands(place, newRelease)
    assert.equal(oldRelease.schema, 4)
  })
})
