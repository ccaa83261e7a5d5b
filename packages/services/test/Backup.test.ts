import { spawnSync } from "node:child_process"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { layerDatabase } from "@waiaas/services/Database"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { migrate } from "@waiaas/services/Migrator"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { contentOf } from "@waiaas/services/testing/SimulatedUpgrade"
import { insertAgent } from "@waiaas/services/testing/TestDatabase"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerDataDir } from "./support.ts"

const layer = Backup.layer.pipe(
  Layer.provideMerge(
    layerDatabaseToolLocal({
      describe: () => Effect.die("not asked"),
      openKeys: () => Effect.die("not asked"),
    }),
  ),
  Layer.provideMerge(layerDataDir()),
)
const version = makeVersion("2.0.0")
const next = makeVersion("2.1.0")

const fixture = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const backups = yield* Backup
  const { paths } = yield* DataDir
  const database = `${paths.data}/waiaas.db`
  yield* migrate(database).pipe(
    Effect.zipRight(insertAgent("one")),
    Effect.provide(layerDatabase({ path: database, create: true })),
  )
  yield* fs.writeFileString(paths.config, "# mine\n")
  const make = (kind: "pre-upgrade" | "manual" = "pre-upgrade", to = next) =>
    backups.create({
      kind,
      source: "closed",
      database,
      from: version,
      to,
      packageDir: "/p",
    })
  return { fs, backups, paths, database, make }
})

