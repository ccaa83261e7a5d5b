/**
 * The protocol between an upgrader and the code of any version: one request as JSON on standard
 * input of `dist/tool.js`, lines of JSON on standard output, the last one a reply.
 * Either side may be the newer one, so protocol 1 is frozen by the files of `packages/domain/test/tool-protocol`:
 * - A tool does all of what it is asked and refuses what it does not know, a field included: it never does less in silence.
 * - A reader of a reply passes over fields that it does not know; those that it knows are always there.
 * - An error that a reader does not know says itself what happened and what to type.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { CompareAgents, FindUnique, KeepSuspended } from "./AgentChanges.ts"
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
import { Change, Comparison, UnknownChange } from "./SchemaChange.ts"
import { SchemaRange } from "./SchemaRange.ts"
import { NotUnderstood, OtherRefusal } from "./ToolErrors.ts"
import { Version } from "./Version.ts"

/** Columns of tables. */
export const Tables = Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) })

const protocol = { protocol: Schema.Literal(1) }

/** Can this code run here: decode the configuration, open the keystore and every sealed key in it that opens. */
export const Describe = Schema.TaggedStruct("Describe", {
  ...protocol,
  dataDir: Schema.String,
  /** Decoded in the place of the data directory's `config.toml`. */
  config: Schema.optional(Schema.String),
})
/**
 * Examine a database that nobody migrates meanwhile. Everything that is asked for is done: `quick` and `full` are
 * SQLite's own checks; each of the `tables` is counted and digested, a missing one is left out; with `dataDir`
 * every sealed key there is opened, and the agents that have none are named.
 */
export const Examine = Schema.TaggedStruct("Examine", {
  ...protocol,
  database: Schema.String,
  check: Schema.Literal("none", "quick", "full"),
  tables: Tables,
  dataDir: Schema.optional(Schema.String),
})
/** Compare every column of every table of two databases, and all their rows, with what a migration declares. */
export const Compare = Schema.TaggedStruct("Compare", {
  ...protocol,
  before: Schema.String,
  after: Schema.String,
  changes: Schema.Array(Change),
  /** How many rows of each difference are named at most. */
  limit: Schema.NonNegativeInt,
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
export const Migrate = Schema.TaggedStruct("Migrate", {
  ...protocol,
  database: Schema.String,
  /** A database with the same data: nothing is kept of a migration that differs from it by more than it declares. */
  before: Schema.optional(Schema.String),
})

export const ToolRequest = Schema.Union(
  Describe,
  Examine,
  Compare,
  Checkpoint,
  CopyLive,
  Migrate,
  CompareAgents,
  KeepSuspended,
  FindUnique,
)
export type ToolRequest = typeof ToolRequest.Type

export const Description = Schema.Struct({
  version: Version,
  schema: SchemaRange,
  configDigest: Schema.String,
  databasePath: Schema.String,
  /** How many sealed keys were opened. */
  keys: Schema.Int,
})
export const TableDigests = Schema.Record({
  key: Schema.String,
  value: Schema.Struct({ rows: Schema.Int, digest: Schema.String }),
})
/** The agents of one moment, and the sealed keys that are there for them after it. */
export const KeyReport = Schema.Struct({
  agents: Schema.Int,
  /** Sealed keys that open, those of no agent included. */
  open: Schema.Int,
  /** Agents without a key that opens and is theirs: they cannot sign. */
  missing: Schema.Int,
  /** Names of the first of them. */
  names: Schema.Array(Schema.String),
  /** The sealed keys that are there and do not open: their ids, and whether an agent has that id. */
  damaged: Schema.Array(Schema.Struct({ id: Schema.String, isOfAgent: Schema.Boolean })),
})
export type KeyReport = typeof KeyReport.Type
export const Examination = Schema.Struct({
  schema: Schema.Int,
  tables: TableDigests,
  /** There where `dataDir` was given. */
  keys: Schema.optional(KeyReport),
  /** The version that wrote the database, where it has recorded itself there. */
  writtenBy: Schema.optional(Version),
})
export type Examination = typeof Examination.Type
export { Comparison }
export const Migration = Schema.Struct({
  from: Schema.Int,
  to: Schema.Int,
  /** What the migrations between declare that they change. One of a later kind is known by its name alone. */
  changes: Schema.Array(Schema.Union(Change, UnknownChange)),
})
export type Migration = typeof Migration.Type

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
  NotUnderstood,
  OtherRefusal,
  RestartWouldFail,
)
export type ToolError = typeof ToolError.Type

export const ToolReply = Schema.Union(
  Schema.TaggedStruct("Progress", { text: Schema.String }),
  Schema.TaggedStruct("Done", { result: Schema.Unknown }),
  Schema.TaggedStruct("Refused", {
    /** A `ToolError` in code that knows it. */
    error: Schema.Unknown,
    /** What happened, for code that does not know the error. */
    message: Schema.String,
    next: Schema.String,
    exitCode: Schema.Int,
  }),
)
export type ToolReply = typeof ToolReply.Type

/** The reply to a request that failed. */
export const refusedWith = (error: ToolError): ToolReply => ({
  _tag: "Refused",
  error: Schema.encodeSync(ToolError)(error),
  message: error.message,
  next: error.next,
  exitCode: error.exitCode,
})

const decodeError = Schema.decodeUnknownOption(ToolError)

/** The error of a reply; in its own words where this code does not know it. */
export const errorOf = (reply: Extract<ToolReply, { readonly _tag: "Refused" }>): ToolError =>
  Option.getOrElse(
    decodeError(reply.error),
    () => new OtherRefusal({ said: reply.message, command: reply.next, code: reply.exitCode }),
  )
