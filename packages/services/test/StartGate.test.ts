/** Which starts have the data, and which wait, go on as other code, or end. */
import { assert, describe, test } from "@effect/vitest"
import { packagePaths } from "@waiaas/domain/Install"
import type { Run } from "@waiaas/domain/JournalRecord"
import { Recover } from "@waiaas/services/Recover"
import { RunLocks } from "@waiaas/services/RunLocks"
import { StartGate } from "@waiaas/services/StartGate"
import { startDaemon } from "@waiaas/services/testing/SimulatedDaemon"
import {
  database,
  dataDir,
  hidden,
  install,
  NEW,
  OLD,
  writeFile,
} from "@waiaas/services/testing/SimulatedPackage"
import { launch } from "@waiaas/services/testing/SimulatedProduct"
import { SimulatedProcess, type World } from "@waiaas/services/testing/SimulatedWorld"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { cutOff, facts, machine, mustRun, swapped } from "./machine.ts"

const MINUTE = 60_000

/** Lets a start of that code go on until it serves, has ended, or virtual milliseconds are over. */
const startAndWait = (world: World, packageDir: string, limit = 30_000) => {
  const pid = startDaemon(world, packageDir)
  const find = () => world.processes.find((process) => process.pid === pid)
  const over = world.time + limit
  world.after(limit, () => {})
  world.run(() => find()?.serving != null || find()?.alive !== true || world.time >= over)
  const { alive, serving, version } = find() ?? {}
  return { alive, serving, version }
}

/** Somebody carries the run on, and says nothing more. */
const keepAlive = (world: World) => {
  const lock = `${dataDir}/upgrade/run.lock`
  writeFile(world.disk, lock, "", 0o600)
  const code = { version: OLD, packageDir: install.packageDir }
  const other = new SimulatedProcess(world, world.newPid(), "command", code)
  world.processes.push(other)
  world.locks.set(lock, other)
}

/** A machine whose migrated, committed upgrade was cut off before anything was tidied up. */
const committed = () => {
  const world = machine()
  mustRun(
    world,
    Effect.zipRight(cutOff({ phase: "restart", daemon: facts, committed: true }), swapped(world)),
  )
  writeFile(world.disk, database, JSON.stringify({ schema: 5, rows: ["row"] }), 0o600)
  return world
}

describe("what is left after a commit keeps no daemon from starting:", () => {
  const obstacles: Record<string, (world: World) => void> = {
    "the command's link is root's": (world) => {
      world.judge = ({ what }) => (what.includes(install.binLink) ? "EACCES" : null)
    },
    "the install's lock is root's": (world) => {
      world.judge = ({ what }) => (what.includes(hidden.lock) ? "EACCES" : null)
    },
    "nothing of it can be removed": (world) => {
      world.judge = ({ what }) => (what.includes(hidden.outgoing(1)) ? "EACCES" : null)
    },
  }
  for (const [obstacle, put] of Object.entries(obstacles))
    for (const code of ["the retained", "the new"] as const)
      test(`${obstacle}, and ${code} code is started`, () => {
        const world = committed()
        put(world)
        const packageDir = code === "the new" ? install.packageDir : hidden.retained(OLD)
        assert.deepStrictEqual(startAndWait(world, packageDir), { alive: true, serving: "ok", version: NEW })
      })

  test("before the commit it does, since the data has to go back first", () => {
    const world = machine()
    mustRun(world, Effect.zipRight(cutOff({ phase: "migrate", daemon: facts }), swapped(world)))
    obstacles["the install's lock is root's"]?.(world)
    assert.strictEqual(startAndWait(world, hidden.retained(OLD)).alive, false)
  })

  test("so it does in a rollback whose data is not in place yet", () => {
    const world = machine()
    mustRun(world, cutOff({ kind: "rollback", phase: "aside", daemon: facts, committed: true }))
    obstacles["the install's lock is root's"]?.(world)
    assert.strictEqual(startAndWait(world, install.packageDir).alive, false)
  })
})

