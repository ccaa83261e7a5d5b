/** Which backups are there, in which order, and which of them a rollback takes or retention removes. */
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import type { BackupKind } from "@waiaas/domain/BackupManifest"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { layerDatabase } from "@waiaas/services/Database"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { migrate } from "@waiaas/services/Migrator"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { prunedInWords, removeExpired } from "@waiaas/services/Retention"
import { insertAgent } from "@waiaas/services/testing/TestDatabase"
import { recordWrittenBy } from "@waiaas/services/WrittenBy"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerDataDir } from "./support.ts"

const nobody = () => Effect.dieMessage("nobody asks")
const layer = Backup.layer.pipe(
  Layer.provideMerge(layerDatabaseToolLocal({ describe: nobody, openKeys: nobody })),
  Layer.provideMerge(layerDataDir()),
)
const packageDir = "/p"

const fixture = Effect.gen(function* () {
  const backups = yield* Backup
  const { paths } = yield* DataDir
  const database = `${paths.data}/waiaas.db`
  const inDatabase = <A, E, R>(act: Effect.Effect<A, E, R>) =>
    Effect.provide(act, layerDatabase({ path: database, create: true })).pipe(Effect.scoped)
  yield* inDatabase(Effect.zipRight(migrate(database), insertAgent("one")))
  const make = (kind: BackupKind, to?: string, from = "2.0.0") =>
    backups.create({
      kind,
      source: "closed",
      database,
      from: makeVersion(from),
      ...(to !== undefined && { to: makeVersion(to) }),
      packageDir,
    })
  const chosen = (installed: string) =>
    Effect.map(backups.lookForRollback(makeVersion(installed)), (found) => ({
      chosen: Option.getOrNull(Option.map(found.chosen, ({ manifest }) => manifest.sequence)),
      damaged: found.damaged,
    }))
  const sequences = Effect.map(backups.list, (all) => all.map(({ name }) => Number(name.slice(-6))))
  return { backups, paths, database, make, chosen, sequences, inDatabase }
})

