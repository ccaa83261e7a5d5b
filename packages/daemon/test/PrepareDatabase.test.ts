/** The backup that a start makes before it migrates: whose data it is, and when an earlier one serves again. */
import { readFileSync, writeFileSync } from "node:fs"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { prepareDatabase } from "@waiaas/daemon/PrepareDatabase"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import { makeVersion } from "@waiaas/domain/Version"
import { BACKUP_CREATE, Backup } from "@waiaas/services/Backup"
import { Compatibility } from "@waiaas/services/Compatibility"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { layerDatabase } from "@waiaas/services/Database"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { SimulatedInstall, writePackage } from "@waiaas/services/testing/SimulatedInstall"
import { contentOf } from "@waiaas/services/testing/SimulatedUpgrade"
import { insertAgent } from "@waiaas/services/testing/TestDatabase"
import { recordWrittenBy, WRITTEN_BY } from "@waiaas/services/WrittenBy"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { layerInstallation } from "../../../test/support/layers.mts"
import { keysIn } from "../../../test/support/sqlite.mts"

/** Runs as the code of `version`, from a package of its own. */
const as = <A, E, R>(version: string, act: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const environment = yield* Environment
    const { releases } = yield* SimulatedInstall
    const packageDir = `${environment.cwd}/packages/${version}`
    const schema = releases.find((release) => release.version === version)?.schema ?? 5
    yield* writePackage(yield* FileSystem.FileSystem, packageDir, { version, schema })
    return yield* Effect.provideService(act, Environment, {
      ...environment,
      version: makeVersion(version),
      packageDir,
    })
  })

const fixture = Effect.gen(function* () {
  const { databasePath: database } = yield* (yield* ConfigFile).load
  const backups = yield* Backup
  const inDatabase = Effect.provide(layerDatabase({ path: database, create: false }))
  return {
    database,
    backups,
    add: (name: string) => insertAgent(name).pipe(inDatabase),
    /** What a daemon of `version` does when it begins to serve. */
    servedBy: (version: string) => as(version, recordWrittenBy(database).pipe(inDatabase)),
    /** A start of `version` on data that is older. */
    start: (version: string) =>
      as(version, prepareDatabase(database)).pipe(Effect.provide(Compatibility.layerOf(rangeFor(5)))),
    names: Effect.map(backups.list, (all) => all.map(({ name }) => name.replace(/-\d{8}T\d{6}Z-0+/, " "))),
  }
})

/** Its migration fails, so that the data stays as it is. */
const failing = Layer.unwrapEffect(
  Effect.map(SimulatedInstall, (install) => {
    install.releases = ["2.1.0", "2.2.0"].map((version) => ({ version, schema: 5, fault: "migrate" }))
    return Layer.empty
  }),
)

