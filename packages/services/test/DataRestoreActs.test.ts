/** Each act of a restore by itself: what it moves, what it leaves, and that it may be done again. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { layerDatabase } from "@waiaas/services/Database"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { DataRestore } from "@waiaas/services/DataRestore"
import { migrate } from "@waiaas/services/Migrator"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { contentOf } from "@waiaas/services/testing/SimulatedUpgrade"
import { insertAgent } from "@waiaas/services/testing/TestDatabase"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerDataDir } from "./support.ts"

const nobody = () => Effect.dieMessage("nobody asks")
const layer = DataRestore.layer.pipe(
  Layer.provideMerge(Backup.layer),
  Layer.provideMerge(layerDatabaseToolLocal({ describe: nobody, openKeys: nobody })),
  Layer.provideMerge(layerDataDir()),
)
const packageDir = "/p"
const run = 3

/** A backup of `one`, and today's database, of `one` and `two`, as a killed daemon leaves it: with its helpers. */
const fixture = Effect.gen(function* () {
  const { paths } = yield* DataDir
  const database = join(paths.data, "waiaas.db")
  const inDatabase = <A, E, R>(act: Effect.Effect<A, E, R>) =>
    Effect.provide(act, layerDatabase({ path: database, create: true })).pipe(Effect.scoped)
  yield* inDatabase(Effect.zipRight(migrate(database), insertAgent("one")))
  writeFileSync(paths.config, "# earlier\n", { mode: 0o600 })
  const made = yield* (yield* Backup).create({
    kind: "pre-upgrade",
    source: "closed",
    database,
    from: makeVersion("2.0.0"),
    to: makeVersion("2.1.0"),
    packageDir,
  })
  yield* inDatabase(insertAgent("two"))
  const today = readFileSync(database)
  for (const suffix of ["-wal", "-shm", "-journal"]) writeFileSync(`${database}${suffix}`, `today${suffix}`)
  writeFileSync(paths.config, "# today\n", { mode: 0o600 })
  const inData = () => readdirSync(paths.data).sort()
  const failed = join(paths.data, `.failed-${run}`)
  return { paths, database, inDatabase, made, today, inData, failed, restore: yield* DataRestore }
})

