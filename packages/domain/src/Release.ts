/** What the npm registry says of a release: the parts that an upgrade decides on. */
import * as Schema from "effect/Schema"
import { SchemaRange } from "./SchemaRange.ts"
import { Version } from "./Version.ts"
import { isRange } from "./VersionRange.ts"

export { PACKAGE_NAME } from "./PackageName.ts"

/** The version of the protocol between an upgrader and a candidate's code. */
export const UPGRADE_PROTOCOL = 1

/** The `waiaas` block of a published `package.json`: readable before anything is downloaded. */
export const CompatibilityBlock = Schema.Struct({
  upgradeProtocol: Schema.Int.pipe(Schema.positive()),
  schema: SchemaRange,
  /** Versions that an older install must go through first, ascending. */
  stops: Schema.Array(Version),
  /** Where its release notes are; shown where it is an https address. */
  notes: Schema.optional(Schema.String),
  /** Digest of the code in it: two builds of one version differ in it. */
  build: Schema.optional(Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/))),
})
export type CompatibilityBlock = typeof CompatibilityBlock.Type

/** The address of a release's notes, where its metadata carries one that a person can open. */
export const notesOf = ({ waiaas }: { readonly waiaas?: CompatibilityBlock | undefined }): string | null => {
  const notes = waiaas?.notes
  return notes !== undefined && /^https:\/\/[\x21-\x7e]{1,200}$/.test(notes) ? notes : null
}

/** Fields of a `package.json` (or of `npm view --json`) that the upgrade reads. */
export const ReleaseDocument = Schema.Struct({
  name: Schema.optional(Schema.String),
  version: Version,
  engines: Schema.optional(Schema.Struct({ node: Schema.optional(Schema.String) })),
  deprecated: Schema.optional(Schema.Union(Schema.String, Schema.Boolean)),
  bin: Schema.optional(
    Schema.Union(Schema.String, Schema.Record({ key: Schema.String, value: Schema.String })),
  ),
  waiaas: Schema.optional(CompatibilityBlock),
  dist: Schema.optional(
    Schema.Struct({
      unpackedSize: Schema.optional(Schema.Number),
      integrity: Schema.optional(Schema.String),
    }),
  ),
})
export type ReleaseDocument = typeof ReleaseDocument.Type

/** The registry's `/-/package/<name>/dist-tags` document: tag to version. */
export const DistTags = Schema.Struct(
  { latest: Version },
  Schema.Record({ key: Schema.String, value: Schema.String }),
)
export type DistTags = typeof DistTags.Type

/** When each version was published, as `npm view <name> time versions` says; not every registry knows. */
export const ReleaseTimes = Schema.Struct({
  time: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String })),
  /** npm writes a list of one as its element. */
  versions: Schema.optional(Schema.Union(Schema.String, Schema.Array(Schema.String))),
})

/** An npm dist-tag: what `--to` takes besides an exact version. */
export const DistTag = Schema.String.pipe(
  Schema.pattern(/^[a-z][a-z0-9._-]{0,63}$/i, { message: () => "not an exact version or a dist-tag" }),
  Schema.filter((text) => !isRange(text) || "a range of versions, not a dist-tag"),
)
