/** What retention removes of old backups, and what it leaves: no write's only copy goes. */
import { existsSync, mkdirSync } from "node:fs"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { type BackupKind, retention } from "@waiaas/domain/BackupManifest"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { layerDatabase } from "@waiaas/services/Database"
import { Environment } from "@waiaas/services/platform/Environment"
import { Rollback } from "@waiaas/services/Rollback"
import { asVersion, contentOf } from "@waiaas/services/testing/SimulatedUpgrade"
import { insertAgent } from "@waiaas/services/testing/TestDatabase"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerInstalled, upgrade } from "./simulated.ts"

const place = Effect.gen(function* () {
  const { databasePath: database } = yield* (yield* ConfigFile).load
  const { packageDir } = yield* Environment
  const backups = yield* Backup
  const inDatabase = Effect.provide(layerDatabase({ path: database, create: false }))
  return {
    backups,
    add: (name: string) => insertAgent(name).pipe(inDatabase),
    write: (...statements: ReadonlyArray<string>) =>
      Effect.flatMap(SqlClient, (sql) =>
        Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }),
      ).pipe(inDatabase, Effect.scoped),
    make: (kind: BackupKind) =>
      backups.create({
        kind,
        source: "closed",
        database,
        from: makeVersion("2.0.0"),
        to: makeVersion("2.9.9"),
        packageDir,
      }),
    prune: backups.prune(makeVersion("2.0.0"), { database, packageDir }),
    sequences: Effect.map(backups.list, (all) => all.map(({ manifest }) => manifest?.sequence)),
  }
})

const rollback = asVersion(
  "2.1.0",
  Effect.flatMap(Rollback, (service) =>
    Effect.flatMap(service.plan(Option.none()), (plan) =>
      service.run(plan, { restart: true, resumeSuspended: false }),
    ),
  ),
)