describe("a rollback", () => {
  it.scopedLive(
    "moves today's files out whole and its copies in, and is the same when it is done again",
    () =>
      Effect.gen(function* () {
        const { paths, database, made, today, inData, failed, restore } = yield* fixture
        yield* restore.prepareRollback(run, made.name, database)
        // Nothing is replaced yet.
        assert.isTrue(readFileSync(database).equals(today))
        assert.strictEqual(readFileSync(paths.config, "utf8"), "# today\n")
        assert.deepStrictEqual(inData(), [
          ".failed-3",
          ".restore-3-waiaas.db",
          "waiaas.db",
          "waiaas.db-journal",
          "waiaas.db-shm",
          "waiaas.db-wal",
        ])
        assert.isTrue(existsSync(join(paths.root, ".restore-3-config.toml")))
        for (const _ of [1, 2]) {
          yield* restore.rollback(run, database)
          assert.isTrue(readFileSync(database).equals(readFileSync(join(made.path, "waiaas.db"))))
          assert.strictEqual(readFileSync(paths.config, "utf8"), "# earlier\n")
          assert.deepStrictEqual(inData(), [".failed-3", "waiaas.db"])
          // With a journal of the other content SQLite would undo a change in the copy that it never had.
          assert.deepStrictEqual(readdirSync(failed).sort(), [
            "waiaas.db",
            "waiaas.db-journal",
            "waiaas.db-shm",
            "waiaas.db-wal",
          ])
          assert.isTrue(readFileSync(join(failed, "waiaas.db")).equals(today))
        }
        yield* restore.cleanUp(run, database)
        assert.deepStrictEqual(inData(), ["waiaas.db"])
        assert.deepStrictEqual((yield* contentOf(database)).names, ["one"])
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("that is given up leaves nothing of what it prepared, and another run's is not its own", () =>
    Effect.gen(function* () {
      const { paths, database, made, inData, restore } = yield* fixture
      const before = inData()
      yield* restore.prepareRollback(run, made.name, database)
      yield* restore.prepareUndo(run, database, 10)
      for (const suffix of ["-wal", "-shm"])
        writeFileSync(join(paths.data, `.restore-3-waiaas.db${suffix}`), "")
      writeFileSync(join(paths.data, ".restore-4-waiaas.db"), "")
      yield* restore.cleanUp(run, database)
      assert.deepStrictEqual(inData(), [".restore-4-waiaas.db", ...before])
      assert.isFalse(existsSync(join(paths.root, ".restore-3-config.toml")))
      // What is damaged is found before anything is prepared.
      writeFileSync(join(made.path, "config.toml"), "# earlieR\n")
      assert.strictEqual(
        (yield* Effect.flip(restore.prepareRollback(run, made.name, database)))._tag,
        "BackupDamaged",
      )
      assert.deepStrictEqual(inData(), [".restore-4-waiaas.db", ...before])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("keeps the agents suspended that are so today, in its copy and not in today's database", () =>
    Effect.gen(function* () {
      const { database, inDatabase, made, restore, paths } = yield* fixture
      for (const suffix of ["-wal", "-shm"]) writeFileSync(`${database}${suffix}`, "")
      yield* inDatabase(
        Effect.flatMap(
          SqlClient,
          (sql) => sql`UPDATE agents SET status = 'suspended', updated_at = 9 WHERE name = 'one'`,
        ),
      )
      const today = readFileSync(database)
      yield* restore.prepareRollback(run, made.name, database)
      yield* restore.keepSuspended(run, database, packageDir)
      const copy = join(paths.data, ".restore-3-waiaas.db")
      const rows = yield* Effect.flatMap(
        SqlClient,
        (sql) => sql`SELECT name, status, updated_at FROM agents`,
      ).pipe(Effect.provide(layerDatabase({ path: copy, create: false })))
      assert.deepStrictEqual(rows, [{ name: "one", status: "suspended", updated_at: 9 }])
      assert.isTrue(readFileSync(database).equals(today))
    }).pipe(Effect.provide(layer)),
  )
})

describe("an undo", () => {
  it.scopedLive("moves the backup's own copy in, and is the same when it is done again", () =>
    Effect.gen(function* () {
      const { database, made, today, inData, failed, restore } = yield* fixture
      assert.strictEqual(yield* restore.sizeOfUndo(database, 1e6), 0)
      yield* restore.prepareUndo(run, database, 0)
      const undo = (schema = 5) => restore.undo({ run, backup: made.name, database, schema, packageDir })
      for (const _ of [1, 2]) {
        yield* undo()
        assert.deepStrictEqual((yield* contentOf(database)).names, ["one"])
        // With a journal of the other content SQLite would undo a change in the copy that it never had.
        assert.deepStrictEqual(readdirSync(failed).sort(), [
          "waiaas.db",
          "waiaas.db-journal",
          "waiaas.db-shm",
          "waiaas.db-wal",
        ])
        assert.isTrue(readFileSync(join(failed, "waiaas.db")).equals(today))
        assert.deepStrictEqual(readdirSync(made.path).sort(), [
          "config.toml",
          "manifest.json",
          "used-by-run-3",
        ])
      }
      const other = yield* Effect.flip(undo(4))
      assert.include(other.message, `the schema of the restored database should be 4`)
      assert.include(other.message, failed)
      yield* restore.cleanUp(run, database)
      assert.deepStrictEqual(
        inData().filter((name) => !/^waiaas\.db/.test(name)),
        [],
      )
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("reserves the space that it needs beside the database, and gives all of it back", () =>
    Effect.gen(function* () {
      const { paths, database, inData, restore } = yield* fixture
      yield* restore.prepareUndo(run, database, 12_345)
      assert.strictEqual(statSync(join(paths.data, ".reserve-3")).size, 12_345)
      writeFileSync(paths.reserve, "")
      yield* restore.giveBack(run, database)
      assert.isFalse(existsSync(paths.reserve))
      yield* restore.prepareUndo(4, database, 0)
      assert.deepStrictEqual(
        inData().filter((name) => name.startsWith(".")),
        [".failed-3", ".failed-4"],
      )
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "leaves alone what a run of the same number of another installation has next to its own",
    () =>
      Effect.gen(function* () {
        const { paths, restore } = yield* fixture
        const shared = join(paths.root, "shared")
        for (const name of [".failed-3", ".failed-3-b.db"]) mkdirSync(join(shared, name), { recursive: true })
        writeFileSync(join(shared, ".failed-3-b.db", "b.db"), "its database")
        writeFileSync(join(shared, ".reserve-3-b.db"), "")
        const before = readdirSync(shared)
        const database = join(shared, "a.db")
        yield* restore.prepareUndo(run, database, 10)
        assert.deepStrictEqual(
          readdirSync(shared).filter((name) => !before.includes(name)),
          [".failed-3-a.db", ".reserve-3-a.db"],
        )
        yield* restore.giveBack(run, database)
        yield* restore.cleanUp(run, database)
        assert.deepStrictEqual(readdirSync(shared), before)
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("puts nothing with what an earlier run of its number left, and loses none of that", () =>
    Effect.gen(function* () {
      const { paths, database, failed, restore } = yield* fixture
      for (const text of ["first", "second"]) {
        mkdirSync(failed, { recursive: true })
        writeFileSync(join(failed, "waiaas.db"), text)
        yield* restore.prepareUndo(run, database, 0)
        assert.deepStrictEqual(readdirSync(failed), [])
      }
      // One that is empty is used again.
      yield* restore.prepareUndo(run, database, 0)
      const kept = (number: number) => readFileSync(join(`${failed}-earlier-${number}`, "waiaas.db"), "utf8")
      assert.deepStrictEqual([kept(1), kept(2)], ["first", "second"])
      assert.isFalse(existsSync(`${failed}-earlier-3`))
      assert.strictEqual(statSync(failed).mode & 0o777, 0o700)
      assert.isFalse(existsSync(join(paths.data, ".reserve-3")))
    }).pipe(Effect.provide(layer)),
  )
})
