/** How a database is opened, what is stored in it of this code, and what a failure says. */
import { statSync, symlinkSync, writeFileSync } from "node:fs"
import { SqlClient } from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import { assert, describe, it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { databaseFailed, layerDatabase, reasonOf } from "@waiaas/services/Database"
import { counted, expectDeclared, expectKnown, expectVersion, versionIn } from "@waiaas/services/Invariants"
import { KeyValueStore } from "@waiaas/services/KeyValueStore"
import { migrate } from "@waiaas/services/Migrator"
import { migrations } from "@waiaas/services/migrations/index"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { layerDatabaseAt } from "@waiaas/services/testing/TestDatabase"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import { readWrittenBy, recordWrittenBy } from "@waiaas/services/WrittenBy"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerPlatform, temporaryDirectory } from "./support.ts"

describe("a database", () => {
  it.scopedLive("is made 0600 in a 0700 directory where it may be, and never elsewhere", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const path = `${root}/data/it.db`
      const open = (create: boolean) =>
        Effect.flatMap(SqlClient, (sql) => sql.unsafe("CREATE TABLE IF NOT EXISTS t (a)")).pipe(
          Effect.provide(layerDatabase({ path, create })),
        )
      const missing = yield* Effect.flip(open(false))
      assert.include(missing.message, `${path}: could not open it: it does not exist`)
      assert.isUndefined(statSync(`${root}/data`, { throwIfNoEntry: false }))
      yield* open(true)
      assert.deepStrictEqual(
        [`${root}/data`, path].map((each) => statSync(each).mode & 0o777),
        [0o700, 0o600],
      )
      yield* open(false)
      writeFileSync(path, "this is no database\n".repeat(500))
      const damaged = yield* Effect.flip(open(false))
      assert.strictEqual(damaged._tag, "DatabaseFailed")
      assert.include(damaged.message, "file is not a database")
      symlinkSync("loop.db", `${root}/loop.db`)
      const looped = yield* Effect.flip(
        Effect.void.pipe(Effect.provide(layerDatabase({ path: `${root}/loop.db/it.db`, create: true }))),
      )
      assert.strictEqual(looped._tag, "DatabaseFailed")
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive(
    "loses no acknowledged write to a power cut, keeps its references, and waits for other writers",
    () =>
      Effect.gen(function* () {
        const path = `${yield* temporaryDirectory}/it.db`
        const settings = yield* Effect.gen(function* () {
          const sql = yield* SqlClient
          const of = (name: string) => Effect.map(sql.unsafe(`PRAGMA ${name}`).values, ([row]) => row?.[0])
          return yield* Effect.all([
            of("journal_mode"),
            of("synchronous"),
            of("foreign_keys"),
            of("busy_timeout"),
          ])
        }).pipe(Effect.provide(layerDatabase({ path, create: true })))
        // FULL is 2.
        assert.deepStrictEqual(settings, ["wal", 2, 1, 5000])
      }).pipe(Effect.provide(layerPlatform())),
  )

  it.effect("names what was tried and SQLite's own words in a failure", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.flip(
        new SqlError({ cause: new Error("no such table: t"), message: "the whole statement" }).pipe(
          databaseFailed("read it", "/p/it.db"),
        ),
      )
      assert.deepStrictEqual(
        [failed.operation, failed.path, failed.reason],
        ["read it", "/p/it.db", "no such table: t"],
      )
      assert.deepStrictEqual(
        [reasonOf(new Error("one")), reasonOf({ cause: "two" }), reasonOf("three"), reasonOf(null)],
        ["one", "two", "three", "null"],
      )
    }),
  )
})

describe("what is stored by key", () => {
  const layerStored = KeyValueStore.layer.pipe(
    Layer.provideMerge(layerDatabaseAt()),
    Layer.provideMerge(layerEnvironment({ now: Effect.succeed(7_900) })),
  )
  for (const [name, layer] of [
    ["the database", layerStored],
    ["memory", KeyValueStore.layerMemory],
  ] as const)
    it.effect(`is had again from ${name}, replaced, and removed alone`, () =>
      Effect.gen(function* () {
        const { get, set, remove } = yield* KeyValueStore
        assert.isTrue(Option.isNone(yield* get("a")))
        yield* set("a", "1")
        yield* set("b", "2")
        yield* set("a", "3")
        assert.deepStrictEqual([yield* get("a"), yield* get("b")], [Option.some("3"), Option.some("2")])
        yield* remove("a")
        yield* remove("missing")
        assert.deepStrictEqual([yield* get("a"), yield* get("b")], [Option.none(), Option.some("2")])
      }).pipe(Effect.provide(layer)),
    )

  it.effect("has the second in which it was stored", () =>
    Effect.gen(function* () {
      yield* (yield* KeyValueStore).set("a", "1")
      const sql = yield* SqlClient
      assert.deepStrictEqual(yield* sql`SELECT updated_at FROM key_value_store WHERE key = 'a'`, [
        { updated_at: 7 },
      ])
    }).pipe(Effect.provide(layerStored)),
  )
})

