import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, describe, it } from "vitest"
import { isCommitted, isEnded, readJournal } from "../../scripts/lib/chaos/journal.mts"
import { Random } from "../../scripts/lib/chaos/random.mts"
import { until } from "../support/net.mts"
import { expectNoTrace, expectStands, newRelease, oldRelease, type Place, slowWorld } from "./support.ts"

const world = slowWorld({ upgraded: true })

/** Until a run after the one that is known begins a phase. */
const inPhase = ({ machine }: Place, phase: string, known = 0) =>
  until(
    `${phase} begins`,
    async () => {
      const { run, lines } = readJournal(machine)
      return run > known && lines.some((line) => line._tag === "PhaseBegun" && line.phase === phase)
    },
    { timeoutMs: 60_000, everyMs: 2 },
  )

describe("Ctrl-C", () => {
  for (const phase of ["check", "stop", "backup", "update", "migrate", "verify", "restart"])
    it(`in the step ${phase} is undone with exit code 130, or came too late`, async () => {
      const place = await world.serving()
      const { machine, env } = place
      const writers = await world.writers(place)
      const live = machine.spawnWaiaas(["upgrade"], { env })
      await inPhase(place, phase)
      live.child.kill("SIGINT")
      const { code } = await live.exit
      expectNoTrace({ stdout: live.stdout(), stderr: live.stderr() })
      const journal = readJournal(machine)
      assert.ok(isEnded(journal))
      if (isCommitted(journal)) assert.equal(code, 0, live.stderr())
      else {
        assert.equal(code, 130, live.stderr())
        assert.match(
          live.stderr(),
          phase === "check" ? /Nothing was changed/ : /Nothing was changed|Everything was put back/,
        )
      }
      await expectStands(place, isCommitted(journal) ? newRelease : oldRelease, await writers.stop())
      assert.deepEqual(writers.unexpected, [])
    })

  it("pressed again and again changes nothing more", async () => {
    const place = await world.serving()
    const { machine, env } = place
    const live = machine.spawnWaiaas(["upgrade"], { env })
    await inPhase(place, "migrate")
    for (let times = 0; times < 5; times++) {
      live.child.kill("SIGINT")
      live.child.kill("SIGTERM")
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const { code, signal } = await live.exit
    assert.equal(signal, null)
    const committed = isCommitted(readJournal(machine))
    assert.equal(code, committed ? 0 : 130, live.stderr())
    await expectStands(place, committed ? newRelease : oldRelease)
  })

  it("in a rollback before its commit is undone with exit code 130", async () => {
    const place = await world.serving("upgraded")
    const { machine, env } = place
    const live = machine.spawnWaiaas(["upgrade", "--rollback", "--yes"], { env })
    await inPhase(place, "check", 1)
    live.child.kill("SIGINT")
    const { code } = await live.exit
    assert.equal(code, 130, live.stderr())
    await expectStands(place, newRelease)
  })

  it("in a rollback after its commit does not stop it", async () => {
    const place = await world.serving("upgraded")
    const { machine, env } = place
    const live = machine.spawnWaiaas(["upgrade", "--rollback", "--yes"], { env })
    await inPhase(place, "restore", 1)
    live.child.kill("SIGINT")
    assert.equal((await live.exit).code, 0, live.stderr())
    await expectStands(place, oldRelease, [], { aside: true })
  })
})

/** Every step, with how long it takes at most: instants before, inside and after it are aimed at. */
const steps = {
  upgrade: { check: 3000, stop: 400, backup: 300, update: 200, migrate: 400, verify: 400, restart: 1200 },
  rollback: { check: 1000, stop: 400, aside: 300, restore: 200, update: 200, verify: 400, restart: 1200 },
} as const
const SEED = Number(process.env.WAIAAS_SEED ?? 9)

describe(`a signal at a random instant of a step, under load (WAIAAS_SEED=${SEED})`, () => {
  const load: Array<ReturnType<typeof spawn>> = []
  beforeAll(() => {
    for (let each = 0; each < 2; each++) load.push(spawn(process.execPath, ["-e", "for (;;);"]))
  })
  afterAll(() => {
    for (const child of load) child.kill("SIGKILL")
  })

  for (const kind of ["upgrade", "rollback"] as const)
    for (const [step, limit] of Object.entries(steps[kind])) {
      const random = new Random(SEED, kind, step)
      const [after, signal] = [random.next() * limit, random.pick(["SIGINT", "SIGTERM", "SIGQUIT"] as const)]
      it(`${signal} ${Math.round(after)} ms after the ${kind}'s step ${step} began: 130 before the commit, 0 after it`, async () => {
        const place = await world.serving(kind === "upgrade" ? "installed" : "upgraded")
        const { machine, env } = place
        const args = kind === "upgrade" ? ["upgrade"] : ["upgrade", "--rollback", "--yes"]
        const live = machine.spawnWaiaas(args, { env })
        await inPhase(place, step, kind === "upgrade" ? 0 : 1)
        await delay(after)
        live.child.kill(signal)
        const { code, signal: ended } = await live.exit
        const said = `${live.stdout()}${live.stderr()}`
        const journal = readJournal(machine)
        assert.ok(isEnded(journal), said)
        assert.deepEqual({ code, ended }, { code: isCommitted(journal) ? 0 : 130, ended: null }, said)
        expectNoTrace({ stdout: live.stdout(), stderr: live.stderr() })
        if (isCommitted(journal)) {
          assert.match(said, kind === "upgrade" ? /^Upgraded WAIaaS/m : /^Rolled back/m)
          assert.doesNotMatch(said, /^error: /m)
        } else assert.match(live.stderr(), /^next: /m)
        const isOld = isCommitted(journal) === (kind === "rollback")
        await expectStands(place, isOld ? oldRelease : newRelease, [], {
          aside: kind === "rollback" && isOld,
        })
      })
    }
})

describe("the end of the ssh session", () => {
  for (const phase of ["check", "migrate", "restart"])
    it(`in the step ${phase}: SIGHUP and closed pipes, and the upgrade goes on to its end`, async () => {
      const place = await world.serving()
      const { machine, env } = place
      const live = machine.spawnWaiaas(["upgrade"], { env })
      await inPhase(place, phase)
      live.child.stdout?.destroy()
      live.child.stderr?.destroy()
      live.child.kill("SIGHUP")
      const { code, signal } = await live.exit
      assert.deepEqual({ code, signal }, { code: 0, signal: null })
      await expectStands(place, newRelease)
      const history = await machine.mustWaiaas(["upgrade", "--status"], { env })
      assert.match(history.stdout, /2\.1\.0 is in place/)
    })
})
