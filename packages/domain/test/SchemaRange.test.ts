/** Which code opens which database: the matrix at its edges. */
import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { judge, rangeFor, releaseFor, SchemaRange, stopFor } from "../src/SchemaRange.ts"

it("a release migrates three minors, itself included, and never below the first schema", () => {
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((latest) => rangeFor(latest).minimum),
    [1, 1, 1, 2, 3],
  )
  assert.deepEqual(rangeFor(5), { minimum: 3, latest: 5 })
})

it("a database is judged by both ends of the range, each end within it", () => {
  const range = { minimum: 3, latest: 5 }
  for (const none of [null, 0]) assert.deepEqual(judge(range, none), { _tag: "Fresh" })
  assert.deepEqual(judge(range, 2), { _tag: "DatabaseTooOld", schema: 2, goThrough: "1.8.0" })
  assert.deepEqual(judge(range, 1), { _tag: "DatabaseTooOld", schema: 1, goThrough: "1.7.0" })
  assert.deepEqual(judge(range, 3), { _tag: "NeedsMigration", schema: 3, pending: 2 })
  assert.deepEqual(judge(range, 4), { _tag: "NeedsMigration", schema: 4, pending: 1 })
  assert.deepEqual(judge(range, 5), { _tag: "Current", schema: 5 })
  assert.deepEqual(judge(range, 6), { _tag: "DatabaseTooNew", schema: 6 })
})

it("the release to go through can open that database and is opened in its turn", () => {
  for (const schema of [1, 2, 3]) {
    const through = rangeFor(schema + 2)
    assert.equal(stopFor(schema), releaseFor(through.latest))
    assert.equal(judge(through, schema)._tag, "NeedsMigration")
  }
  assert.deepEqual([releaseFor(1), releaseFor(5), releaseFor(6)], ["1.5.0", "2.0.0", undefined])
})

it("a range that ends before it begins is none", () => {
  const isRange = Schema.is(SchemaRange)
  assert.deepEqual(
    [
      { minimum: 1, latest: 1 },
      { minimum: 2, latest: 5 },
      { minimum: 5, latest: 4 },
      { minimum: 0, latest: 4 },
    ].map((range) => isRange(range)),
    [true, true, false, false],
  )
})
