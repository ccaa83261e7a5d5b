/** A power cut at every instant of a backup, with every subset of what was not synced lost: what is there is whole. */
import { assert, describe, test } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { crashesOf } from "@waiaas/services/testing/SimulatedCrash"
import { type DiskState, idOf } from "@waiaas/services/testing/SimulatedDiskState"
import { database, install, installed, OLD } from "@waiaas/services/testing/SimulatedPackage"
import { launch, type Services } from "@waiaas/services/testing/SimulatedProduct"
import { SimulatedProcess, World } from "@waiaas/services/testing/SimulatedWorld"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** Runs a program as a command on this disk. */
const run = <A, E>(
  disk: DiskState,
  program: Effect.Effect<A, E, Services>,
  changed: (world: World) => void = () => {},
): A => {
  const world = new World({ disk, survivors: [], acknowledged: [], boot: "1" })
  const code = { version: OLD, packageDir: install.packageDir }
  const process = new SimulatedProcess(world, world.newPid(), "command", code)
  world.processes.push(process)
  let ended: Exit.Exit<A, E> | undefined
  world.changed = () => changed(world)
  launch(process, program, (exit) => {
    ended = exit
  })
  world.run(() => ended !== undefined)
  if (ended === undefined || Exit.isFailure(ended)) throw new Error(String(ended))
  return ended.value
}

const create = (source: "closed" | "live") =>
  Effect.flatMap(Backup, (backups) =>
    backups.create({
      kind: "manual",
      source,
      database,
      from: makeVersion(OLD),
      packageDir: install.packageDir,
    }),
  )

/** Reads every backup that is there whole. */
const verifyAll = Effect.gen(function* () {
  const backups = yield* Backup
  const all = yield* backups.list
  for (const { name, problem } of all) {
    assert.isNull(problem, name)
    yield* backups.verify(name)
  }
  return all.length
})

describe("a power cut at every instant", () => {
  for (const source of ["live", "closed"] as const)
    test(`of a backup of a ${source === "live" ? "database in use" : "closed database"} leaves it whole or not there`, () => {
      const left = new Map<number, DiskState>()
      run(installed(["row 1", "row 2"]).state, create(source), (world) => {
        for (const [, disk] of crashesOf(world.disk.state, 6)) left.set(idOf(disk.root), disk)
      })
      const found = [...left.values()].map((disk) => run(disk, verifyAll))
      assert.deepStrictEqual(new Set(found), new Set([0, 1]))
      assert.isAbove(found.length, 5)
    })
})
