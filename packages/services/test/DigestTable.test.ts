/** A table's digest is of its values alone: not of their order on the disk, and of every bit of them. */
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { digestTable } from "@waiaas/services/DigestTable"
import { exactly, quoted, rowidOf, soundKeyOf, tablesOf } from "@waiaas/services/TableShapes"
import { layerDatabaseAt } from "@waiaas/services/testing/TestDatabase"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const run = (...statements: ReadonlyArray<string>) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }),
  )
const digestOf = (table: string, ...columns: ReadonlyArray<string>) =>
  Effect.flatMap(tablesOf("main"), (tables) => digestTable(tables.get(table), table, columns))
const known = (table: string, ...columns: ReadonlyArray<string>) =>
  Effect.map(digestOf(table, ...columns), Option.getOrThrow)

describe("the digest of a table", () => {
  for (const [name, key] of [
    ["one key", "PRIMARY KEY NOT NULL"],
    ["no key", ""],
  ] as const)
    it.effect(`with ${name} is that of its rows, in whatever order they were written`, () =>
      Effect.gen(function* () {
        for (const table of ["one", "other"]) yield* run(`CREATE TABLE ${table} (id TEXT ${key}, b)`)
        yield* run(
          "INSERT INTO one VALUES ('a', 1), ('b', 2), ('c', NULL)",
          "INSERT INTO other VALUES ('c', NULL), ('b', 2), ('a', 1)",
        )
        const whole = yield* known("one", "id", "b")
        assert.strictEqual(whole.rows, 3)
        assert.deepStrictEqual(yield* known("other", "id", "b"), whole)
        assert.notStrictEqual((yield* known("one", "b", "id")).digest, whole.digest)
        assert.notStrictEqual((yield* known("one", "id")).digest, whole.digest)
        for (const change of [
          "UPDATE other SET b = '1' WHERE id = 'a'",
          "UPDATE other SET b = 1.0 WHERE id = 'a'",
          "UPDATE other SET b = 'NULL' WHERE id = 'a'",
          "UPDATE other SET b = '1' || char(0) WHERE id = 'a'",
          "UPDATE other SET b = '1' || char(0) || 'x' WHERE id = 'a'",
          "DELETE FROM other WHERE id = 'a'",
        ]) {
          const before = yield* known("other", "id", "b")
          yield* run(change)
          assert.notStrictEqual((yield* known("other", "id", "b")).digest, before.digest, change)
        }
        assert.strictEqual((yield* known("other", "id", "b")).rows, 2)
      }).pipe(Effect.provide(layerDatabaseAt(0))),
    )

  it.effect(
    "is of none of its rows where there are none, and is not there without the table or a column",
    () =>
      Effect.gen(function* () {
        yield* run("CREATE TABLE keyed (id INTEGER PRIMARY KEY, b)", "CREATE TABLE loose (b)")
        const empty = { rows: 0, digest: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" }
        assert.deepStrictEqual(yield* known("keyed", "b"), empty)
        assert.deepStrictEqual(yield* known("loose", "b"), empty)
        yield* run("INSERT INTO keyed (b) VALUES (1), (2)", "INSERT INTO loose VALUES (1), (2)")
        // Without columns it counts.
        for (const table of ["keyed", "loose"]) assert.strictEqual((yield* known(table)).rows, 2)
        assert.isTrue(Option.isNone(yield* digestOf("missing", "b")))
        assert.isTrue(Option.isNone(yield* digestOf("keyed", "b", "missing")))
      }).pipe(Effect.provide(layerDatabaseAt(0))),
  )

  for (const [name, type, value] of [
    ["numbers beyond 2^53", "INTEGER PRIMARY KEY", "9007199254740993 + n"],
    ["texts with a NUL and quotes", "TEXT PRIMARY KEY NOT NULL", "printf('%05d''', n) || char(0) || 'x'"],
    ["blobs", "BLOB PRIMARY KEY NOT NULL", "CAST(printf('%05d', n) AS BLOB)"],
  ] as const)
    it.effect(`has each row once though it is read in batches: keys that are ${name}`, () =>
      Effect.gen(function* () {
        yield* run(`CREATE TABLE t (id ${type}, b INTEGER)`)
        const fill = (from: number, to: number) =>
          run(
            `WITH RECURSIVE c (n) AS (SELECT ${from} UNION ALL SELECT n + 1 FROM c WHERE n < ${to}) INSERT INTO t SELECT ${value}, n FROM c`,
          )
        yield* fill(1, 10_000)
        const two = yield* known("t", "id", "b")
        assert.strictEqual(two.rows, 10_000)
        yield* fill(10_001, 10_001)
        const more = yield* known("t", "id", "b")
        assert.strictEqual(more.rows, 10_001)
        // A change in the last, in the second and in the first batch.
        const seen = [two.digest, more.digest]
        for (const row of [10_001, 5_001, 5_000, 1]) {
          yield* run(`UPDATE t SET b = -1 WHERE b = ${row}`)
          const { digest } = yield* known("t", "id", "b")
          assert.notInclude(seen, digest, `row ${row}`)
          seen.push(digest)
        }
      }).pipe(Effect.provide(layerDatabaseAt(0))),
    )
})

describe("the shape of a table", () => {
  it.effect("has the columns that hold data, and a key only where each row has one of its own", () =>
    Effect.gen(function* () {
      yield* run(
        `CREATE TABLE a (y INTEGER NOT NULL, "x ""q" TEXT NOT NULL, g AS (y + 1), PRIMARY KEY ("x ""q", y))`,
        "CREATE TABLE b (id TEXT PRIMARY KEY)",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, rowid TEXT, _ROWID_ TEXT)",
        "CREATE TABLE d (id TEXT, e INT, PRIMARY KEY (e, id)) WITHOUT ROWID",
        "CREATE TABLE e (id TEXT PRIMARY KEY) STRICT",
        "CREATE TABLE f (id INTEGER, x INTEGER, PRIMARY KEY (id, x))",
        "CREATE TABLE g (v)",
      )
      const tables = yield* tablesOf("main")
      const of = (name: string) => {
        const table = tables.get(name)
        assert.isDefined(table)
        return { table, key: soundKeyOf(table).map((each) => each.name), rowid: rowidOf(table) }
      }
      assert.deepStrictEqual([...tables.keys()], ["a", "b", "c", "d", "e", "f", "g"])
      assert.deepStrictEqual(
        of("a").table.columns.map(({ name }) => name),
        ["y", 'x "q', "g"],
      )
      assert.deepStrictEqual([of("a").key, of("a").rowid], [['x "q', "y"], "rowid"])
      assert.deepStrictEqual(of("b").key, [])
      assert.deepStrictEqual([of("c").key, of("c").rowid], [["id"], "oid"])
      assert.deepStrictEqual([of("d").key, of("d").rowid], [["e", "id"], undefined])
      assert.deepStrictEqual([of("e").key, of("e").table.strict, of("b").table.strict], [["id"], true, false])
      assert.deepStrictEqual([of("f").key, of("g").key], [[], []])
      assert.strictEqual(quoted('x "q'), '"x ""q"')
    }).pipe(Effect.provide(layerDatabaseAt(0))),
  )

  it.effect("has a literal of its own for each value", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const values = [
        "NULL",
        "'NULL'",
        "1",
        "'1'",
        "1.0",
        "'1' || char(0)",
        "x'31'",
        "'text 3100'",
        "''",
        "x''",
      ]
      const literals: Array<unknown> = []
      for (const value of values)
        literals.push(
          ...(yield* sql.unsafe<{ it: string }>(`SELECT ${exactly(`(${value})`)} AS it`)).map(({ it }) => it),
        )
      assert.strictEqual(new Set(literals).size, values.length, literals.join(" "))
    }).pipe(Effect.provide(layerDatabaseAt(0))),
  )
})
