/**
 * The compatibility matrix: which code version goes with which database schema.
 * Constants in code, because code that meets a newer database has nobody else to ask.
 */
import * as Schema from "effect/Schema"
import { makeVersion, type Version } from "./Version.ts"

/** The schema numbers that a release can open: it migrates `minimum..latest` up to `latest`. */
export const SchemaRange = Schema.Struct({
  minimum: Schema.Int.pipe(Schema.positive()),
  latest: Schema.Int.pipe(Schema.positive()),
}).pipe(Schema.filter((range) => range.minimum <= range.latest || "minimum must not exceed latest"))
export type SchemaRange = typeof SchemaRange.Type

/** First release of each schema: one schema a minor. A new migration adds a line here. */
export const releaseOfSchema: ReadonlyArray<{ readonly schema: number; readonly release: Version }> = [
  { schema: 1, release: makeVersion("1.5.0") },
  { schema: 2, release: makeVersion("1.6.0") },
  { schema: 3, release: makeVersion("1.7.0") },
  { schema: 4, release: makeVersion("1.8.0") },
  { schema: 5, release: makeVersion("2.0.0") },
]

/** How many minors, the newest included, a release migrates directly. */
export const DIRECT_MINORS = 3

/** The range of a release whose newest migration is `latest`. */
export const rangeFor = (latest: number): SchemaRange => ({
  minimum: Math.max(1, latest - DIRECT_MINORS + 1),
  latest,
})

/** The first release that brought a schema, where the matrix knows it. */
export const releaseFor = (schema: number): Version | undefined =>
  releaseOfSchema.find((line) => line.schema === schema)?.release

/** The release to go through first from a database that is below a range's minimum. */
export const stopFor = (databaseSchema: number): Version | undefined =>
  releaseFor(databaseSchema + DIRECT_MINORS - 1)

/** What code with `range` makes of a database at `schema` (`null`: no database yet). */
export type Verdict =
  | { readonly _tag: "Fresh" }
  | { readonly _tag: "Current"; readonly schema: number }
  | { readonly _tag: "NeedsMigration"; readonly schema: number; readonly pending: number }
  | { readonly _tag: "DatabaseTooNew"; readonly schema: number }
  | { readonly _tag: "DatabaseTooOld"; readonly schema: number; readonly goThrough: Version | undefined }

export const judge = (range: SchemaRange, schema: number | null): Verdict => {
  if (schema === null || schema === 0) return { _tag: "Fresh" }
  if (schema > range.latest) return { _tag: "DatabaseTooNew", schema }
  if (schema < range.minimum) return { _tag: "DatabaseTooOld", schema, goThrough: stopFor(schema) }
  if (schema === range.latest) return { _tag: "Current", schema }
  return { _tag: "NeedsMigration", schema, pending: range.latest - schema }
}
