/** What two shapes of a database have in common and what is declared of them, without a database. */
import { strict as assert } from "node:assert"
import { describe, it } from "@effect/vitest"
import { type Change, compareShapes, differenceInWords, isKnown } from "../src/SchemaChange.ts"

type Tables = Readonly<Record<string, ReadonlyArray<string>>>
const compared = (before: Tables, after: Tables, ...declared: ReadonlyArray<Change>) => {
  const { differences, absent, pairs } = compareShapes(
    new Map(Object.entries(before)),
    new Map(Object.entries(after)),
    declared,
  )
  return {
    differs: differences.map(differenceInWords),
    absent: absent.map(({ _tag }) => _tag),
    // What is compared row by row; with its declaration where there is one.
    pairs: pairs.map(
      ({ before: was, after: is, columns, added, removed }) =>
        `${was}>${is} ${columns.map((each) => `${each.before}>${each.after}${each.declared === null ? "" : "!"}`).join(" ")}${added === null ? "" : " +"}${removed === null ? "" : " -"}`,
    ),
  }
}
const t = { t: ["a", "b"] }

describe("what nobody declares", () => {
  it("is a difference, and what both have is compared", () => {
    assert.deepEqual(compared(t, t), { differs: [], absent: [], pairs: ["t>t a>a b>b"] })
    assert.deepEqual(compared(t, {}), { differs: ["table t is gone"], absent: [], pairs: [] })
    assert.deepEqual(compared({}, t), { differs: ["table t is new"], absent: [], pairs: [] })
    assert.deepEqual(compared(t, { t: ["b", "c"] }), {
      differs: ["column t.a is gone", "column t.c is new"],
      absent: [],
      pairs: ["t>t b>b"],
    })
  })
})

