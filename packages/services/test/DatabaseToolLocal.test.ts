/** What is compared across versions: an old upgrader and new code must come to the same digest of the same rows. */
import { createHash, randomUUID } from "node:crypto"
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { layerDatabase } from "@waiaas/services/Database"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { migrate } from "@waiaas/services/Migrator"
import { DataDir } from "@waiaas/services/platform/DataDir"
import type { DurableFile } from "@waiaas/services/platform/DurableFile"
import type { Environment } from "@waiaas/services/platform/Environment"
import { agentIdOf, insertAgent } from "@waiaas/services/testing/TestDatabase"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerDataDir } from "./support.ts"

const ROWS = 5003

const layer = layerDatabaseToolLocal({
  describe: () => Effect.dieMessage("nobody asks"),
  openKeys: () => Effect.dieMessage("nobody asks"),
}).pipe(Layer.provideMerge(layerDataDir()))

/** Writes into a database of its own, and digests its table `t`. */
const digestOf = (statements: ReadonlyArray<string>, columns: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    const database = join(paths.root, `${randomUUID()}.db`)
    yield* Effect.flatMap(SqlClient, (sql) =>
      Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }),
    ).pipe(Effect.provide(layerDatabase({ path: database, create: true })))
    const { tables } = yield* (yield* DatabaseTool).examine("", database, "none", { t: columns })
    return tables.t
  })

