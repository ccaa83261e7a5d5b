/** Who may act on a commit that is seen: only who knows that it is durable. */
import { assert, describe, test } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { Recover } from "@waiaas/services/Recover"
import { StartGate } from "@waiaas/services/StartGate"
import {
  commandIn,
  database,
  dataDir,
  install,
  installed,
  NEW,
  OLD,
} from "@waiaas/services/testing/SimulatedPackage"
import { launch, type Services } from "@waiaas/services/testing/SimulatedProduct"
import { SimulatedProcess, World } from "@waiaas/services/testing/SimulatedWorld"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"

const runLock = `${dataDir}/upgrade/run.lock`
const commitFile = `${dataDir}/upgrade/journal/000001.committed`

const machine = () =>
  new World({ disk: installed(["row"]).state, survivors: [], acknowledged: ["row"], boot: "0" })

const processOf = (world: World) => {
  const process = new SimulatedProcess(
    world,
    world.newPid(),
    "command",
    commandIn(world.disk) ?? { version: NEW, packageDir: install.packageDir },
  )
  world.processes.push(process)
  return process
}

/** Runs a program as a command of this machine. */
const mustRun = <A, E>(world: World, program: Effect.Effect<A, E, Services>): A => {
  const process = processOf(world)
  let ended: Exit.Exit<A, E> | undefined
  launch(process, program, (exit) => {
    ended = exit
    world.kill(process)
  })
  world.run(() => ended !== undefined)
  if (ended === undefined || Exit.isFailure(ended)) throw new Error(String(ended))
  return ended.value
}

/** A run whose new daemon is held, up to its commit. */
const committed = Effect.gen(function* () {
  const journal = yield* UpgradeJournal
  const run = yield* journal.begin({
    kind: "upgrade",
    from: makeVersion(OLD),
    to: makeVersion(NEW),
    dataDir,
    databasePath: database,
    install,
    daemon: null,
    restart: true,
    pid: 1,
  })
  return yield* journal.commit(yield* journal.append(run, { _tag: "Starting", version: makeVersion(NEW) }))
})

const verdict = Effect.flatMap(StartGate, (gate) => gate.verdict(1))

describe("a commit that is seen", () => {
  test("opens no held daemon while its upgrader lives: the announcement does", () => {
    const world = machine()
    world.disk.open(runLock, { create: true, truncate: false, mode: 0o600 })
    world.locks.set(runLock, processOf(world))
    const word = mustRun(
      world,
      Effect.gen(function* () {
        const run = yield* committed
        const held = yield* Effect.fork(verdict)
        yield* Effect.sleep("5 seconds")
        assert.isTrue(Option.isNone(yield* Fiber.poll(held)))
        yield* (yield* UpgradeJournal).announce(run)
        return yield* Fiber.join(held)
      }),
    )
    assert.strictEqual(word, "opened")
  })

  test("is written anew by a held daemon whose upgrader died before it announced it", () => {
    const world = machine()
    mustRun(world, committed)
    const before = world.disk.lookUp(commitFile).ino
    assert.strictEqual(mustRun(world, verdict), "opened")
    assert.notStrictEqual(world.disk.lookUp(commitFile).ino, before)
  })

  test("is written anew by a recovery, which then goes forward", () => {
    const world = machine()
    mustRun(world, committed)
    const before = world.disk.lookUp(commitFile).ino
    const recovered = mustRun(
      world,
      Effect.flatMap(Recover, ({ onSight }) => onSight({ startDaemon: false })),
    )
    const { announced, ended } = Option.getOrThrow(recovered)
    assert.deepStrictEqual([announced, ended?.outcome], [true, "new"])
    assert.notStrictEqual(world.disk.lookUp(commitFile).ino, before)
  })

  test("holds a recovery up where it cannot be written anew; the next one goes forward", () => {
    const world = machine()
    mustRun(world, committed)
    world.judge = ({ what }) =>
      what === `rename ${commitFile.replace("0000", ".0000")}.tmp ${commitFile}` ? "EIO" : null
    const onSight = Effect.flatMap(Recover, (recover) => recover.onSight({ startDaemon: false }))
    const paused = mustRun(world, Effect.flip(onSight))
    assert.strictEqual(paused._tag, "RecoveryPaused")
    world.judge = null
    assert.isTrue(Option.getOrThrow(mustRun(world, onSight)).announced)
  })
})
