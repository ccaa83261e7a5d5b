/** `waiaas init` where there was one before: it makes what is missing of the small things, and no second database. */
import { strict as assert } from "node:assert"
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { contentOf } from "@waiaas/services/testing/SimulatedUpgrade"
import * as Effect from "effect/Effect"
import { layerPlatform } from "../../packages/services/test/support.ts"
import { dataDirectory } from "../support/daemon.mts"

const remove = (database: string) => {
  for (const suffix of ["", "-wal", "-shm"]) rmSync(`${database}${suffix}`, { force: true })
}
const schemaOf = (database: string) =>
  Effect.map(contentOf(database), ({ schema }) => schema).pipe(Effect.provide(layerPlatform()))

it.scopedLive("a database that is missing, as on a disk that is not mounted, is not made anew", () =>
  Effect.gen(function* () {
    const { init, serve, database, root } = yield* dataDirectory()
    remove(database)
    for (const config of [true, false]) {
      if (!config) rmSync(join(root, "config.toml"))
      const error = yield* Effect.flip(init)
      assert.equal(error._tag, "DatabaseFailed")
      assert.match(error.message, /it does not exist\. If its disk is not mounted, mount it/)
      assert.ok(!existsSync(database))
    }
    writeFileSync(join(root, "config.toml"), "", { mode: 0o600 })
    const refused = yield* Effect.flip(serve)
    assert.equal(refused._tag, "DatabaseFailed")
    assert.doesNotMatch(`${refused.message} ${"next" in refused ? refused.next : ""}`, /waiaas init/)
  }),
)

it.scopedLive("an empty file in the place of the database is no database to start with", () =>
  Effect.gen(function* () {
    const { serve, database } = yield* dataDirectory()
    remove(database)
    writeFileSync(database, "", { mode: 0o600 })
    const refused = yield* Effect.flip(serve)
    assert.equal(refused._tag, "DatabaseFailed")
    assert.match(refused.message, /it is empty.*If its disk is not mounted, mount it/)
    assert.ok(!readFileSync(database, "latin1").includes("CREATE TABLE"), "no tables were made in it")
  }),
)

it.scopedLive("where backups are, a keystore that is gone is not made anew, wherever the database was", () =>
  Effect.gen(function* () {
    const { init, database, root } = yield* dataDirectory()
    mkdirSync(join(root, "backups", "pre-upgrade-2.0.0-20261123T214620Z-000001"), { recursive: true })
    for (const path of ["config.toml", "api.token", "keystore"]) rmSync(join(root, path), { recursive: true })
    remove(database)
    const error = yield* Effect.flip(init)
    assert.equal(error._tag, "KeystoreDamaged")
    assert.match(error.message, /holds no master\.json, and .*backups has 1 backup of data/)
    assert.ok("next" in error && error.next.includes("from your own copy"))
    assert.deepEqual([existsSync(join(root, "keystore")), existsSync(database)], [false, false])
  }),
)

it.scopedLive("an older schema is not migrated, and a removed token is made anew", () =>
  Effect.gen(function* () {
    const { init, database, root } = yield* dataDirectory({ schema: 3 })
    const token = readFileSync(join(root, "api.token"), "utf8")
    rmSync(join(root, "api.token"))
    assert.equal((yield* init).created, false)
    assert.equal(yield* schemaOf(database), 3)
    assert.notEqual(readFileSync(join(root, "api.token"), "utf8"), token)
  }),
)

it.scopedLive("an init that was cut off before the keystore stood is finished", () =>
  Effect.gen(function* () {
    const { init, database, root } = yield* dataDirectory()
    for (const path of ["config.toml", "api.token", "keystore"]) rmSync(join(root, path), { recursive: true })
    remove(database)
    // Cut off between the file and its first table.
    writeFileSync(database, "", { mode: 0o600 })
    assert.equal((yield* init).created, true)
    assert.equal(yield* schemaOf(database), LATEST_SCHEMA)
    assert.equal((yield* init).created, false)
  }),
)

it.scopedLive("while a run is not over, nothing is initialised", () =>
  Effect.gen(function* () {
    const { init, cutOffRun, root } = yield* dataDirectory()
    yield* cutOffRun
    rmSync(join(root, "api.token"))
    assert.equal((yield* Effect.flip(init))._tag, "UnfinishedRun")
    assert.ok(!existsSync(join(root, "api.token")))
  }),
)
