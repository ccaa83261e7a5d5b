/** Whose data a start migrates, where the data do not say it: the backup names that version, and a rollback goes back to it. */
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, it } from "@effect/vitest"
import { prepareDatabase } from "@waiaas/daemon/PrepareDatabase"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { Compatibility } from "@waiaas/services/Compatibility"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { layerDatabase } from "@waiaas/services/Database"
import { migrate } from "@waiaas/services/Migrator"
import { migrations } from "@waiaas/services/migrations/index"
import { Environment } from "@waiaas/services/platform/Environment"
import { writePackage } from "@waiaas/services/testing/SimulatedInstall"
import * as Effect from "effect/Effect"
import { layerInstallation } from "../../../test/support/layers.mts"

const fixture = Effect.gen(function* () {
  const { databasePath: database } = yield* (yield* ConfigFile).load
  const environment = yield* Environment
  const backups = yield* Backup
  /** A backup for 2.0.5, which migrated the data later on but never came to serve. */
  const backUp = (kind: "pre-migrate" | "manual") =>
    backups.create({
      kind,
      source: "closed",
      database,
      from: makeVersion("1.7.0"),
      to: makeVersion("2.0.5"),
      packageDir: environment.packageDir,
    })
  const toSchema = (schema: number) =>
    migrate(database, migrations.slice(0, schema)).pipe(
      Effect.provide(layerDatabase({ path: database, create: false })),
    )
  const packageDir = `${environment.cwd}/packages/2.1.0`
  yield* writePackage(yield* FileSystem.FileSystem, packageDir, { version: "2.1.0", schema: 5 })
  const writer = prepareDatabase(database).pipe(
    Effect.provideService(Environment, { ...environment, version: makeVersion("2.1.0"), packageDir }),
    Effect.provide(Compatibility.layerOf(rangeFor(5))),
    Effect.zipRight(backups.list),
    Effect.map((all) => all.at(-1)?.manifest?.from),
  )
  return { backUp, toSchema, writer }
})
const old = layerInstallation({
  installed: { version: "1.7.0", schema: 3 },
  releases: [{ version: "2.1.0", schema: 5 }],
})

it.scopedLive("it is the first release of the schema", () =>
  Effect.gen(function* () {
    const { writer } = yield* fixture
    assert.strictEqual(yield* writer, "1.7.0")
  }).pipe(Effect.provide(old)),
)

it.scopedLive(
  "it is the version that a start migrated them for, where they are past that backup's schema",
  () =>
    Effect.gen(function* () {
      const { backUp, toSchema, writer } = yield* fixture
      yield* backUp("pre-migrate")
      yield* toSchema(4)
      assert.strictEqual(yield* writer, "2.0.5")
    }).pipe(Effect.provide(old)),
)

it.scopedLive("a backup whose migration never happened, or that the operator made, says nothing of it", () =>
  Effect.gen(function* () {
    const { backUp, toSchema, writer } = yield* fixture
    yield* backUp("manual")
    yield* toSchema(4)
    yield* backUp("pre-migrate")
    assert.strictEqual(yield* writer, "1.8.0")
  }).pipe(Effect.provide(old)),
)
