/** Lessons of others about backups; each test is named after its lesson. */
import { strict as assert } from "node:assert"
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs"
import { dirname, join } from "node:path"
import { it } from "@effect/vitest"
import { retention } from "@waiaas/domain/BackupManifest"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DataRestore } from "@waiaas/services/DataRestore"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { Rollback } from "@waiaas/services/Rollback"
import { asVersion, contentOf } from "@waiaas/services/testing/SimulatedUpgrade"
import { Upgrade } from "@waiaas/services/Upgrade"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { layerInstallation } from "../support/layers.mts"
import { execute, query } from "../support/sqlite.mts"

const v = makeVersion
const place = Effect.gen(function* () {
  const { paths } = yield* DataDir
  const { databasePath } = yield* (yield* ConfigFile).load
  return {
    paths,
    database: databasePath,
    backups: yield* Backup,
    packageDir: (yield* Environment).packageDir,
  }
})
const preUpgrade = (from: string, to: string) =>
  Effect.gen(function* () {
    const { backups, database, packageDir } = yield* place
    return yield* backups.create({
      kind: "pre-upgrade",
      source: "closed",
      database,
      from: v(from),
      to: v(to),
      packageDir,
    })
  })
const addAgent = (database: string, name: string) =>
  execute(
    database,
    `INSERT INTO agents (id, name, chain, network, public_key, status, created_at, updated_at)
     VALUES ('${name}', '${name}', 'solana', 'mainnet', '${name}', 'active', 1, 1)`,
  )
const latest = { to: Option.none(), from: Option.none(), restart: true, dryRun: false }