describe("which version wrote the data", () => {
  const known = (schema: number) => Effect.map(readWrittenBy("it", schema), Option.getOrNull)
  it.effect("is known for the schema that it wrote alone, and recorded once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const environment = yield* Environment
      const record = (version: string, seconds: number) =>
        Effect.provideService(recordWrittenBy("it"), Environment, {
          ...environment,
          version: makeVersion(version),
          now: Effect.succeed(seconds * 1000),
        })
      const stored = Effect.map(
        sql<{ value: string; updated_at: number }>`SELECT value, updated_at FROM key_value_store`,
        (rows) => rows.map(({ value, updated_at }) => `${value} ${updated_at}`),
      )
      assert.isNull(yield* known(4))
      yield* record("2.0.0", 1)
      assert.deepStrictEqual(yield* stored, ['{"version":"2.0.0","schema":4} 1'])
      // Each start would write otherwise, and no backup would serve a second one.
      yield* record("2.0.0", 2)
      assert.deepStrictEqual(yield* stored, ['{"version":"2.0.0","schema":4} 1'])
      assert.deepStrictEqual([yield* known(4), yield* known(5), yield* known(0)], ["2.0.0", null, null])
      yield* record("2.0.1", 3)
      assert.deepStrictEqual(yield* stored, ['{"version":"2.0.1","schema":4} 3'])
      yield* migrate("it", migrations)
      assert.isNull(yield* known(5))
      yield* record("2.0.1", 4)
      assert.strictEqual(yield* known(5), "2.0.1")
      for (const bad of ["", "{}", '{"version":"v2","schema":5}']) {
        yield* sql`UPDATE key_value_store SET value = ${bad}`
        assert.isNull(yield* known(5))
      }
    }).pipe(Effect.provide(layerDatabaseAt(4)), Effect.provide(layerEnvironment())),
  )

  it.effect("is not asked of a database that has no tables yet", () =>
    Effect.gen(function* () {
      assert.isNull(yield* known(0))
    }).pipe(Effect.provide(layerDatabaseAt(0))),
  )
})

describe("what a run expects of a candidate", () => {
  it.effect("is that it declares what it changes, in kinds that this code can verify", () =>
    Effect.gen(function* () {
      const run = { started: { from: makeVersion("2.0.0"), to: makeVersion("2.1.0") } } as Parameters<
        typeof expectKnown
      >[0]
      const known = { _tag: "RowsAdded", table: "t" } as const
      assert.deepStrictEqual(yield* expectKnown(run, [known]), [known])
      assert.deepStrictEqual(yield* expectKnown(run, []), [])
      const refused = yield* Effect.flip(expectKnown(run, [known, { _tag: "TriggerAdded" }]))
      assert.strictEqual(refused.version, "2.1.0")
      assert.include(refused.message, "a change of a kind that 2.0.0 cannot verify (TriggerAdded)")
      yield* expectDeclared({ differences: [], absent: [known] })
      const more = yield* Effect.flip(
        expectDeclared({ differences: [{ change: known, rows: 1, sample: [] }], absent: [] }),
      )
      assert.include(more.message, "t has 1 row more")
      assert.deepStrictEqual(
        [0, 1, 2].map((count) => counted(count, "row")),
        ["0 rows", "1 row", "2 rows"],
      )
    }),
  )

  it.scopedLive("is that the package in place says to be the version that was meant", () =>
    Effect.gen(function* () {
      const files = yield* DurableFile
      const root = yield* temporaryDirectory
      assert.isTrue(Option.isNone(yield* versionIn(files, root)))
      const unknown = yield* Effect.flip(expectVersion(files, root, "2.1.0"))
      assert.include(unknown.message, "unknown")
      writeFileSync(`${root}/package.json`, '{"version":"2.1.0"}')
      yield* expectVersion(files, root, "2.1.0")
      const other = yield* Effect.flip(expectVersion(files, root, "2.0.0"))
      assert.deepStrictEqual([other._tag, "found" in other && other.found], ["VerificationFailed", "2.1.0"])
    }).pipe(Effect.provide(layerPlatform())),
  )
})
