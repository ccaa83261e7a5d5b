/** Definitions of tables are compared across a migration: what a column holds, and what it refuses to hold. */
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { type Change, differenceInWords } from "@waiaas/domain/SchemaChange"
import { attachBefore, compareWith } from "@waiaas/services/CompareDatabases"
import { layerDatabase } from "@waiaas/services/Database"
import { beyondDeclared, expectDeclared } from "@waiaas/services/Invariants"
import { migrate } from "@waiaas/services/Migrator"
import { migrations } from "@waiaas/services/migrations/index"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { definitionOf, tableDefinitionOf } from "@waiaas/services/TableDefinitions"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import * as Effect from "effect/Effect"
import { layerDataDir } from "./support.ts"

const run = (statements: ReadonlyArray<string>) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }),
  )
const place = Effect.gen(function* () {
  const { paths } = yield* DataDir
  const root = join(paths.root, String((yield* (yield* DurableFile).list(paths.root)).length))
  return { before: `${root}-before.db`, after: `${root}-after.db` }
})
/** What is found after `change`, which declares `changes`. */
const changed = (
  made: ReadonlyArray<string>,
  change: ReadonlyArray<string>,
  changes: ReadonlyArray<Change> = [],
) =>
  Effect.gen(function* () {
    const { before, after } = yield* place
    yield* Effect.provide(run(made), layerDatabase({ path: before, create: true }))
    yield* (yield* DurableFile).copy(before, after)
    return yield* Effect.zipRight(
      run(change),
      compareWith({ before, after, changes, limit: 2, mapped: 0 }),
    ).pipe(
      Effect.map((found) => ({ ...found, words: found.differences.map(differenceInWords) })),
      Effect.provide(layerDatabase({ path: after, create: false })),
      Effect.scoped,
    )
  }).pipe(Effect.scoped, Effect.provide(layerDataDir()))

const parent = "CREATE TABLE p (id INTEGER PRIMARY KEY)"
/** Builds `t` anew as another `body`. */
const anew = (body: string) => [
  `CREATE TABLE new_t ${body}`,
  "INSERT INTO new_t SELECT * FROM t",
  "DROP TABLE t",
  "ALTER TABLE new_t RENAME TO t",
]
const from = "(id INTEGER PRIMARY KEY, a TEXT NOT NULL DEFAULT 'x' CHECK (a IN ('x', 'y')), b INTEGER)"
const column = (name: string) => `the definition of column t.${name} is another one`
const whole = "the definition of table t is another one"

describe("a definition that is another one afterwards is found", () => {
  const cases: ReadonlyArray<readonly [string, string, string, ReadonlyArray<string>]> = [
    ["a CHECK that is gone", from, from.replace(" CHECK (a IN ('x', 'y'))", ""), [column("a")]],
    ["a CHECK that takes more", from, from.replace("'y'", "'y', 'z'"), [column("a")]],
    ["a CHECK that takes another case", from, from.replace("'y'", "'Y'"), [column("a")]],
    ["a NOT NULL that is gone", from, from.replace(" NOT NULL", ""), [column("a")]],
    ["a DEFAULT that is another one", from, from.replace("DEFAULT 'x'", "DEFAULT 'y'"), [column("a")]],
    ["a collation that is new", from, from.replace("b INTEGER", "b INTEGER COLLATE NOCASE"), [column("b")]],
    ["a type that is another one", from, from.replace("b INTEGER", "b TEXT"), [column("b")]],
    ["a primary key that is gone", from, from.replace(" PRIMARY KEY", ""), [column("id")]],
    ["AUTOINCREMENT that is gone", from.replace("KEY", "KEY AUTOINCREMENT"), from, [column("id")]],
    ["UNIQUE of a column that is gone", from.replace("b INTEGER", "b INTEGER UNIQUE"), from, [column("b")]],
    ["UNIQUE of a table that is gone", from.replace(/\)$/, ", UNIQUE (a, b))"), from, [whole]],
    [
      "a named CHECK of a table",
      from.replace(/\)$/, ", CONSTRAINT c CHECK (b > 0))"),
      from.replace(/\)$/, ", CONSTRAINT c CHECK (b > -1))"),
      [whole],
    ],
    [
      "a foreign key of a column that is gone",
      from.replace("b INTEGER", "b INTEGER REFERENCES p (id)"),
      from,
      [column("b")],
    ],
    [
      "a foreign key of a table that deletes now",
      from.replace(/\)$/, ", FOREIGN KEY (b) REFERENCES p (id))"),
      from.replace(/\)$/, ", FOREIGN KEY (b) REFERENCES p (id) ON DELETE CASCADE)"),
      [whole],
    ],
    ["STRICT that is gone", `${from} STRICT`, from, [whole]],
    ["WITHOUT ROWID that is gone", `${from} WITHOUT ROWID`, from, [whole]],
  ]
  for (const [name, one, other, words] of cases)
    it.live(name, () =>
      Effect.gen(function* () {
        const made = [parent, `CREATE TABLE t ${one}`]
        const found = yield* changed(made, anew(other))
        assert.deepStrictEqual(found.words, [...words])
        const declared = found.differences.map(({ change }) => change)
        assert.deepStrictEqual(yield* changed(made, anew(other), declared), {
          differences: [],
          absent: [],
          words: [],
        })
        const idle = yield* changed(made, anew(one), declared)
        assert.deepStrictEqual([idle.words, idle.absent], [[], declared])
      }),
    )

  it.live("a generated column that is computed otherwise", () =>
    Effect.gen(function* () {
      const found = yield* changed(
        [
          "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER AS (a + 1))",
          "INSERT INTO t (a) VALUES (1)",
        ],
        ["ALTER TABLE t DROP COLUMN b", "ALTER TABLE t ADD COLUMN b INTEGER AS (a + 2)"],
      )
      assert.deepStrictEqual(found.words, ["t.b changed in 1 row (1)", column("b")])
    }),
  )

  it.live("a virtual table that indexes otherwise", () =>
    Effect.gen(function* () {
      const found = yield* changed(
        ["CREATE VIRTUAL TABLE t USING fts5 (a)"],
        ["DROP TABLE t", "CREATE VIRTUAL TABLE t USING fts5 (a, tokenize = 'porter')"],
      )
      assert.include(found.words, whole)
    }),
  )
})