describe("the retention of backups", () => {
  it.scopedLive(
    "keeps an agent that is in one old backup alone, through any number of upgrades and rollbacks",
    () =>
      Effect.gen(function* () {
        const { backups, add } = yield* place
        yield* upgrade()
        yield* add("only here")
        const { aside } = yield* rollback
        for (const _ of [1, 2, 3]) {
          yield* upgrade()
          const { pruned } = yield* rollback
          const [kept] = pruned.kept
          if (kept !== undefined)
            assert.deepStrictEqual(kept, {
              name: aside,
              reason: "it has the only copy of 1 write (agent only here)",
            })
          assert.notInclude(pruned.removed, aside)
        }
        const entries = yield* backups.list
        const [found] = entries.filter(({ name }) => name === aside)
        assert.deepStrictEqual((yield* contentOf(`${found?.path}/waiaas.db`)).names, ["alice", "only here"])
        // What is nowhere unique went, and the last rollback said so.
        assert.strictEqual(entries.filter(({ manifest }) => manifest?.kind === "pre-rollback").length, 3)
        assert.strictEqual((yield* upgrade())._tag, "Upgraded")
        const last = yield* rollback
        assert.deepStrictEqual(
          [last.pruned.removed.length, last.pruned.kept.map(({ name }) => name)],
          [1, [aside]],
        )
      }).pipe(Effect.provide(layerInstalled())),
  )

  for (const kind of ["pre-upgrade", "pre-rollback", "pre-migrate"] as const)
    it.scopedLive(
      `removes an old ${kind} backup whose writes are elsewhere too, and keeps one with a suspension of its own`,
      () =>
        Effect.gen(function* () {
          const { make, write, prune, sequences } = yield* place
          yield* make(kind)
          yield* write("UPDATE agents SET status = 'suspended', updated_at = 5")
          yield* make(kind)
          // As after a restore: that suspension is in none of the later ones.
          yield* write("DELETE FROM agent_events WHERE event = 'suspended'")
          yield* write("UPDATE agents SET status = 'active'")
          for (let index = 0; index < retention[kind]; index++) yield* make(kind)
          const { removed, kept } = yield* prune
          assert.deepStrictEqual([removed.length, kept.length], [1, 1])
          assert.strictEqual(kept[0]?.reason, "it has the only copy of 1 write (agent alice)")
          assert.notInclude(yield* sequences, 1)
          assert.include(yield* sequences, 2)
          // Once another one has it, too, it goes.
          yield* write("UPDATE agents SET status = 'suspended', updated_at = 5")
          assert.strictEqual((yield* prune).removed.length, 1)
        }).pipe(Effect.provide(layerInstalled())),
    )

  it.scopedLive("keeps the owner that one backup alone has, and the record of an agent that is no more", () =>
    Effect.gen(function* () {
      const { add, make, write, prune, sequences } = yield* place
      yield* write("UPDATE agents SET owner_address = 'mine'")
      yield* make("pre-migrate")
      yield* write("UPDATE agents SET owner_address = 'theirs'")
      yield* add("bob")
      yield* write(
        "PRAGMA foreign_keys = OFF",
        "UPDATE agents SET status = 'suspended', updated_at = 5 WHERE name = 'bob'",
        "DELETE FROM agents WHERE name = 'bob'",
      )
      yield* make("pre-migrate")
      yield* write("DELETE FROM agent_events WHERE event = 'suspended'")
      for (let index = 0; index < retention["pre-migrate"]; index++) yield* make("pre-migrate")
      assert.deepStrictEqual(
        (yield* prune).kept.map(({ reason }) => reason),
        ["it has the only copy of 1 write (agent alice)", "it has the only copy of 1 write"],
      )
      assert.deepStrictEqual((yield* sequences).toSorted().slice(0, 2), [1, 2])
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("removes what an earlier command left of a backup when it was killed", () =>
    Effect.gen(function* () {
      const { make, prune, backups, sequences } = yield* place
      const { path } = yield* make("manual")
      const partial = `${path.slice(0, path.lastIndexOf("/"))}/.partial-manual-7`
      mkdirSync(partial)
      yield* prune
      assert.isFalse(existsSync(partial))
      assert.deepStrictEqual(yield* sequences, [1])
      assert.strictEqual((yield* backups.list).length, 1)
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("leaves one of two old backups that have the same write and nobody else has", () =>
    Effect.gen(function* () {
      const { make, write, add, prune, sequences } = yield* place
      yield* add("bob")
      yield* make("pre-migrate")
      yield* make("pre-migrate")
      yield* write("DELETE FROM agent_events")
      yield* write("DELETE FROM agents WHERE name = 'bob'")
      for (let index = 0; index < retention["pre-migrate"]; index++) yield* make("pre-migrate")
      const { removed, kept } = yield* prune
      assert.deepStrictEqual([removed.length, kept.length], [1, 1])
      assert.deepStrictEqual(yield* sequences, [2, 3, 4])
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("keeps one that cannot be compared, and removes one that an undo has used up", () =>
    Effect.gen(function* () {
      const { make, prune, backups } = yield* place
      const made = []
      for (let index = 0; index < retention["pre-migrate"] + 2; index++) made.push(yield* make("pre-migrate"))
      const [first, second] = made
      assert.isDefined(first)
      assert.isDefined(second)
      yield* backups.markUsed(first.name, 3)
      const { rm, writeFile, stat } = yield* Effect.promise(() => import("node:fs/promises"))
      yield* Effect.promise(() => rm(`${first.path}/waiaas.db`))
      const size = (yield* Effect.promise(() => stat(`${second.path}/waiaas.db`))).size
      yield* Effect.promise(() => writeFile(`${second.path}/waiaas.db`, Buffer.alloc(size, 7)))
      const { removed, kept } = yield* prune
      assert.deepStrictEqual([removed, kept.map(({ name }) => name)], [[first.name], [second.name]])
      assert.match(kept[0]?.reason ?? "", /^it could not be compared: /)
      assert.isTrue(existsSync(second.path))
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("keeps a row that one backup alone has, in a table that this version does not know", () =>
    Effect.gen(function* () {
      const { make, write, prune } = yield* place
      yield* write(
        "CREATE TABLE policies (id TEXT PRIMARY KEY NOT NULL, most INTEGER)",
        "INSERT INTO policies VALUES ('p', 1)",
      )
      const first = yield* make("pre-migrate")
      yield* write("UPDATE policies SET most = 2")
      const second = yield* make("pre-migrate")
      // A column that came later has its default in the others.
      yield* write("ALTER TABLE policies ADD COLUMN least INTEGER DEFAULT 0")
      for (let index = 0; index < retention["pre-migrate"]; index++) yield* make("pre-migrate")
      yield* write("DROP TABLE policies")
      const { removed, kept } = yield* prune
      assert.deepStrictEqual(removed, [second.name])
      assert.deepStrictEqual(kept, [{ name: first.name, reason: "it has the only copy of 1 write" }])
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("counts no copy that could not be restored", () =>
    Effect.gen(function* () {
      const { make, write, add, prune, backups } = yield* place
      yield* add("bob")
      const first = yield* make("pre-migrate")
      const copy = yield* make("manual")
      yield* write("DELETE FROM agent_events", "DELETE FROM agents WHERE name = 'bob'")
      for (let index = 0; index < retention["pre-migrate"]; index++) yield* make("pre-migrate")
      // As long as ever, and every row of it is read: only its hash is another one.
      const { open } = yield* Effect.promise(() => import("node:fs/promises"))
      yield* Effect.promise(async () => {
        const file = await open(`${copy.path}/waiaas.db`, "r+")
        await file.write(Buffer.from([7]), 0, 1, 68)
        await file.close()
      })
      assert.strictEqual((yield* Effect.flip(backups.verify(copy.name)))._tag, "BackupDamaged")
      const { removed, kept } = yield* prune
      assert.deepStrictEqual([removed, kept.map(({ name }) => name)], [[], [first.name]])
      assert.include(kept[0]?.reason, "the only copy of 1 write (agent bob)")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("keeps one that somebody put a file into", () =>
    Effect.gen(function* () {
      const { make, prune } = yield* place
      const first = yield* make("pre-migrate")
      for (let index = 0; index < retention["pre-migrate"]; index++) yield* make("pre-migrate")
      const { writeFile } = yield* Effect.promise(() => import("node:fs/promises"))
      yield* Effect.promise(() => writeFile(`${first.path}/keystore.tar`, "all keys"))
      const { removed, kept } = yield* prune
      assert.deepStrictEqual(removed, [])
      assert.deepStrictEqual(kept, [
        { name: first.name, reason: "it has a file that is not part of it (keystore.tar)" },
      ])
    }).pipe(Effect.provide(layerInstalled())),
  )
})