describe("the digest of a table", () => {
  const kinds: ReadonlyArray<readonly [string, string, string]> = [
    ["texts that differ after a NUL", "'a' || char(0) || 'b'", "'a' || char(0) || 'c'"],
    ["a text with a NUL and its hexadecimal form", "'a' || char(0)", "'text 6100'"],
    ["a text and a blob of the same bytes", "'ab'", "x'6162'"],
    ["NULL and its name", "NULL", "'NULL'"],
    ["an integer, a real and a text of the same digits", "1", "1.0"],
    ["integers beyond 2^53", "9007199254740993", "9007199254740992"],
    ["reals that print alike", "0.1", "0.1 + 1e-17 * 3"],
    ["a quote and two columns", "'x'',''y'", "'x'"],
  ]
  for (const [name, one, other] of kinds)
    it.scopedLive(`distinguishes ${name}`, () =>
      Effect.gen(function* () {
        const table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)"
        const of = (value: string) => digestOf([table, `INSERT INTO t VALUES (1, ${value}, 'y')`], ["a", "b"])
        const [first, second] = [yield* of(one), yield* of(other)]
        assert.strictEqual(first?.rows, 1)
        assert.notStrictEqual(first?.digest, second?.digest)
        assert.deepStrictEqual(yield* of(one), first)
      }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("is of the content alone: not of rowids, of the order of inserts or of an index", () =>
    Effect.gen(function* () {
      const values = ["('b', 2)", "('a', 3)", "('c', 1)"]
      for (const key of ["a TEXT PRIMARY KEY NOT NULL, b", "a TEXT, b, PRIMARY KEY (a, b)", "a TEXT, b"]) {
        const of = (order: ReadonlyArray<string>, more: ReadonlyArray<string>) =>
          digestOf([`CREATE TABLE t (${key})`, `INSERT INTO t VALUES ${order.join()}`, ...more], ["b", "a"])
        const first = yield* of(values, [])
        assert.deepStrictEqual(yield* of(values.toReversed(), ["CREATE INDEX i ON t (b, a)"]), first)
        assert.notDeepEqual(yield* of(values.slice(1), []), first)
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("loses no row at the edge of a batch, for every key", () =>
    Effect.gen(function* () {
      const numbers = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})`
      const keys = [
        ["INTEGER PRIMARY KEY", "9007199254740992 + i"],
        ["REAL PRIMARY KEY NOT NULL", "i * 0.1"],
        ["TEXT PRIMARY KEY NOT NULL", "'it''s' || char(0) || i"],
        ["BLOB PRIMARY KEY NOT NULL", "CAST(i AS BLOB)"],
        ["TEXT PRIMARY KEY", "CASE WHEN i % 2 THEN NULL ELSE i END"],
      ]
      for (const [type, value] of keys) {
        const made = [`CREATE TABLE t (id ${type}, a)`, `INSERT INTO t ${numbers} SELECT ${value}, i FROM n`]
        const first = yield* digestOf(made, ["a"])
        assert.strictEqual(first?.rows, ROWS, type)
        const changed = yield* digestOf([...made, "UPDATE t SET a = -1 WHERE a = 5000"], ["a"])
        assert.notStrictEqual(changed?.digest, first?.digest, type)
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("is left out where the table or a column is not there", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* digestOf(["CREATE TABLE other (a)"], ["a"]), undefined)
      assert.strictEqual(yield* digestOf(["CREATE TABLE t (a)"], ["a", "b"]), undefined)
    }).pipe(Effect.provide(layer)),
  )
})

it.scopedLive(
  "the digest of a table is of its rows in the order of their keys, beyond one batch of them",
  () =>
    Effect.gen(function* () {
      const database = join((yield* DataDir).paths.root, "some.db")
      const rows = Array.from({ length: ROWS }, (_, index) => ({
        id: `k${String((index * 7919) % ROWS).padStart(5, "0")}`,
        name: index === 0 ? null : index === 1 ? "it's\n,\u00e9" : `n${index}`,
      }))
      const write = (statement: string) =>
        Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement)).pipe(
          Effect.provide(layerDatabase({ path: database, create: true })),
          Effect.scoped,
        )
      yield* write("CREATE TABLE agents (name TEXT, id TEXT PRIMARY KEY, other INTEGER)")
      const quoted = (text: string | null) => (text === null ? "NULL" : `'${text.replaceAll("'", "''")}'`)
      yield* write(
        `INSERT INTO agents (id, name) VALUES ${rows.map(({ id, name }) => `(${quoted(id)}, ${quoted(name)})`).join()}`,
      )
      const lines = rows
        .toSorted((one, other) => (one.id < other.id ? -1 : 1))
        .map(({ id, name }) => `${quoted(id)},${quoted(name)}\n`)
      const expected = createHash("sha256").update(lines.join("")).digest("hex")
      const { examine } = yield* DatabaseTool
      const digest = Effect.map(
        examine("", database, "quick", { agents: ["id", "name"] }),
        ({ tables }) => tables.agents,
      )
      assert.deepStrictEqual(yield* digest, { rows: ROWS, digest: expected })
      yield* write("UPDATE agents SET other = 1")
      assert.deepStrictEqual(yield* digest, { rows: ROWS, digest: expected })
      yield* write("UPDATE agents SET name = 'x' WHERE id = 'k05002'")
      assert.notStrictEqual((yield* digest)?.digest, expected)
    }).pipe(Effect.provide(layer)),
)

it.scopedLive("an agent that is made while the keys are opened is not missed as one without a key", () =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    const database = join(paths.root, "agents.db")
    const inDatabase = Effect.provide(layerDatabase({ path: database, create: true }))
    yield* Effect.zipRight(migrate(database), Effect.forEach(["alice", "bob"], insertAgent)).pipe(inDatabase)
    const context = yield* Effect.context<DurableFile | Environment>()
    const acts = {
      describe: () => Effect.dieMessage("nobody asks"),
      // The keystore was listed; then another agent came, whose key and row are both there at the end.
      openKeys: () =>
        Effect.as(Effect.orDie(insertAgent("late").pipe(inDatabase)), {
          open: ["alice", "of no agent"].map((name) => ({
            agent: agentIdOf(name),
            publicKey: `key-${name}`,
          })),
          damaged: [agentIdOf("bob"), agentIdOf("of nobody")],
        }).pipe(Effect.provide(context)),
    }
    const { keys } = yield* Effect.flatMap(DatabaseTool, (tool) =>
      tool.examineKeys("", database, "none", paths.root),
    ).pipe(Effect.provide(layerDatabaseToolLocal(acts)))
    assert.deepStrictEqual(keys, {
      agents: 2,
      open: 2,
      missing: 1,
      names: ["bob"],
      damaged: [
        { id: agentIdOf("bob"), isOfAgent: true },
        { id: agentIdOf("of nobody"), isOfAgent: false },
      ],
    })
  }).pipe(Effect.provide(layer)),
)