it.effect("sorted by name 1.9.0 hides 1.10.0", () =>
  Effect.gen(function* () {
    const { backups } = yield* place
    const first = yield* preUpgrade("1.9.0", "2.0.0")
    const second = yield* preUpgrade("1.10.0", "2.0.0")
    assert.ok(second.name < first.name, "their names mislead")
    assert.deepEqual(
      (yield* backups.list).map(({ name }) => name),
      [first.name, second.name],
    )
    assert.equal((yield* backups.forRollback(v("2.0.0"))).name, second.name)
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("`2.0.0-rc.9` hides `2.0.0`", () =>
  Effect.gen(function* () {
    const { backups } = yield* place
    const candidate = yield* preUpgrade("2.0.0-rc.9", "2.1.0")
    const final = yield* preUpgrade("2.0.0", "2.1.0")
    assert.ok(final.name < candidate.name, "their names mislead")
    assert.equal((yield* backups.forRollback(v("2.1.0"))).name, final.name)
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("the backup just made is pruned", () =>
  Effect.gen(function* () {
    const { backups, database, packageDir } = yield* place
    yield* TestClock.setTime(1_770_000_000_000)
    const made: Array<string> = []
    for (let index = 0; index < retention["pre-upgrade"] + 2; index++) {
      // The clock goes back: each one is the oldest by time and by name.
      yield* TestClock.setTime(1_770_000_000_000 - index * 86_400_000)
      made.push((yield* preUpgrade("2.0.0", "2.1.0")).name)
    }
    assert.deepEqual((yield* backups.prune(v("2.1.0"), { database, packageDir })).removed, made.slice(0, 2))
    assert.deepEqual(
      (yield* backups.list).map(({ name }) => name),
      made.slice(2),
    )
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("the backup that a rollback would take is pruned", () =>
  Effect.gen(function* () {
    const { backups, database, packageDir } = yield* place
    const wanted = yield* preUpgrade("1.9.0", "2.0.0")
    for (let index = 0; index < 6; index++) yield* preUpgrade("2.0.0", "2.1.0")
    yield* backups.prune(v("2.0.0"), { database, packageDir })
    assert.equal((yield* backups.forRollback(v("2.0.0"))).name, wanted.name)
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("a newer `-wal` left in place undoes the restore", () =>
  Effect.gen(function* () {
    const { database, paths, packageDir } = yield* place
    const { name } = yield* preUpgrade("2.0.0", "2.1.0")
    // What a process leaves that is killed: a database and its log, which holds what came after the backup.
    const open = new Sqlite(database)
    open.pragma("wal_autocheckpoint = 0")
    open.exec("UPDATE agents SET name = 'changed later'")
    for (const suffix of ["", "-wal", "-shm"])
      copyFileSync(`${database}${suffix}`, `${database}${suffix}.killed`)
    open.close()
    const leave = (path: string) => {
      for (const suffix of ["", "-wal", "-shm"])
        copyFileSync(`${database}${suffix}.killed`, `${path}${suffix}`)
    }
    // The way that fails: the main file alone, restored beside the log of the other one.
    const naive = join(paths.root, "naive.db")
    leave(naive)
    copyFileSync(join(paths.backups, name, "waiaas.db"), naive)
    assert.deepEqual((yield* contentOf(naive)).names, ["changed later"])
    leave(database)
    const restore = yield* DataRestore
    yield* restore.undo({ run: 1, backup: name, database, schema: 4, packageDir })
    assert.deepEqual(yield* contentOf(database), { names: ["alice"], schema: 4 })
    assert.ok(existsSync(join(dirname(database), ".failed-1", "waiaas.db-wal")), "moved out, not deleted")
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("a live file copy is corrupt", () =>
  Effect.gen(function* () {
    const { database, backups, paths, packageDir } = yield* place
    const writer = new Sqlite(database)
    writer.pragma("wal_autocheckpoint = 0")
    yield* Effect.addFinalizer(() => Effect.sync(() => writer.close()))
    const insert = writer.prepare(
      "INSERT INTO agents (id, name, chain, network, public_key, status, created_at, updated_at) VALUES (?, ?, 's', 'm', ?, 'active', 1, 1)",
    )
    for (let index = 0; index < 500; index++) insert.run(`${index}`, `agent-${index}`, `${index}`)
    writer.exec("BEGIN; UPDATE agents SET name = 'not committed'")
    const made = yield* backups.create({
      kind: "manual",
      source: "live",
      database,
      from: v("2.0.0"),
      packageDir,
    })
    writer.exec("ROLLBACK")
    const copy = join(made.path, "waiaas.db")
    yield* backups.verify(made.name)
    const plain = join(paths.root, "plain.db")
    copyFileSync(database, plain)
    assert.equal((yield* contentOf(plain)).names.length, 1, "a file copy misses what was committed")
    const { names } = yield* contentOf(copy)
    assert.equal(names.length, 501)
    assert.ok(!names.includes("not committed"))
    assert.deepEqual(query(copy, "PRAGMA integrity_check"), [{ integrity_check: "ok" }])
  }).pipe(Effect.scoped, Effect.provide(layerInstallation())),
)

it.effect("an empty or truncated backup directory counts as newest and restores a 0-byte database", () =>
  Effect.gen(function* () {
    const { backups, paths } = yield* place
    const good = yield* preUpgrade("2.0.0", "2.1.0")
    const truncated = yield* preUpgrade("2.0.0", "2.1.0")
    truncateSync(join(truncated.path, "waiaas.db"), 0)
    const flipped = yield* preUpgrade("2.0.0", "2.1.0")
    const size = statSync(join(flipped.path, "waiaas.db")).size
    writeFileSync(join(flipped.path, "waiaas.db"), Buffer.alloc(size))
    const empty = "pre-upgrade-2.0.0-20991231T235959Z-000099"
    mkdirSync(join(paths.backups, empty))
    assert.deepEqual(
      (yield* backups.list).map(({ name, problem }) => [name, problem]),
      [
        [good.name, null],
        [truncated.name, "waiaas.db has not the size that was backed up"],
        // Only reading it tells.
        [flipped.name, null],
        [empty, "it has no manifest"],
      ],
    )
    assert.equal((yield* backups.forRollback(v("2.1.0"))).name, good.name)
    for (const name of [truncated.name, flipped.name, empty])
      assert.equal((yield* Effect.flip(backups.verify(name)))._tag, "BackupDamaged", name)
    // A name in the order is taken even where what stands there is damaged.
    assert.equal((yield* preUpgrade("2.0.0", "2.1.0")).manifest.sequence, 100)
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("two backups in one second share a directory", () =>
  Effect.gen(function* () {
    const { backups, database } = yield* place
    const first = yield* preUpgrade("2.0.0", "2.1.0")
    addAgent(database, "bob")
    const second = yield* preUpgrade("2.0.0", "2.1.0")
    assert.equal(first.manifest.createdAt, second.manifest.createdAt)
    assert.notEqual(first.path, second.path)
    assert.deepEqual((yield* contentOf(join(first.path, "waiaas.db"))).names, ["alice"])
    assert.deepEqual((yield* contentOf(join(second.path, "waiaas.db"))).names, ["alice", "bob"])
    assert.equal((yield* backups.list).length, 2)
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("modes 755/644", () =>
  Effect.gen(function* () {
    const before = process.umask(0)
    const made = yield* Effect.ensuring(
      preUpgrade("2.0.0", "2.1.0"),
      Effect.sync(() => process.umask(before)),
    )
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)
    assert.equal(mode(dirname(made.path)), "700")
    assert.equal(mode(made.path), "700")
    const names = readdirSync(made.path)
    assert.equal(names.length, 3)
    for (const name of names) assert.equal(mode(join(made.path, name)), "600", name)
  }).pipe(Effect.provide(layerInstallation())),
)

it.scopedLive("a custom database path breaks the backup after the daemon was stopped", () =>
  Effect.gen(function* () {
    const { database, paths } = yield* place
    assert.equal(database, join(paths.root, "elsewhere/wallet.db"))
    yield* (yield* Upgrade).run(latest)
    assert.deepEqual(yield* contentOf(database), { names: ["alice"], schema: 5 })
    const [name = ""] = readdirSync(paths.backups)
    assert.deepEqual(yield* contentOf(join(paths.backups, name, "waiaas.db")), {
      names: ["alice"],
      schema: 4,
    })
    addAgent(database, "later")
    yield* asVersion(
      "2.1.0",
      Effect.gen(function* () {
        const rollback = yield* Rollback
        yield* rollback.run(yield* rollback.plan(Option.none()), { restart: true, resumeSuspended: false })
      }),
    )
    assert.deepEqual(yield* contentOf(database), { names: ["alice"], schema: 4 })
    assert.ok(!existsSync(join(paths.data, "waiaas.db")))
  }).pipe(
    Effect.provide(
      layerInstallation({ configToml: '[daemon]\nport = 3100\n[database]\npath = "elsewhere/wallet.db"\n' }),
    ),
  ),
)