describe("a backup", () => {
  it.scopedLive("holds database and config, checked, 0600 in 0700", () =>
    Effect.gen(function* () {
      const { fs, make, backups, database } = yield* fixture
      const made = yield* make()
      assert.match(made.name, /^pre-upgrade-2\.0\.0-\d{8}T\d{6}Z-000001$/)
      assert.deepStrictEqual([...(yield* fs.readDirectory(made.path))].sort(), [
        "config.toml",
        "manifest.json",
        "waiaas.db",
      ])
      assert.strictEqual((yield* fs.stat(made.path)).mode & 0o777, 0o700)
      for (const name of ["config.toml", "manifest.json", "waiaas.db"])
        assert.strictEqual((yield* fs.stat(`${made.path}/${name}`)).mode & 0o777, 0o600, name)
      assert.strictEqual((yield* backups.verify(made.name)).schema, 5)
      assert.deepStrictEqual(yield* fs.readFile(`${made.path}/waiaas.db`), yield* fs.readFile(database))
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("of a database in use is consistent and verifies", () =>
    Effect.gen(function* () {
      const { database, backups } = yield* fixture
      const made = yield* Effect.zipRight(
        insertAgent("two"),
        backups.create({
          kind: "manual",
          source: "live",
          database,
          from: version,
          packageDir: "/p",
        }),
      ).pipe(Effect.provide(layerDatabase({ path: database, create: false })))
      const { names } = yield* contentOf(`${made.path}/waiaas.db`)
      assert.deepStrictEqual(names, ["one", "two"])
      yield* backups.verify(made.name)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("every flipped byte of a manifest is seen", () =>
    Effect.gen(function* () {
      const { fs, make, backups } = yield* fixture
      const made = yield* make()
      const path = `${made.path}/manifest.json`
      const good = Buffer.from(yield* fs.readFile(path))
      // White space between the values carries nothing; everything else does.
      const meaning = (bytes: Buffer) => {
        try {
          return JSON.stringify(JSON.parse(bytes.toString("utf8")))
        } catch {
          return null
        }
      }
      for (let at = 0; at < good.length; at++) {
        const bad = Buffer.from(good)
        bad.writeUInt8(bad.readUInt8(at) ^ 1, at)
        if (meaning(bad) === meaning(good)) continue
        yield* fs.writeFile(path, bad)
        const [entry] = yield* backups.list
        assert.isNotNull(entry?.problem, `byte ${at}`)
        assert.strictEqual((yield* Effect.either(backups.verify(made.name)))._tag, "Left", `byte ${at}`)
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("a flipped byte of the database copy is seen by verify, and a shorter copy by the list", () =>
    Effect.gen(function* () {
      const { fs, make, backups } = yield* fixture
      const made = yield* make()
      const path = `${made.path}/waiaas.db`
      const good = Buffer.from(yield* fs.readFile(path))
      for (let at = 0; at < good.length; at += 1009) {
        const bad = Buffer.from(good)
        bad.writeUInt8(bad.readUInt8(at) ^ 0x40, at)
        yield* fs.writeFile(path, bad)
        assert.strictEqual(
          (yield* Effect.flip(backups.verify(made.name)))._tag,
          "BackupDamaged",
          `byte ${at}`,
        )
      }
      yield* fs.writeFile(path, good.subarray(0, 100))
      const [entry] = yield* backups.list
      assert.include(entry?.problem, "size")
    }).pipe(Effect.provide(layer)),
  )

  const swaps = [
    ["the database by a link", "rm waiaas.db && ln -s /etc/passwd waiaas.db", "link"],
    ["the database by a directory", "rm waiaas.db && mkdir waiaas.db", "size"],
    ["the manifest by a directory", "rm manifest.json && mkdir manifest.json", "directory"],
    ["the manifest by a named pipe", "rm manifest.json && mkfifo manifest.json", "ENOTFILE"],
    ["the manifest by a link", "mv manifest.json m && ln -s m manifest.json", "link"],
    ["nothing: the database is gone", "rm waiaas.db", "missing"],
    ["nothing: it is empty", "rm *", "no manifest"],
  ] as const
  for (const [name, command, words] of swaps)
    it.scopedLive(`swapped for ${name}: damaged, and none that a rollback takes`, () =>
      Effect.gen(function* () {
        const { make, backups } = yield* fixture
        const made = yield* make()
        assert.strictEqual(spawnSync("sh", ["-c", command], { cwd: made.path }).status, 0)
        const [entry] = yield* backups.list
        assert.include(entry?.problem, words)
        assert.strictEqual((yield* Effect.flip(backups.verify(made.name)))._tag, "BackupDamaged")
        assert.strictEqual((yield* Effect.flip(backups.forRollback(next)))._tag, "NoBackup")
      }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("a name from outside is no path", () =>
    Effect.gen(function* () {
      const { backups } = yield* fixture
      for (const name of ["../data", "/etc", "."])
        assert.strictEqual((yield* Effect.flip(backups.verify(name)))._tag, "NoBackup")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "keeps the newest 5 pre-upgrade by sequence, all manual ones, and the one that a rollback takes",
    () =>
      Effect.gen(function* () {
        const { make, backups, database } = yield* fixture
        const first = yield* make()
        yield* make("manual")
        for (let index = 0; index < 6; index++) yield* make("pre-upgrade", makeVersion(`2.2.${index}`))
        const gone = yield* backups.prune(next, { database, packageDir: "/p" })
        const left = (yield* backups.list).map(({ manifest }) => manifest?.sequence)
        assert.deepStrictEqual(left, [1, 2, 4, 5, 6, 7, 8])
        assert.strictEqual(gone.removed.length, 1)
        assert.strictEqual((yield* backups.forRollback(next)).name, first.name)
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("that was cut off while it was made is never listed, and is removed", () =>
    Effect.gen(function* () {
      const { fs, backups, paths } = yield* fixture
      yield* fs.makeDirectory(`${paths.backups}/.partial-x`)
      assert.deepStrictEqual(yield* backups.list, [])
      yield* backups.removePartial
      assert.deepStrictEqual(yield* fs.readDirectory(paths.backups), [])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("of a database that is corrupt is not made, and leaves nothing", () =>
    Effect.gen(function* () {
      const { fs, make, database, paths } = yield* fixture
      const bytes = Buffer.from(yield* fs.readFile(database))
      bytes.fill(0xff, 4096, 8192)
      yield* fs.writeFile(database, bytes)
      assert.strictEqual((yield* Effect.flip(make()))._tag, "DatabaseFailed")
      assert.deepStrictEqual(yield* fs.readDirectory(paths.backups), [])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("that is damaged unseen by the list is named when older data is taken in its place", () =>
    Effect.gen(function* () {
      const { fs, make, backups } = yield* fixture
      const [older, newer] = [yield* make(), yield* make()]
      const path = `${newer.path}/waiaas.db`
      const bytes = Buffer.from(yield* fs.readFile(path))
      bytes.writeUInt8(bytes.readUInt8(5000) ^ 1, 5000)
      yield* fs.writeFile(path, bytes)
      assert.deepStrictEqual(
        (yield* backups.list).map(({ problem }) => problem),
        [null, null],
      )
      const { chosen, damaged } = yield* backups.lookForRollback(next)
      assert.strictEqual(Option.getOrThrow(chosen).name, older.name)
      assert.deepStrictEqual(damaged, [{ name: newer.name, problem: "waiaas.db is not what was backed up" }])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("of a database that cannot be read keeps its log beside it, byte by byte", () =>
    Effect.gen(function* () {
      const { fs, backups, database } = yield* fixture
      for (const suffix of ["", "-wal", "-shm"])
        yield* fs.writeFileString(`${database}${suffix}`, `x${suffix}`)
      const { path } = yield* backups.keepDamaged(database, version)
      for (const suffix of ["", "-wal", "-shm"])
        assert.strictEqual(yield* fs.readFileString(`${path}/waiaas.db${suffix}`), `x${suffix}`)
    }).pipe(Effect.provide(layer)),
  )
})
