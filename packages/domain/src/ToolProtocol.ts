/**
 * The protocol between an upgrader and the code of any version: one request as JSON on standard
 * input of `dist/tool.js`, lines of JSON on standard output, the last one a reply.
 * It is what an old upgrader relies on in a new package, so protocol 1 never changes:
 * a field that is added is optional, and an error that is added is only sent to who asks for it.
 */
import * as Schema from "effect/Schema"
import {
  ConfigInvalid,
  DatabaseFailed,
  DatabaseTooNew,
  DatabaseTooOld,
  FileFailed,
  KeystoreDamaged,
  MigrationFailed,
  MigrationHistoryDiffers,
  NotInitialised,
} from "./DataErrors.ts"
import { RestartWouldFail } from "./PackageErrors.ts"
import { SchemaRange } from "./SchemaRange.ts"
import { Version } from "./Version.ts"

export const Tables = Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) })

/**
 * Tables that hold value, with the columns that no migration may change. Row counts and digests of
 * these are compared before and after.
 */
export const valueTables: typeof Tables.Type = {
  agents: ["id", "name", "chain", "network", "public_key", "created_at"],
}

const protocol = { protocol: Schema.Literal(1) }

/** Can this code run here: decode the configuration, open every sealed key. */
export const Describe = Schema.TaggedStruct("Describe", {
  ...protocol,
  dataDir: Schema.String,
  /** Decoded in the place of the data directory's `config.toml`; ignored by code whose answer counts no `keys`. */
  config: Schema.optional(Schema.String),
  /** Whoever asks knows `KeystoreDamaged`; others hear of it as `RestartWouldFail`. */
  keys: Schema.optional(Schema.Literal(true)),
})
/**
 * Look at a database that nobody migrates meanwhile; `quick` and `full` are SQLite's own checks. With
 * `dataDir` every sealed key is opened too, and `KeystoreDamaged` is an answer.
 */
export const Examine = Schema.TaggedStruct("Examine", {
  ...protocol,
  database: Schema.String,
  check: Schema.Literal("none", "quick", "full"),
  tables: Tables,
  dataDir: Schema.optional(Schema.String),
})
/** Bring everything from the write-ahead log into the main file and close it. */
export const Checkpoint = Schema.TaggedStruct("Checkpoint", { ...protocol, database: Schema.String })
/** A consistent copy of a database that may be in use. `to` must not exist. */
export const CopyLive = Schema.TaggedStruct("CopyLive", {
  ...protocol,
  from: Schema.String,
  to: Schema.String,
})
/** Every pending migration in one transaction; then checkpointed and closed. */
export const Migrate = Schema.TaggedStruct("Migrate", { ...protocol, database: Schema.String })

export const ToolRequest = Schema.Union(Describe, Examine, Checkpoint, CopyLive, Migrate)
export type ToolRequest = typeof ToolRequest.Type

/** How many sealed keys were opened; none is said by code that opens the check value alone. */
const keys = Schema.optional(Schema.Int)

export const Description = Schema.Struct({
  version: Version,
  schema: SchemaRange,
  configDigest: Schema.String,
  databasePath: Schema.String,
  keys,
})
export const TableDigests = Schema.Record({
  key: Schema.String,
  value: Schema.Struct({ rows: Schema.Int, digest: Schema.String }),
})
export const Examination = Schema.Struct({
  schema: Schema.Int,
  tables: TableDigests,
  keys,
  /** The version that wrote the database, where it has recorded itself there. */
  writtenBy: Schema.optional(Version),
})
export type Examination = typeof Examination.Type
export const Migration = Schema.Struct({ from: Schema.Int, to: Schema.Int })

export const ToolError = Schema.Union(
  ConfigInvalid,
  DatabaseFailed,
  DatabaseTooNew,
  DatabaseTooOld,
  FileFailed,
  KeystoreDamaged,
  MigrationFailed,
  MigrationHistoryDiffers,
  NotInitialised,
  RestartWouldFail,
)
export type ToolError = typeof ToolError.Type

export const ToolReply = Schema.Union(
  Schema.TaggedStruct("Progress", { text: Schema.String }),
  Schema.TaggedStruct("Done", { result: Schema.Unknown }),
  Schema.TaggedStruct("Refused", { error: ToolError }),
)
export type ToolReply = typeof ToolReply.Type