describe("what is declared", () => {
  const cases: ReadonlyArray<readonly [string, Tables, Tables, ReadonlyArray<Change>, string]> = [
    ["a new table with any columns", {}, t, [{ _tag: "TableAdded", table: "t" }], ""],
    [
      "a new table whose rows and columns are declared as well",
      {},
      t,
      [
        { _tag: "TableAdded", table: "t" },
        { _tag: "ColumnAdded", table: "t", column: "a" },
        { _tag: "RowsAdded", table: "t" },
        { _tag: "ValuesChanged", table: "t", column: "zzz" },
      ],
      "",
    ],
    [
      "a new table under its later name",
      {},
      { u: ["a"] },
      [
        { _tag: "TableAdded", table: "t" },
        { _tag: "TableRenamed", table: "t", to: "u" },
      ],
      "",
    ],
    [
      "a table that was made and dropped again",
      t,
      t,
      [
        { _tag: "TableAdded", table: "x" },
        { _tag: "TableDropped", table: "x" },
      ],
      "t>t a>a b>b",
    ],
    ["a table that goes", t, {}, [{ _tag: "TableDropped", table: "t" }], ""],
    [
      "a table under another name, with a column under another one",
      t,
      { u: ["c", "b"] },
      [
        { _tag: "TableRenamed", table: "t", to: "u" },
        { _tag: "ColumnRenamed", table: "u", column: "a", to: "c" },
      ],
      "t>u a>c b>b",
    ],
    [
      "two columns that change their names with each other",
      t,
      t,
      [
        { _tag: "ColumnRenamed", table: "t", column: "a", to: "x" },
        { _tag: "ColumnRenamed", table: "t", column: "b", to: "a" },
        { _tag: "ColumnRenamed", table: "t", column: "x", to: "b" },
      ],
      "t>t a>b b>a",
    ],
    [
      "values of a column, under its later name",
      t,
      { t: ["c", "b"] },
      [
        { _tag: "ValuesChanged", table: "t", column: "a" },
        { _tag: "ColumnRenamed", table: "t", column: "a", to: "c" },
      ],
      "t>t a>c! b>b",
    ],
    ["rows that come", t, t, [{ _tag: "RowsAdded", table: "t" }], "t>t a>a b>b +"],
    ["rows that go", t, t, [{ _tag: "RowsRemoved", table: "t" }], "t>t a>a b>b -"],
    [
      "a column that comes and one that goes",
      t,
      { t: ["b", "c"] },
      [
        { _tag: "ColumnDropped", table: "t", column: "a" },
        { _tag: "ColumnAdded", table: "t", column: "c" },
      ],
      "t>t b>b",
    ],
    [
      "a column that is made anew under its name",
      t,
      t,
      [
        { _tag: "ColumnDropped", table: "t", column: "a" },
        { _tag: "ColumnAdded", table: "t", column: "a" },
      ],
      "t>t b>b",
    ],
    [
      "a table that is made anew under its name",
      t,
      { t: ["z"] },
      [
        { _tag: "TableDropped", table: "t" },
        { _tag: "TableAdded", table: "t" },
      ],
      "",
    ],
  ]
  for (const [name, before, after, declared, pairs] of cases)
    it(`happens: ${name}`, () => {
      assert.deepEqual(compared(before, after, ...declared), {
        differs: [],
        absent: [],
        pairs: pairs === "" ? [] : [pairs],
      })
    })

  it("and did not happen is absent, and what is there in its place is compared all the same", () => {
    const only = (before: Tables, after: Tables, change: Change) => {
      const { differs, absent, pairs } = compared(before, after, change)
      assert.deepEqual(absent, [change._tag])
      return [differs, pairs]
    }
    const whole = [[], ["t>t a>a b>b"]]
    assert.deepEqual(only(t, t, { _tag: "TableAdded", table: "t" }), whole)
    assert.deepEqual(only(t, t, { _tag: "TableAdded", table: "u" }), whole)
    assert.deepEqual(only(t, t, { _tag: "TableDropped", table: "t" }), whole)
    assert.deepEqual(only(t, t, { _tag: "TableDropped", table: "u" }), whole)
    assert.deepEqual(only(t, t, { _tag: "ColumnAdded", table: "t", column: "a" }), whole)
    assert.deepEqual(only(t, t, { _tag: "ColumnAdded", table: "t", column: "c" }), whole)
    assert.deepEqual(only(t, t, { _tag: "ColumnDropped", table: "t", column: "a" }), [[], ["t>t b>b a>a"]])
    assert.deepEqual(only(t, t, { _tag: "ColumnDropped", table: "t", column: "c" }), whole)
    assert.deepEqual(only(t, t, { _tag: "ColumnRenamed", table: "t", column: "c", to: "d" }), whole)
    assert.deepEqual(only(t, t, { _tag: "ValuesChanged", table: "t", column: "c" }), whole)
    assert.deepEqual(only(t, t, { _tag: "RowsAdded", table: "u" }), whole)
    // A rename that did not happen: under neither name is it what was expected.
    const renamed = compared(t, t, { _tag: "TableRenamed", table: "t", to: "u" })
    assert.deepEqual(renamed.differs, ["table t is gone", "table t is new"])
  })
})

it("a kind of change that is not known is not taken for one that is", () => {
  assert.ok(isKnown({ _tag: "RowsAdded", table: "t" }))
  for (const other of [{ _tag: "RowsAdded" }, { _tag: "TriggerAdded", table: "t" }])
    assert.ok(!isKnown(other))
})

it("a difference says what it is of, how many rows, and the first of them by name or key", () => {
  const said = (change: Change, rows = 0, ...names: ReadonlyArray<string | null>) =>
    differenceInWords({
      change,
      rows,
      sample: names.map((name, index) => ({ name, key: { a: `k${index}`, b: "x" } })),
    })
  assert.equal(said({ _tag: "TableRenamed", table: "t", to: "u" }), "table t is now u")
  assert.equal(said({ _tag: "ColumnRenamed", table: "t", column: "a", to: "b" }), "column t.a is now b")
  const values: Change = { _tag: "ValuesChanged", table: "t", column: "a" }
  assert.equal(said(values, 1), "t.a changed in 1 row")
  assert.equal(said(values, 2), "t.a changed in 2 rows")
  assert.equal(said(values, 2, "one", "two"), "t.a changed in 2 rows (one, two)")
  assert.equal(said(values, 3, "one", null), "t.a changed in 3 rows (one, k1 x, and 1 more)")
  assert.equal(said({ _tag: "RowsAdded", table: "t" }, 2, "one"), "t has 2 rows (one, and 1 more) more")
  assert.equal(said({ _tag: "RowsRemoved", table: "t" }, 1, "one"), "t lost 1 row (one)")
})