describe("a definition that says the same is the same", () => {
  const cases: ReadonlyArray<readonly [string, string]> = [
    [
      "with other spaces, comments, case and quotes",
      `( "id" integer primary KEY, -- one\n [a] TEXT not null default 'x' check(a in('x','y')), /* two */ \`b\` INTEGER )`,
    ],
    ["with a word of a constraint in a text", from],
  ]
  for (const [name, other] of cases)
    it.live(name, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* changed([`CREATE TABLE t ${from}`], anew(other))).words, [])
      }),
    )

  it.live("after a column is added, dropped or renamed, or a table that it refers to is", () =>
    Effect.gen(function* () {
      const made = [
        parent,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT CHECK (a <> ''), c, b REFERENCES p (id), CHECK (a <> b), UNIQUE (a, b))",
        "CREATE INDEX by_a ON t (a)",
        "CREATE TRIGGER on_a AFTER UPDATE OF a ON t BEGIN SELECT NEW.a FROM p; END",
        "CREATE VIEW of_a AS SELECT a FROM t",
      ]
      const found = yield* changed(
        made,
        [
          "ALTER TABLE t ADD COLUMN d TEXT DEFAULT (1 + 2)",
          "ALTER TABLE t DROP COLUMN c",
          'ALTER TABLE t RENAME COLUMN a TO "the a"',
          "ALTER TABLE p RENAME TO parents",
        ],
        [
          { _tag: "ColumnAdded", table: "t", column: "d" },
          { _tag: "ColumnDropped", table: "t", column: "c" },
          { _tag: "ColumnRenamed", table: "t", column: "a", to: "the a" },
          { _tag: "TableRenamed", table: "p", to: "parents" },
        ],
      )
      assert.deepStrictEqual(found, { differences: [], absent: [], words: [] })
    }),
  )

  it.live("and a trigger that is another one is found under a new name of its table", () =>
    Effect.gen(function* () {
      const found = yield* changed(
        [parent, "CREATE TRIGGER kept BEFORE DELETE ON p BEGIN SELECT RAISE(ABORT, 'no'); END"],
        [
          "ALTER TABLE p RENAME TO parents",
          "DROP TRIGGER kept",
          "CREATE TRIGGER kept BEFORE DELETE ON parents BEGIN SELECT 1; END",
        ],
        [{ _tag: "TableRenamed", table: "p", to: "parents" }],
      )
      assert.deepStrictEqual(found.words, ["trigger kept is another one"])
    }),
  )

  it("a column may have a constraint's word or a comma in its name", () => {
    const found = tableDefinitionOf(`CREATE TABLE t ("check" TEXT, "a,b" INTEGER, CHECK ("a,b" > 0)) STRICT`)
    assert.deepStrictEqual(
      [...found.columns],
      [
        ["check", "text"],
        ["a,b", "integer"],
      ],
    )
    assert.strictEqual(found.whole, 'check ( "a,b" > 0 ); strict')
    assert.notStrictEqual(definitionOf(`SELECT "A"`), definitionOf("SELECT a"))
    assert.notStrictEqual(definitionOf("SELECT 'a'"), definitionOf(`SELECT "a"`))
  })
})