describe("the backups that are there", () => {
  it.scopedLive(
    "are in the order of their sequence, not of their names; a damaged one keeps its place and its number",
    () =>
      Effect.gen(function* () {
        const { make, backups, paths, sequences } = yield* fixture
        const made = []
        for (const kind of ["pre-upgrade", "manual", "pre-rollback", "manual"] as const)
          made.push(yield* make(kind))
        assert.deepStrictEqual(yield* sequences, [1, 2, 3, 4])
        writeFileSync(`${made[1]?.path}/manifest.json`, "{")
        rmSync(`${made[3]?.path}/manifest.json`)
        assert.deepStrictEqual(yield* sequences, [1, 2, 3, 4])
        const problems = (yield* backups.list).map(({ problem }) => problem)
        assert.deepStrictEqual(problems, [null, "its manifest is not readable", null, "it has no manifest"])
        // Its number is not given again.
        assert.match((yield* make("manual")).name, /-000005$/)
        // What is none of ours has no number, and what is hidden is not one.
        writeFileSync(`${paths.backups}/notes`, "")
        writeFileSync(`${paths.backups}/.hidden`, "")
        const [first] = yield* backups.list
        assert.deepStrictEqual([first?.name, first?.problem], ["notes", "it is no directory"])
        assert.match((yield* make("manual")).name, /-000006$/)
        for (const name of [".hidden", "missing"])
          assert.strictEqual((yield* Effect.flip(backups.verify(name)))._tag, "NoBackup")
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("say of themselves what was kept though it could not be read, and hold a database each", () =>
    Effect.gen(function* () {
      const { make, backups, database } = yield* fixture
      const { name, path } = yield* backups.keepDamaged(database, makeVersion("2.0.0"))
      assert.strictEqual(name, "damaged-2.0.0-000001")
      assert.deepStrictEqual(readdirSync(path), ["waiaas.db"])
      assert.deepStrictEqual(
        (yield* backups.list).map(({ problem }) => problem),
        ["kept by a rollback since it could not be read: not whole"],
      )
      assert.match((yield* make("manual")).name, /-000002$/)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("that were cut off go, and nothing else with them", () =>
    Effect.gen(function* () {
      const { make, backups, paths } = yield* fixture
      const { name } = yield* make("manual")
      for (const partial of [".partial-manual-2", "other"]) writeFileSync(`${paths.backups}/${partial}`, "")
      yield* backups.removePartial
      assert.deepStrictEqual(readdirSync(paths.backups).sort(), [name, "other"].sort())
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("are of the version that the data names, where no run made them", () =>
    Effect.gen(function* () {
      const { make, database, inDatabase } = yield* fixture
      const from = (kind: BackupKind) =>
        Effect.map(make(kind, "2.9.0", "2.5.0"), ({ manifest }) => manifest.from)
      assert.strictEqual(yield* from("manual"), "2.5.0")
      yield* inDatabase(recordWrittenBy(database))
      const written = (yield* from("manual")) as string
      assert.notStrictEqual(written, "2.5.0")
      assert.strictEqual(yield* from("pre-migrate"), written)
      assert.strictEqual(yield* from("pre-upgrade"), "2.5.0")
      assert.strictEqual(yield* from("pre-rollback"), "2.5.0")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("bring in what is still in a log, and hold the configuration where there is one", () =>
    Effect.gen(function* () {
      const { make, backups, database, paths, inDatabase } = yield* fixture
      // As a daemon that was killed leaves it.
      yield* inDatabase(
        Effect.gen(function* () {
          yield* Effect.flatMap(SqlClient, (sql) => sql.unsafe("PRAGMA wal_autocheckpoint = 0"))
          yield* insertAgent("two")
          for (const suffix of ["", "-wal"])
            copyFileSync(`${database}${suffix}`, `${paths.root}/killed${suffix}`)
        }),
      )
      for (const suffix of ["", "-wal"]) copyFileSync(`${paths.root}/killed${suffix}`, `${database}${suffix}`)
      const made = yield* make("pre-upgrade", "2.1.0")
      assert.deepStrictEqual(
        made.manifest.files.map(({ name }) => name),
        ["waiaas.db"],
      )
      assert.isTrue(readFileSync(`${made.path}/waiaas.db`).includes("key-two"))
      writeFileSync(paths.config, "# mine\n")
      const { manifest, path } = yield* make("pre-upgrade", "2.1.0")
      assert.deepStrictEqual(
        manifest.files.map(({ name }) => name),
        ["waiaas.db", "config.toml"],
      )
      writeFileSync(`${path}/config.toml`, "# ours\n")
      const damaged = yield* Effect.flip(
        backups.verify(manifest.kind && path.slice(path.lastIndexOf("/") + 1)),
      )
      assert.include(damaged.message, "config.toml is not what was backed up")
    }).pipe(Effect.provide(layer)),
  )
})

describe("a rollback takes", () => {
  it.scopedLive("the newest that was made before what is installed came, and no other kind", () =>
    Effect.gen(function* () {
      const { make, chosen, backups } = yield* fixture
      yield* make("pre-upgrade", "2.1.0")
      yield* make("pre-migrate", "2.1.0")
      yield* make("manual", "2.1.0")
      yield* make("pre-rollback", "2.1.0")
      yield* make("pre-upgrade", "2.2.0")
      yield* make("pre-upgrade")
      assert.deepStrictEqual(yield* chosen("2.1.0"), { chosen: 2, damaged: [] })
      assert.deepStrictEqual(yield* chosen("2.2.0"), { chosen: 5, damaged: [] })
      assert.deepStrictEqual(yield* chosen("2.3.0"), { chosen: null, damaged: [] })
      const none = yield* Effect.flip(backups.forRollback(makeVersion("2.3.0")))
      assert.include(none.message, "whole backup from before 2.3.0 was installed here")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("none that an undo has used up, and names none of these as damaged", () =>
    Effect.gen(function* () {
      const { make, chosen, backups } = yield* fixture
      yield* make("pre-upgrade", "2.1.0")
      const used = yield* make("pre-upgrade", "2.1.0")
      yield* backups.markUsed(used.name, 12)
      assert.deepStrictEqual(yield* chosen("2.1.0"), { chosen: 1, damaged: [] })
      const [, entry] = yield* backups.list
      assert.strictEqual(entry?.problem, "used up: the undo of run 12 put its data back")
      assert.strictEqual((yield* Effect.flip(backups.verify(used.name)))._tag, "BackupDamaged")
      // The undo that marked it, and was cut off before it moved anything, still reads it; another one does not.
      assert.strictEqual((yield* backups.verify(used.name, 12)).sequence, 2)
      assert.strictEqual((yield* Effect.flip(backups.verify(used.name, 1)))._tag, "BackupDamaged")
      yield* backups.markUsed(used.name, 13)
      assert.strictEqual((yield* Effect.flip(backups.verify(used.name, 12)))._tag, "BackupDamaged")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("an older one in the place of those that are damaged, each with its reason", () =>
    Effect.gen(function* () {
      const { make, chosen } = yield* fixture
      yield* make("pre-upgrade", "2.1.0")
      const [cut, gone] = [yield* make("pre-upgrade", "2.1.0"), yield* make("pre-upgrade", "2.1.0")]
      writeFileSync(`${cut.path}/waiaas.db`, "")
      rmSync(`${gone.path}/waiaas.db`)
      assert.deepStrictEqual(yield* chosen("2.1.0"), {
        chosen: 1,
        damaged: [
          { name: gone.name, problem: "waiaas.db is missing" },
          { name: cut.name, problem: "waiaas.db has not the size that was backed up" },
        ],
      })
    }).pipe(Effect.provide(layer)),
  )
})

describe("retention", () => {
  it.scopedLive("takes no backup that is damaged, nor one that it removes itself, for another's copy", () =>
    Effect.gen(function* () {
      const { make, backups, database, inDatabase } = yield* fixture
      const files = yield* DurableFile
      const tool = yield* DatabaseTool
      yield* inDatabase(insertAgent("two"))
      const made = [
        yield* make("pre-migrate"),
        yield* make("pre-migrate"),
        yield* make("pre-migrate"),
      ] as const
      yield* inDatabase(
        Effect.flatMap(SqlClient, (sql) =>
          Effect.forEach(["DELETE FROM agent_events", "DELETE FROM agents WHERE name = 'two'"], (statement) =>
            sql.unsafe(statement),
          ),
        ),
      )
      // Its database is whole, but nothing proves it.
      writeFileSync(`${made[2].path}/manifest.json`, "{")
      const entries = yield* backups.list
      const old = entries.slice(0, 2)
      const isWhole = () => Effect.succeed(true)
      const pruned = yield* removeExpired(files, tool, entries, old, isWhole, { database, packageDir })
      assert.deepStrictEqual(pruned, {
        removed: [made[0].name],
        kept: [{ name: made[1].name, reason: "it has the only copy of 1 write (agent two)" }],
      })
      assert.deepStrictEqual(
        made.map(({ path }) => existsSync(path)),
        [false, true, true],
      )
      assert.deepStrictEqual(prunedInWords(pruned), [
        `Removed the old backup ${made[0].name}.`,
        `Kept the old backup ${made[1].name}: it has the only copy of 1 write (agent two).`,
      ])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("says how many writes only an old backup has, and of which agents", () =>
    Effect.gen(function* () {
      const { make, backups, database, inDatabase } = yield* fixture
      const run = (...statements: ReadonlyArray<string>) =>
        inDatabase(
          Effect.flatMap(SqlClient, (sql) =>
            Effect.forEach(statements, (statement) => sql.unsafe(statement)),
          ),
        )
      yield* inDatabase(Effect.zipRight(insertAgent("two"), insertAgent("three")))
      yield* run("UPDATE agents SET created_at = 9, updated_at = 9 WHERE name = 'two'")
      yield* make("pre-rollback")
      yield* run("DELETE FROM agent_events", "DELETE FROM agents WHERE name <> 'one'")
      yield* make("pre-rollback")
      yield* make("pre-rollback")
      const { removed, kept } = yield* backups.prune(makeVersion("2.0.0"), { database, packageDir })
      assert.deepStrictEqual(
        [removed, kept.map(({ reason }) => reason)],
        [[], ["it has the only copy of 2 writes (agents three, two)"]],
      )
    }).pipe(Effect.provide(layer)),
  )
})