describe("the backup of a start that migrates", () => {
  it.scopedLive("waits for the operator's own, whose copy stays and whose number is another", () =>
    Effect.gen(function* () {
      const { database, start, servedBy, names, backups } = yield* fixture
      const { paths } = yield* DataDir
      const { packageDir } = yield* Environment
      yield* servedBy("2.0.7")
      const lock = yield* ExclusiveLock
      const create = Effect.scoped(
        Effect.gen(function* () {
          yield* lock.acquire({ lock: "run", path: paths.runLock, what: BACKUP_CREATE })
          yield* Deferred.succeed(isHeld, undefined)
          yield* Effect.sleep("150 millis")
          const from = makeVersion("2.0.7")
          yield* backups.create({ kind: "manual", source: "live", database, from, packageDir })
        }),
      )
      const isHeld = yield* Deferred.make<void>()
      const made = yield* Effect.fork(create)
      yield* Deferred.await(isHeld)
      yield* start("2.1.0")
      yield* Fiber.join(made)
      assert.deepStrictEqual(yield* names, ["manual-2.0.7 1", "pre-migrate-2.0.7 2"])
    }).pipe(Effect.provide(layerInstallation())),
  )

  it.scopedLive("does not wait for an upgrade, which waits for the start", () =>
    Effect.gen(function* () {
      const { start, servedBy, names } = yield* fixture
      const { paths } = yield* DataDir
      yield* servedBy("2.0.7")
      yield* (yield* ExclusiveLock).acquire({ lock: "run", path: paths.runLock, what: "upgrade" })
      yield* start("2.1.0")
      assert.deepStrictEqual(yield* names, ["pre-migrate-2.0.7 1"])
    }).pipe(Effect.provide(layerInstallation())),
  )

  it.scopedLive(
    "names the version that wrote the data, and the data afterwards names the one that migrated it",
    () =>
      Effect.gen(function* () {
        const { database, start, servedBy, names } = yield* fixture
        yield* servedBy("2.0.7")
        yield* start("2.1.0")
        assert.deepStrictEqual(yield* names, ["pre-migrate-2.0.7 1"])
        assert.strictEqual(keysIn(database)[WRITTEN_BY], '{"version":"2.1.0","schema":5}')
      }).pipe(Effect.provide(layerInstallation())),
  )

  it.scopedLive(
    "serves a later start of the same version as long as it is whole and the data is the same",
    () =>
      Effect.gen(function* () {
        const { start, servedBy, names, backups, add } = yield* fixture
        yield* servedBy("2.0.0")
        for (const _ of [1, 2, 3]) yield* Effect.flip(start("2.1.0"))
        assert.deepStrictEqual(yield* names, ["pre-migrate-2.0.0 1"])
        yield* add("bob")
        yield* Effect.flip(start("2.1.0"))
        assert.deepStrictEqual(yield* names, ["pre-migrate-2.0.0 1", "pre-migrate-2.0.0 2"])
        const copy = `${(yield* backups.list).at(-1)?.path}/waiaas.db`
        const bytes = readFileSync(copy)
        bytes.writeUInt8(bytes.readUInt8(5000) ^ 1, 5000)
        writeFileSync(copy, bytes)
        yield* Effect.flip(start("2.1.0"))
        assert.include(yield* names, "pre-migrate-2.0.0 3")
        assert.strictEqual((yield* backups.forRollback(makeVersion("2.1.0"))).manifest.sequence, 3)
      }).pipe(Effect.provide(failing), Effect.provide(layerInstallation())),
  )

  it.scopedLive(
    "is the version's own: a backup of the same data for another version is not found by its rollback",
    () =>
      Effect.gen(function* () {
        const { start, servedBy, names, backups, database } = yield* fixture
        const { packageDir, version } = yield* Environment
        yield* servedBy("2.0.0")
        const made = { source: "closed", database, from: version, packageDir } as const
        yield* backups.create({ ...made, kind: "manual" })
        yield* backups.create({ ...made, kind: "pre-upgrade", to: makeVersion("2.1.0") })
        yield* Effect.flip(start("2.1.0"))
        yield* Effect.flip(start("2.2.0"))
        assert.deepStrictEqual(yield* names, [
          "manual-2.0.0 1",
          "pre-upgrade-2.0.0 2",
          "pre-migrate-2.0.0 3",
          "pre-migrate-2.0.0 4",
        ])
        assert.strictEqual((yield* backups.forRollback(makeVersion("2.2.0"))).manifest.sequence, 4)
      }).pipe(Effect.provide(failing), Effect.provide(layerInstallation())),
  )
})

it.scopedLive("a start whose migration changes more than it declares keeps nothing of it", () =>
  Effect.gen(function* () {
    const { database, start } = yield* fixture
    const install = yield* SimulatedInstall
    const statements = ["UPDATE agents SET name = 'other'"]
    install.releases = [{ version: "2.1.0", schema: 5, undeclared: { statements } }]
    const error = yield* Effect.flip(start("2.1.0"))
    assert.strictEqual(error._tag, "MigrationFailed")
    assert.include(error.message, "it changes more than it declares: agents.name changed in 1 row (alice)")
    assert.deepStrictEqual(yield* contentOf(database), { names: ["alice"], schema: 4 })
  }).pipe(Effect.provide(layerInstallation())),
)
