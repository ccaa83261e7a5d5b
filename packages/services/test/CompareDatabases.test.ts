/** What is compared across a migration: everything, but for what the migration declares; and each declaration happens. */
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { type Change, differenceInWords } from "@waiaas/domain/SchemaChange"
import { layerDatabase } from "@waiaas/services/Database"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { migrate } from "@waiaas/services/Migrator"
import { type Migration, migrations } from "@waiaas/services/migrations/index"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerDataDir } from "./support.ts"

const nobody = () => Effect.dieMessage("nobody asks")
const layer = layerDatabaseToolLocal({ describe: nobody, openKeys: nobody }).pipe(
  Layer.provideMerge(layerDataDir()),
)

/** A database before and the same one after `change`. */
const pair = <E, R>(make: Effect.Effect<void, E, R>, change: Effect.Effect<ReadonlyArray<Change>, E, R>) =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    const files = yield* DurableFile
    const place = join(paths.root, String((yield* files.list(paths.root)).length))
    const [before, after] = [`${place}-before.db`, `${place}-after.db`]
    yield* Effect.provide(make, layerDatabase({ path: before, create: true }))
    yield* files.copy(before, after)
    const changes = yield* Effect.provide(change, layerDatabase({ path: after, create: false }))
    const found = yield* (yield* DatabaseTool).compare("", { before, after, changes, limit: 2 })
    return { ...found, words: found.differences.map(differenceInWords) }
  })

const run = (statements: ReadonlyArray<string>) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }),
  )
const changed = (
  before: ReadonlyArray<string>,
  after: ReadonlyArray<string>,
  changes: ReadonlyArray<Change> = [],
) => pair(run(before), Effect.as(run(after), changes))

const agents = ["one", "two", "three"].map(
  (name, index) => `INSERT INTO agents (id, name, chain, network, public_key, status, created_at, updated_at)
    VALUES ('id-${name}', '${name}', 'solana', 'mainnet', 'pk-${name}', '${index === 0 ? "suspended" : "active"}', ${index}, ${index})`,
)
/** Rows in every table that a schema has. */
const filled = (schema: number) =>
  Effect.gen(function* () {
    yield* migrate("it", migrations.slice(0, schema)).pipe(Effect.provide(layerEnvironment()))
    if (schema >= 1) yield* run(["INSERT INTO key_value_store VALUES ('latest_version', '1.5.1', 100)"])
    if (schema >= 2) yield* run(agents)
    if (schema >= 3) yield* run(["UPDATE agents SET owner_address = '0xowner' WHERE id = 'id-one'"])
  })
const migrated = (from: number, known: ReadonlyArray<Migration>) =>
  pair(
    filled(from),
    migrate("it", known).pipe(
      Effect.map(({ changes }) => changes),
      Effect.provide(layerEnvironment()),
    ),
  )
const next = (statements: ReadonlyArray<string>, changes: ReadonlyArray<Change> = []): Migration => ({
  id: migrations.length + 1,
  name: "next",
  statements,
  changes,
})

describe("a released migration", () => {
  for (const from of migrations.map(({ id }) => id - 1))
    it.scopedLive(`does what it declares and nothing else, ${from} -> ${from + 1}`, () =>
      Effect.gen(function* () {
        const found = yield* migrated(from, migrations.slice(0, from + 1))
        assert.deepStrictEqual(found, { differences: [], absent: [], words: [] })
      }).pipe(Effect.provide(layer)),
    )

  for (const from of [3, 4])
    it.scopedLive(`does so together with those after it, ${from} -> ${migrations.length}`, () =>
      Effect.gen(function* () {
        const found = yield* migrated(from, migrations)
        assert.deepStrictEqual(found, { differences: [], absent: [], words: [] })
      }).pipe(Effect.provide(layer)),
    )
})

