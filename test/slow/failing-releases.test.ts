import assert from "node:assert/strict"
import { beforeAll, describe, it } from "vitest"
import { isCommitted, isEnded, readJournal } from "../../scripts/lib/chaos/journal.mts"
import { until } from "../support/net.mts"
import {
  expectNoTrace,
  expectStands,
  expectTold,
  health,
  newRelease,
  oldRelease,
  slowWorld,
} from "./support.ts"

const world = slowWorld({ releases: [] })

/** The planted faults of `Build.FAULT`, each as a release of its own. */
const releases = {
  migrate: "2.1.1",
  "migrate-live": "2.1.2",
  start: "2.1.3",
  "crash-loop": "2.1.4",
  activate: "2.1.5",
  "activate-live": "2.1.6",
} as const

describe("an upgrade to a release that fails", () => {
  beforeAll(async () => {
    for (const [fault, version] of Object.entries(releases)) await world.publish(version, 5, fault)
    await world.publish(newRelease.version, newRelease.schema)
  })

  it("in its migration: the rehearsal finds it, and the daemon was never stopped", async () => {
    const place = await world.serving()
    const { machine, env } = place
    const writers = await world.writers(place)
    const pid = machine.daemonPid()
    const result = await machine.waiaas(["upgrade", "--to", releases.migrate], { env, timeoutMs: 120_000 })
    expectTold(result, [1], /Nothing was changed: WAIaaS 2\.0\.0 served all along/)
    assert.equal(machine.daemonPid(), pid)
    await expectStands(place, oldRelease, await writers.stop())
    assert.deepEqual(writers.unexpected, [])
  })

  for (const [fault, what] of [
    ["migrate-live", "only in the migration of the live data"],
    ["start", "at its start"],
  ] as const)
    it(`${what}: everything is put back`, async () => {
      const place = await world.serving()
      const { machine, env } = place
      const writers = await world.writers(place)
      const result = await machine.waiaas(["upgrade", "--to", releases[fault]], { env, timeoutMs: 180_000 })
      expectTold(result, [6], /Everything was put back: WAIaaS 2\.0\.0 with its own data/)
      const journal = readJournal(machine)
      assert.ok(isEnded(journal) && !isCommitted(journal))
      const many = writers.acknowledged.length + 5
      await until("the clients write again", async () => writers.acknowledged.length >= many)
      await expectStands(place, oldRelease, await writers.stop())
      assert.deepEqual(writers.unexpected, [])
      const status = await machine.mustWaiaas(["upgrade", "--status"], { env })
      assert.match(status.stdout, /undone, 2\.0\.0 is in place\n +failed in /)
    })

  for (const [fault, code, words] of [
    ["activate", 1, /Nothing was changed: WAIaaS 2\.0\.0 served all along/],
    ["activate-live", 6, /Everything was put back: WAIaaS 2\.0\.0 with its own data/],
  ] as const)
    it(`by a migration that makes suspended agents active, undeclared (${fault}): they stay suspended`, async () => {
      const place = await world.serving()
      const { machine, env } = place
      await machine.mustWaiaas(["agent", "create", "kept", "--owner", "0xowner"], { env })
      await machine.mustWaiaas(["agent", "suspend", "kept"], { env })
      const result = await machine.waiaas(["upgrade", "--to", releases[fault]], { env, timeoutMs: 180_000 })
      expectTold(result, [code], words)
      assert.match(result.stderr, /agents\.status changed in \d+ rows? \(/)
      assert.match(result.stderr, /agents\.owner_address changed in 1 row \(kept\)/)
      const shown = (await machine.mustWaiaas(["agent", "show", "kept"], { env })).stdout
      assert.match(shown, /suspended/)
      assert.match(shown, /0xowner/)
      await expectStands(place, oldRelease)
    })

  it("again and again after the commit: nothing goes back by itself, start and status offer it, and it works", async () => {
    const place = await world.serving()
    const { machine, env } = place
    const result = await machine.waiaas(["upgrade", "--to", releases["crash-loop"]], {
      env,
      timeoutMs: 180_000,
    })
    expectNoTrace(result)
    assert.ok(result.code === 0 || result.code === 7, `exit ${result.code}: ${result.stderr}`)
    assert.ok(isCommitted(readJournal(machine)))
    const gone = () =>
      until("it crashed", async () => (await health(machine).catch(() => undefined)) === undefined, {
        timeoutMs: 30_000,
      })
    await gone()
    let said = ""
    for (let times = 0; times < 4; times++) {
      const start = await machine.waiaas(["start", "--background"], { env })
      said = start.stdout + start.stderr
      expectNoTrace(start)
      await gone()
    }
    const status = await machine.waiaas(["status"], { env })
    assert.match(`${said}${status.stdout}${status.stderr}`, /waiaas upgrade --rollback/)
    const back = await machine.waiaas(["upgrade", "--rollback", "--yes"], { env, timeoutMs: 120_000 })
    assert.equal(back.code, 0, back.stderr)
    await machine.mustWaiaas(["start", "--background"], { env })
    await expectStands(place, oldRelease, [], { aside: true })
  })
})

describe("npm beside it", () => {
  it("installs any version by hand after an upgrade, and says the truth", async () => {
    const place = await world.serving()
    const { machine, env } = place
    await machine.mustWaiaas(["upgrade", "--to", newRelease.version], { env, timeoutMs: 120_000 })
    await expectStands(place, newRelease)
    await machine.mustWaiaas(["stop"], { env })
    for (const version of [oldRelease.version, newRelease.version]) {
      await machine.installGlobal(`@waiaas/cli@${version}`)
      assert.equal((await machine.mustWaiaas(["--version"])).stdout.trim(), version)
      const listed: { dependencies: Record<string, { version: string }>; problems?: unknown } = JSON.parse(
        (await machine.npm(["ls", "--global", "--json"])).stdout,
      )
      assert.equal(listed.dependencies["@waiaas/cli"]?.version, version)
      assert.equal(listed.problems, undefined)
    }
    await machine.mustWaiaas(["start", "--background"], { env })
    await expectStands(place, newRelease)
  })

  it("an old version that was put in by hand refuses data of a newer one, and says what to do", async () => {
    const place = await world.serving()
    const { machine, env } = place
    await machine.mustWaiaas(["upgrade", "--to", newRelease.version], { env, timeoutMs: 120_000 })
    await machine.mustWaiaas(["stop"], { env })
    await machine.installGlobal(`@waiaas/cli@${oldRelease.version}`)
    const start = await machine.waiaas(["start", "--background"], { env, timeoutMs: 120_000 })
    assert.notEqual(start.code, 0)
    expectNoTrace(start)
    assert.match(start.stderr, /schema 5/)
    await machine.installGlobal(`@waiaas/cli@${newRelease.version}`)
    await machine.mustWaiaas(["start", "--background"], { env })
    await expectStands(place, newRelease)
  })
})