describe("beside a run that goes on", () => {
  test("a start is admitted until step 2 begins", () => {
    const world = machine()
    mustRun(world, cutOff({ phase: "check", daemon: facts }))
    keepAlive(world)
    assert.deepStrictEqual(startAndWait(world, install.packageDir), {
      alive: true,
      serving: "ok",
      version: OLD,
    })
  })

  test("a start waits from step 2 on, and not for ever where the run says nothing more", () => {
    const world = machine()
    mustRun(world, cutOff({ phase: "stop", daemon: facts }))
    keepAlive(world)
    const waiting = { alive: true, serving: null, version: OLD }
    assert.deepStrictEqual(startAndWait(world, install.packageDir, 10 * MINUTE), waiting)
    const daemon = world.processes.find(({ role }) => role === "daemon")
    world.run(() => daemon?.alive !== true || world.time > 40 * MINUTE)
    assert.strictEqual(daemon?.alive, false)
    assert.match(world.notes.join("\n"), /Run 1 of \/d is going on: process 1/)
  })

  test("a held daemon ends where the run says nothing more", () => {
    const world = machine()
    mustRun(world, Effect.zipRight(cutOff({ phase: "restart", daemon: facts }), swapped(world)))
    writeFile(world.disk, database, JSON.stringify({ schema: 5, rows: ["row"] }), 0o600)
    keepAlive(world)
    assert.strictEqual(startAndWait(world, install.packageDir).serving, "held")
    const daemon = world.processes.find(({ role }) => role === "daemon")
    world.run(() => daemon?.alive !== true || world.time > 40 * MINUTE)
    assert.strictEqual(daemon?.alive, false)
  })
})

test("new code does not undo itself: on a run that was cut off it goes on as the retained old code", () => {
  const world = machine()
  mustRun(world, Effect.zipRight(cutOff({ phase: "migrate", daemon: facts }), swapped(world)))
  const code = { version: NEW, packageDir: install.packageDir }
  const process = new SimulatedProcess(world, world.newPid(), "daemon", code)
  world.processes.push(process)
  let ended: Exit.Exit<unknown, unknown> | undefined
  launch(process, Effect.scoped(Effect.flatMap(StartGate, ({ admit }) => admit)), (exit) => {
    ended = exit
  })
  world.run(() => ended !== undefined)
  assert.deepStrictEqual(
    ended,
    Exit.succeed({ _tag: "BecomeOther", daemon: packagePaths(hidden.retained(OLD)).daemon }),
  )
})

describe("a run that ends between two looks of a daemon", () => {
  /** The run ends once either its liveness or its journal was looked at. */
  const endingBetween = (during: Run, after: Run) =>
    Effect.gen(function* () {
      let over = false
      const first = <A>(read: () => A) =>
        Effect.sync(() => {
          const seen = read()
          over = true
          return seen
        })
      const journal = yield* UpgradeJournal
      const locks = yield* RunLocks
      const recover = yield* Recover
      return Layer.mergeAll(
        Layer.succeed(UpgradeJournal, {
          ...journal,
          latest: first(() => Option.some(over ? after : during)),
        }),
        Layer.succeed(RunLocks, { ...locks, live: first(() => !over) }),
        Layer.succeed(Recover, { ...recover, onSight: () => Effect.dieMessage("nothing was cut off") }),
      )
    })

  test("has been committed for a held one, which opens", () => {
    const world = machine()
    const during = mustRun(world, cutOff({ phase: "restart", daemon: facts }))
    const after = { ...during, committed: true, announced: true }
    const verdict = Effect.flatMap(endingBetween(during, after), (ending) =>
      Effect.flatMap(StartGate, (gate) => gate.verdict(1)).pipe(
        Effect.provide(Layer.provide(StartGate.layer, ending)),
      ),
    )
    assert.strictEqual(mustRun(world, verdict), "opened")
  })

  test("is over for one that starts, which has the data", () => {
    const world = machine()
    const during = mustRun(world, cutOff({ phase: "stop", daemon: facts }))
    const after: Run = { ...during, ended: { _tag: "Ended", format: 1, at: 1, outcome: "old" } }
    const admission = Effect.flatMap(endingBetween(during, after), (ending) =>
      Effect.scoped(Effect.flatMap(StartGate, ({ admit }) => admit)).pipe(
        Effect.provide(Layer.provide(StartGate.layer, ending)),
      ),
    )
    assert.strictEqual(mustRun(world, admission)._tag, "Admitted")
  })
})