describe("what a migration does not declare is found", () => {
  const activates = [
    "UPDATE agents SET status = 'active', updated_at = 7",
    "UPDATE agents SET owner_address = NULL",
  ]
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<string>, ReadonlyArray<string>]> = [
    [
      "an agent that is active again and has no owner any more",
      activates,
      [
        "agents.status changed in 1 row (one)",
        "agents.updated_at changed in 3 rows (one, three, and 1 more)",
        "agents.owner_address changed in 1 row (one)",
        "agent_events has 1 row (4) more",
      ],
    ],
    ["a row that is gone", ["DELETE FROM key_value_store"], ["key_value_store lost 1 row (latest_version)"]],
    [
      "a row that is new",
      [agents[0]?.replaceAll("one", "four") ?? ""],
      ["agents has 1 row (four) more", "agent_events has 1 row (4) more"],
    ],
    ["a constraint that is gone", ["DROP INDEX agents_public_key"], ["index agents_public_key is gone"]],
    [
      "an index that is no constraint any more",
      ["DROP INDEX agents_public_key", "CREATE INDEX agents_public_key ON agents (public_key)"],
      ["index agents_public_key is another one"],
    ],
    ["a trigger that is gone", ["DROP TRIGGER agents_status"], ["trigger agents_status is gone"]],
    [
      "the numbers that mark the file",
      ["PRAGMA user_version = 7", "PRAGMA application_id = 8"],
      ["user_version is another one", "application_id is another one"],
    ],
    ["a table that is gone", ["DROP TABLE key_value_store"], ["table key_value_store is gone"]],
    ["a table that is new", ["CREATE TABLE extra (a)"], ["table extra is new"]],
    [
      "a column that is gone, and one that is new",
      ["ALTER TABLE agents RENAME COLUMN network TO net"],
      ["column agents.network is gone", "column agents.net is new"],
    ],
    [
      "the record of an earlier migration",
      ["UPDATE schema_version SET checksum = 'x' WHERE version = 1"],
      ["schema_version.checksum changed in 1 row (key_value_store)"],
    ],
  ]
  for (const [name, statements, words] of cases)
    it.scopedLive(name, () =>
      Effect.gen(function* () {
        const found = yield* migrated(migrations.length, [...migrations, next(statements)])
        assert.sameMembers(found.words, [...words])
        assert.deepStrictEqual(found.absent, [])
      }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("a view that is gone or another one; a new one is no loss", () =>
    Effect.gen(function* () {
      const views = [
        "CREATE TABLE t (a)",
        "CREATE VIEW one AS SELECT a FROM t",
        "CREATE VIEW two AS SELECT a FROM t",
      ]
      const change = [
        "DROP VIEW one",
        "DROP VIEW two",
        "CREATE VIEW two AS SELECT 1",
        "CREATE VIEW new AS SELECT 2",
      ]
      assert.deepStrictEqual((yield* changed(views, change)).words, [
        "view one is gone",
        "view two is another one",
      ])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("an index and a trigger that are lost where their table is built anew", () =>
    Effect.gen(function* () {
      const made = [
        "CREATE TABLE t (a)",
        "CREATE UNIQUE INDEX once ON t (a)",
        "CREATE TRIGGER kept BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'no'); END",
      ]
      const anew = ["CREATE TABLE u (a)", "DROP TABLE t", "ALTER TABLE u RENAME TO t"]
      assert.deepStrictEqual((yield* changed(made, anew)).words, [
        "index once is gone",
        "trigger kept is gone",
      ])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("in a table that no list knows", () =>
    Effect.gen(function* () {
      const found = yield* changed(
        [
          "CREATE TABLE policies (id TEXT PRIMARY KEY, most INTEGER) STRICT",
          "INSERT INTO policies VALUES ('p', 1)",
        ],
        ["UPDATE policies SET most = 2"],
      )
      assert.deepStrictEqual(found.words, ["policies.most changed in 1 row (p)"])
      assert.deepStrictEqual(found.differences[0]?.sample, [
        { key: { id: "p" }, name: null, before: "1", after: "2" },
      ])
    }).pipe(Effect.provide(layer)),
  )
})

describe("a declared change", () => {
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<string>, ReadonlyArray<Change>]> = [
    [
      "of values is allowed, and in no other column",
      ["UPDATE agents SET status = 'active'", "DELETE FROM agent_events WHERE event = 'active'"],
      [{ _tag: "ValuesChanged", table: "agents", column: "status" }],
    ],
    [
      "of names is followed, and what is under them is compared",
      ["ALTER TABLE agents RENAME TO wallets", "ALTER TABLE wallets RENAME COLUMN chain TO ledger"],
      [
        { _tag: "TableRenamed", table: "agents", to: "wallets" },
        { _tag: "ColumnRenamed", table: "wallets", column: "chain", to: "ledger" },
      ],
    ],
    [
      "of columns is allowed",
      ["ALTER TABLE agents DROP COLUMN owner_address", "ALTER TABLE agents ADD COLUMN note TEXT"],
      [
        { _tag: "ColumnDropped", table: "agents", column: "owner_address" },
        { _tag: "ColumnAdded", table: "agents", column: "note" },
      ],
    ],
    [
      "of rows is allowed",
      ["DELETE FROM key_value_store", "INSERT INTO key_value_store VALUES ('x', 'y', 1)"],
      [
        { _tag: "RowsAdded", table: "key_value_store" },
        { _tag: "RowsRemoved", table: "key_value_store" },
      ],
    ],
    [
      "of an index, a trigger and a number is allowed",
      [
        "DROP INDEX agents_public_key",
        "DROP TRIGGER agents_status",
        "CREATE TRIGGER agents_status AFTER DELETE ON agents BEGIN SELECT 1; END",
        "PRAGMA user_version = 7",
      ],
      [
        { _tag: "ObjectDropped", kind: "index", name: "agents_public_key" },
        { _tag: "ObjectChanged", kind: "trigger", name: "agents_status" },
        { _tag: "SettingChanged", setting: "user_version" },
      ],
    ],
    [
      "of a table takes its indexes and triggers with it",
      ["DROP TABLE agent_events", "DROP TRIGGER agents_created", "DROP TRIGGER agents_status"],
      [
        { _tag: "TableDropped", table: "agent_events" },
        { _tag: "ObjectDropped", kind: "trigger", name: "agents_created" },
        { _tag: "ObjectDropped", kind: "trigger", name: "agents_status" },
      ],
    ],
    [
      "of a whole table is allowed",
      ["DROP TABLE key_value_store"],
      [{ _tag: "TableDropped", table: "key_value_store" }],
    ],
    [
      "leaves a table that was built anew as it was",
      [
        "CREATE TABLE other (key TEXT PRIMARY KEY, updated_at INTEGER NOT NULL, value TEXT NOT NULL) STRICT",
        "INSERT INTO other SELECT key, updated_at, value FROM key_value_store ORDER BY key DESC",
        "DROP TABLE key_value_store",
        "ALTER TABLE other RENAME TO key_value_store",
      ],
      [],
    ],
  ]
  for (const [name, statements, changes] of cases)
    it.scopedLive(name, () =>
      Effect.gen(function* () {
        const found = yield* migrated(migrations.length, [...migrations, next(statements, changes)])
        assert.deepStrictEqual(found, { differences: [], absent: [], words: [] })
      }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("that does not happen is noticed, of each kind", () =>
    Effect.gen(function* () {
      const idle: ReadonlyArray<Change> = [
        { _tag: "TableAdded", table: "extra" },
        { _tag: "TableDropped", table: "key_value_store" },
        { _tag: "ColumnAdded", table: "agents", column: "note" },
        { _tag: "ColumnDropped", table: "agents", column: "owner_address" },
        { _tag: "ColumnRenamed", table: "agents", column: "nothing", to: "else" },
        { _tag: "ValuesChanged", table: "agents", column: "status" },
        { _tag: "RowsAdded", table: "agents" },
        { _tag: "RowsRemoved", table: "agents" },
        { _tag: "TableRenamed", table: "nothing", to: "else" },
        { _tag: "ObjectDropped", kind: "index", name: "agents_public_key" },
        { _tag: "ObjectChanged", kind: "trigger", name: "agents_status" },
        { _tag: "SettingChanged", setting: "application_id" },
      ]
      const found = yield* migrated(migrations.length, [...migrations, next([], idle)])
      assert.deepStrictEqual(found.words, [])
      assert.sameDeepMembers([...found.absent], [...idle])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("of a column that is gone does not hide what happened to the others", () =>
    Effect.gen(function* () {
      const found = yield* migrated(migrations.length, [
        ...migrations,
        next(
          [
            "ALTER TABLE agents DROP COLUMN owner_address",
            "UPDATE agents SET name = 'x' WHERE id = 'id-two'",
          ],
          [{ _tag: "ColumnDropped", table: "agents", column: "owner_address" }],
        ),
      ])
      assert.deepStrictEqual(found.words, ["agents.name changed in 1 row (two)"])
    }).pipe(Effect.provide(layer)),
  )
})

describe("values are compared exactly", () => {
  const kinds: ReadonlyArray<readonly [string, string, string]> = [
    ["text after a NUL", "'a' || char(0) || 'b'", "'a' || char(0) || 'c'"],
    ["text that ends in a NUL", "'a' || char(0)", "'a'"],
    ["text and a blob of the same bytes", "'ab'", "x'6162'"],
    ["NULL and its name", "NULL", "'NULL'"],
    ["a number and its digits", "1", "'1'"],
    ["an integer and a real", "1", "1.0"],
    ["integers beyond 2^53", "9007199254740993", "9007199254740992"],
    ["reals that print alike", "0.1", "0.1000000000000000055511151231257827e0 + 1e-17"],
    ["letters of another case", "'a'", "'A'"],
  ]
  for (const [name, one, other] of kinds)
    it.scopedLive(name, () =>
      Effect.gen(function* () {
        const made = [
          "CREATE TABLE things (id INTEGER PRIMARY KEY, it COLLATE NOCASE)",
          `INSERT INTO things VALUES (1, ${one})`,
        ]
        assert.deepStrictEqual((yield* changed(made, [`UPDATE things SET it = ${other}`])).words, [
          "things.it changed in 1 row (1)",
        ])
      }).pipe(Effect.provide(layer)),
    )
})

describe("rows are found again", () => {
  const tables: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
    ["by a key of two columns", ["CREATE TABLE t (a TEXT, b INTEGER, c, PRIMARY KEY (a, b)) WITHOUT ROWID"]],
    ["by the rowid where there is no key", ["CREATE TABLE t (a TEXT, b INTEGER, c)"]],
    ["by the rowid where a key lets NULL in", ["CREATE TABLE t (a TEXT, b INTEGER, c, PRIMARY KEY (a, b))"]],
    [
      "by the rowid where columns take its names",
      ['CREATE TABLE t (a TEXT, b INTEGER, c, "rowid" TEXT, "_rowid_" TEXT)'],
    ],
  ]
  for (const [name, made] of tables)
    it.scopedLive(name, () =>
      Effect.gen(function* () {
        const rows = [
          "INSERT INTO t (a, b, c) VALUES ('x', 1, 1), ('x', 2, 2), ('y', 1, 3)",
          ...(name.includes("NULL") ? ["INSERT INTO t (a, b, c) VALUES (NULL, 1, 4), (NULL, 1, 5)"] : []),
        ]
        assert.deepStrictEqual((yield* changed([...made, ...rows], [])).words, [])
        const found = yield* changed(
          [...made, ...rows],
          ["UPDATE t SET c = 9 WHERE a = 'x' AND b = 2", "DELETE FROM t WHERE a = 'y'"],
        )
        assert.deepStrictEqual(
          found.words.map((words) => words.replace(/ \(.*\)/, "")),
          ["t lost 1 row", "t.c changed in 1 row"],
        )
      }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("and one that is there twice afterwards is a row more", () =>
    Effect.gen(function* () {
      const found = yield* changed(
        ["CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, b INTEGER)", "INSERT INTO t VALUES ('x', 1)"],
        [
          "CREATE TABLE u (id TEXT, b INTEGER)",
          "INSERT INTO u SELECT * FROM t UNION ALL SELECT * FROM t",
          "DROP TABLE t",
          "ALTER TABLE u RENAME TO t",
        ],
      )
      assert.deepStrictEqual(found.words, [
        "t has 1 row more",
        "the definition of column t.id is another one",
      ])
    }).pipe(Effect.provide(layer)),
  )
})

it.scopedLive("a database that is not there is no empty one", () =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    const after = join(paths.root, "after.db")
    const before = join(paths.root, "gone.db")
    yield* Effect.provide(run(["CREATE TABLE t (a)"]), layerDatabase({ path: after, create: true }))
    const { compare } = yield* DatabaseTool
    const error = yield* Effect.flip(compare("", { before, after, changes: [], limit: 1 }))
    assert.include(error.message, "gone.db")
    assert.isFalse(yield* (yield* DurableFile).exists(before))
  }).pipe(Effect.provide(layer)),
)
