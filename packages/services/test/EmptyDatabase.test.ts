/** An empty file in the place of the database, as a disk that is not mounted leaves it, is nothing to upgrade. */
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import * as Effect from "effect/Effect"
import { layerInstalled, upgrade } from "./simulated.ts"

it.scopedLive("an upgrade refuses an empty database in step 1, and makes no tables in it", () =>
  Effect.gen(function* () {
    const { databasePath } = yield* (yield* ConfigFile).load
    for (const suffix of ["-wal", "-shm"]) rmSync(`${databasePath}${suffix}`, { force: true })
    writeFileSync(databasePath, "")
    const failed = yield* Effect.flip(upgrade())
    const cause = failed._tag === "RunFailed" ? failed.cause : failed
    assert.strictEqual(cause._tag, "DatabaseFailed")
    assert.match(cause.message, /it is empty.*If its disk is not mounted, mount it/)
    assert.notInclude(readFileSync(databasePath, "latin1"), "CREATE TABLE")
  }).pipe(Effect.provide(layerInstalled())),
)
