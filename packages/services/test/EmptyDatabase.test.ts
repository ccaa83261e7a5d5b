/** An empty file in the place of the database, as a disk that is not mounted leaves it, is nothing to upgrade. */
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { Rollback } from "@waiaas/services/Rollback"
import { asVersion, contentOf } from "@waiaas/services/testing/SimulatedUpgrade"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerInstalled, upgrade } from "./simulated.ts"

const emptied = Effect.gen(function* () {
  const { databasePath } = yield* (yield* ConfigFile).load
  for (const suffix of ["-wal", "-shm"]) rmSync(`${databasePath}${suffix}`, { force: true })
  writeFileSync(databasePath, "")
  return databasePath
})

it.scopedLive("it is no backup of the data either, and a rollback brings the data back", () =>
  Effect.gen(function* () {
    yield* upgrade()
    const database = yield* emptied
    const { packageDir } = yield* Environment
    const backups = yield* Backup
    const before = (yield* backups.list).length
    const create = (source: "closed" | "live", path: string) =>
      backups.create({ kind: "manual", source, database: path, from: makeVersion("2.1.0"), packageDir })
    for (const source of ["closed", "live"] as const) {
      assert.include((yield* Effect.flip(create(source, database))).message, "it is empty")
      const missing = yield* Effect.flip(create(source, `${database}.none`))
      assert.match(
        missing.message,
        /it does not exist\..*if \[database\] path was changed, move the database there/,
      )
    }
    assert.strictEqual((yield* backups.list).length, before)
    yield* asVersion(
      "2.1.0",
      Effect.flatMap(Rollback, (service) =>
        Effect.flatMap(service.plan(Option.none()), (plan) =>
          service.run(plan, { restart: false, resumeSuspended: false }),
        ),
      ),
    )
    assert.deepStrictEqual((yield* contentOf(database)).names, ["alice"])
  }).pipe(Effect.provide(layerInstalled())),
)

it.scopedLive("an upgrade refuses an empty database in step 1, and makes no tables in it", () =>
  Effect.gen(function* () {
    const databasePath = yield* emptied
    const failed = yield* Effect.flip(upgrade())
    const cause = failed._tag === "RunFailed" ? failed.cause : failed
    assert.strictEqual(cause._tag, "DatabaseFailed")
    assert.match(cause.message, /it is empty.*If its disk is not mounted, mount it/)
    assert.notInclude(readFileSync(databasePath, "latin1"), "CREATE TABLE")
  }).pipe(Effect.provide(layerInstalled())),
)