it.live("a number that AUTOINCREMENT has given out is not given out again", () =>
  Effect.gen(function* () {
    const body = "(id INTEGER PRIMARY KEY AUTOINCREMENT, a)"
    const made = [
      `CREATE TABLE t ${body}`,
      "INSERT INTO t (a) VALUES (1), (2), (3)",
      "DELETE FROM t WHERE id = 3",
    ]
    const seq: Change = { _tag: "ValuesChanged", table: "sqlite_sequence", column: "seq" }
    assert.deepStrictEqual((yield* changed(made, anew(body))).words, [
      "sqlite_sequence.seq changed in 1 row (t)",
    ])
    assert.deepStrictEqual((yield* changed(made, anew(body), [seq])).words, [])
    assert.deepStrictEqual((yield* changed(made, [], [seq])).absent, [seq])
    const renamed: ReadonlyArray<Change> = [{ _tag: "TableRenamed", table: "t", to: "u" }]
    assert.deepStrictEqual((yield* changed(made, ["ALTER TABLE t RENAME TO u"], renamed)).words, [])
  }),
)

it.live("rows that nothing distinguishes are counted, each kind of them", () =>
  Effect.gen(function* () {
    const made = [
      'CREATE TABLE t (rowid TEXT, "_rowid_" TEXT, oid)',
      "INSERT INTO t VALUES ('a', 'a', 1), ('a', 'a', 1), ('b', NULL, 1)",
    ]
    assert.deepStrictEqual((yield* changed(made, [])).words, [])
    assert.deepStrictEqual(
      (yield* changed(made, [
        "DELETE FROM t",
        "INSERT INTO t VALUES ('a', 'a', 1), ('b', NULL, 1), ('b', NULL, 1)",
      ])).words,
      ["t lost 1 row", "t has 1 row more"],
    )
    assert.deepStrictEqual((yield* changed(made, ["UPDATE t SET oid = '1' WHERE rowid = 'b'"])).words, [
      "t lost 1 row",
      "t has 1 row more",
    ])
  }),
)

it.live("a migration that does not do what it declares is undone as a whole", () =>
  Effect.gen(function* () {
    const { before, after } = yield* place
    const environment = layerEnvironment()
    yield* migrate(before, migrations).pipe(
      Effect.provide(layerDatabase({ path: before, create: true })),
      Effect.provide(environment),
    )
    yield* (yield* DurableFile).copy(before, after)
    const next = (changes: ReadonlyArray<Change>) => ({
      id: migrations.length + 1,
      name: "next",
      statements: ["UPDATE agents SET name = name"],
      changes,
    })
    const tried = (changes: ReadonlyArray<Change>) =>
      Effect.zipRight(attachBefore(before), migrate(after, [...migrations, next(changes)], true)).pipe(
        Effect.provide(layerDatabase({ path: after, create: false })),
        Effect.provide(environment),
      )
    const declared: ReadonlyArray<Change> = [{ _tag: "DefinitionChanged", table: "agents", column: "status" }]
    const unverified = yield* Effect.flip(expectDeclared({ differences: [], absent: declared }))
    assert.include(unverified.message, "DefinitionChanged agents.status")
    yield* expectDeclared({ differences: [], absent: [{ _tag: "RowsAdded", table: "agents" }] })
    const error = yield* Effect.flip(tried(declared))
    assert.include(error.message, "it does not do what it declares: DefinitionChanged agents.status")
    // Without rows no value can change.
    const done = yield* tried([{ _tag: "ValuesChanged", table: "agents", column: "name" }])
    assert.strictEqual(done.to, migrations.length + 1)
  }).pipe(Effect.scoped, Effect.provide(layerDataDir())),
)

it("every declared change that did not happen is named, but for those that need rows", () => {
  const absent: ReadonlyArray<Change> = [
    { _tag: "TableAdded", table: "t" },
    { _tag: "ColumnRenamed", table: "t", column: "a", to: "b" },
    { _tag: "ObjectDropped", kind: "index", name: "i" },
    { _tag: "SettingChanged", setting: "user_version" },
    { _tag: "DefinitionChanged", table: "t", column: null },
    { _tag: "RowsAdded", table: "t" },
    { _tag: "RowsRemoved", table: "t" },
    { _tag: "ValuesChanged", table: "t", column: "a" },
  ]
  assert.deepStrictEqual(beyondDeclared({ differences: [], absent }), {
    more: "",
    less: "TableAdded t; ColumnRenamed t.a; ObjectDropped i; SettingChanged user_version; DefinitionChanged t",
  })
})
