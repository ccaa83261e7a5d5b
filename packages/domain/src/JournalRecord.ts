/** Records of an upgrade's journal: one JSON line each, made durable before the act it announces. */
import * as Schema from "effect/Schema"
import { DaemonFacts } from "./DaemonFacts.ts"
import { Install } from "./Install.ts"
import { Change } from "./SchemaChange.ts"
import { type PhaseName, PhaseName as PhaseNameSchema, RecoveryAction, RunKind } from "./UpgradePhase.ts"
import { Version } from "./Version.ts"

const base = {
  format: Schema.Literal(1),
  /** Unix seconds. */
  at: Schema.Int,
}

/** What no upgrade changes: a digest of the keystore's files. The data are compared with the backup itself. */
export const Invariants = Schema.Struct({ keystore: Schema.String })
export type Invariants = typeof Invariants.Type

/** A backup's directory name, never a path: it is joined to the directory of the backups. */
const BackupDirectory = Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9.+-]*$/))

/** Seconds in which the daemon's supervisor starts it again after it ended. */
const Patience = Schema.optional(Schema.Int.pipe(Schema.positive()))

/**
 * The begin of a run. Its paths are written to be compared with those of whoever reads them: what acts on a run that
 * was read from a file has the places of its own code and configuration instead.
 */
export const Started = Schema.TaggedStruct("Started", {
  ...base,
  run: Schema.Int.pipe(Schema.positive()),
  kind: RunKind,
  from: Version,
  to: Version,
  dataDir: Schema.String,
  databasePath: Schema.String,
  install: Install,
  /** The daemon that ran when the run began; `null` when none did. */
  daemon: Schema.NullOr(DaemonFacts),
  patience: Patience,
  /** Whether the run starts a daemon at its end. */
  restart: Schema.Boolean,
  /** The backup that a rollback restores. */
  backup: Schema.optional(BackupDirectory),
  pid: Schema.Int,
})
export type Started = typeof Started.Type

/** What the rehearsal says of the upgrade to come. */
export const Estimate = Schema.Struct({
  /** Seconds without a serving daemon. */
  downtime: Schema.Number,
  /** Bytes of the migrated database; the backup takes about as much. */
  bytes: Schema.Number,
})
export type Estimate = typeof Estimate.Type

/** What a phase learned that later phases or a recovery need. */
export const PhaseFacts = Schema.Struct({
  schemaFrom: Schema.optional(Schema.Int),
  schemaTo: Schema.optional(Schema.Int),
  /** Directory name of the backup that the run makes. */
  backup: Schema.optional(BackupDirectory),
  /** Directory name of what a rollback keeps of the data before it. */
  aside: Schema.optional(BackupDirectory),
  invariants: Schema.optional(Invariants),
  /** sha256 of the config.toml that the new version was proven with; empty where there is none. */
  config: Schema.optional(Schema.String),
  /** What the migrations declare that they change; all else is compared. */
  changes: Schema.optional(Schema.Array(Change)),
  estimate: Schema.optional(Estimate),
  /** Ids of the sealed keys that did not open before the upgrade: all others have to open after it. */
  damagedKeys: Schema.optional(Schema.Array(Schema.String)),
})
export type PhaseFacts = typeof PhaseFacts.Type

export const PhaseBegun = Schema.TaggedStruct("PhaseBegun", {
  ...base,
  phase: PhaseNameSchema,
  facts: Schema.optional(PhaseFacts),
})
export const PhaseDone = Schema.TaggedStruct("PhaseDone", {
  ...base,
  phase: PhaseNameSchema,
  facts: Schema.optional(PhaseFacts),
})
/** Who serves when step 2 begins, and is about to be asked to stop: it need not be who served at the run's beginning. */
export const Stopping = Schema.TaggedStruct("Stopping", {
  ...base,
  /** `null` where none runs. */
  daemon: Schema.NullOr(DaemonFacts),
  patience: Patience,
})
/** The word that a waiting start acts on: execute the new package's daemon, held. */
export const Starting = Schema.TaggedStruct("Starting", { ...base, version: Version })
/**
 * Announces a commit that is durable already, in a file of its own (`CommitFile`): the word that a held daemon
 * opens on. Whoever sees it may act, even if the record itself is lost again.
 */
export const Committed = Schema.TaggedStruct("Committed", base)
export const Failed = Schema.TaggedStruct("Failed", {
  ...base,
  phase: PhaseNameSchema,
  error: Schema.String,
  message: Schema.String,
  next: Schema.String,
})
export const Recovering = Schema.TaggedStruct("Recovering", {
  ...base,
  direction: Schema.Literal("back", "forward"),
  pid: Schema.Int,
})
/** A recovery that found a cause which it cannot remove; it goes on where it was once that is gone. */
export const Paused = Schema.TaggedStruct("Paused", {
  ...base,
  action: Schema.String,
  cause: Schema.String,
  next: Schema.String,
})
export const ActionDone = Schema.TaggedStruct("ActionDone", { ...base, action: RecoveryAction })
/** `new` and `old` name the version that is in place; `untouched` is an end before anything was changed. */
export const Ended = Schema.TaggedStruct("Ended", {
  ...base,
  outcome: Schema.Literal("new", "old", "untouched"),
  /** Seconds without a serving daemon. */
  downtime: Schema.optional(Schema.Number),
  /** What became of the daemon that ran: it is the one that served all along, another one serves, or none does. */
  daemon: Schema.optional(Schema.Literal("same", "another", "none")),
})

export const JournalRecord = Schema.Union(
  Started,
  PhaseBegun,
  PhaseDone,
  Stopping,
  Starting,
  Committed,
  Failed,
  Recovering,
  Paused,
  ActionDone,
  Ended,
)
export type JournalRecord = typeof JournalRecord.Type

/**
 * The point of no return, as a file of its own beside the journal: before it back, after it forward. It appears
 * whole, by one rename. Seen is not durable yet: only who synced it, or reads `Committed`, knows that.
 */
export const CommitFile = Schema.TaggedStruct("CommitFile", {
  ...base,
  run: Schema.Int.pipe(Schema.positive()),
})
export type CommitFile = typeof CommitFile.Type

/** A run as its records and its commit file say. */
export interface Run {
  readonly started: Started
  readonly records: ReadonlyArray<JournalRecord>
  readonly begun: ReadonlyArray<PhaseName>
  readonly done: ReadonlyArray<PhaseName>
  readonly facts: PhaseFacts
  /** The daemon that the run found: what ran is running again at its end. `null` where none did. */
  readonly daemon: DaemonFacts | null
  /** Seconds in which its supervisor starts it again after it ended; `undefined` where that is not known. */
  readonly patience: number | undefined
  /** Whether that daemon was asked to stop. */
  readonly stopping: boolean
  /** Whether somebody began to undo it: the new version may not start any more. */
  readonly goingBack: boolean
  /** The version that a waiting or a fresh start may become now. */
  readonly starting: Version | null
  /** Whether it goes forward. A commit file alone may still be lost in a power cut. */
  readonly committed: boolean
  /** Whether the commit is known to be durable: only then may a daemon accept writes because of it. */
  readonly announced: boolean
  /** Recovery's actions that are done: they are not done again. */
  readonly undone: ReadonlyArray<RecoveryAction>
  readonly failure: typeof Failed.Type | null
  /** What a recovery waits for, where its last word was a pause. */
  readonly paused: typeof Paused.Type | null
  readonly ended: typeof Ended.Type | null
}

/**
 * `null` for a journal whose first record never became durable: that run changed nothing. `hasCommitFile`: a
 * commit file is seen. It counts for nothing once its run has failed or was begun to be undone: its writer
 * could not make it durable, and a power cut may bring it back.
 */
export const foldRun = (records: ReadonlyArray<JournalRecord>, hasCommitFile = false): Run | null => {
  const [started] = records
  if (started?._tag !== "Started") return null
  const facts: PhaseFacts = Object.assign(
    {},
    ...records.map((record) =>
      record._tag === "PhaseBegun" || record._tag === "PhaseDone" ? (record.facts ?? {}) : {},
    ),
  )
  const last = <T extends JournalRecord["_tag"]>(tag: T) =>
    records.findLast((record): record is Extract<JournalRecord, { _tag: T }> => record._tag === tag) ?? null
  const back = records.findLastIndex((record) => record._tag === "Recovering" && record.direction === "back")
  const lastRecord = records.at(-1)
  const failure = last("Failed")
  const announced = last("Committed") !== null
  const stopping = last("Stopping")
  const found = stopping !== null && stopping.daemon !== null ? stopping : started
  return {
    started,
    records,
    begun: records.flatMap((record) => (record._tag === "PhaseBegun" ? [record.phase] : [])),
    done: records.flatMap((record) => (record._tag === "PhaseDone" ? [record.phase] : [])),
    facts,
    daemon: found.daemon,
    patience: found.patience,
    stopping: stopping !== null,
    goingBack: back !== -1,
    // What was allowed before an undo began is allowed no more.
    starting:
      records.slice(back + 1).findLast((record): record is typeof Starting.Type => record._tag === "Starting")
        ?.version ?? null,
    committed: announced || (hasCommitFile && failure === null && back === -1),
    announced,
    undone: records.flatMap((record) => (record._tag === "ActionDone" ? [record.action] : [])),
    failure,
    paused: lastRecord?._tag === "Paused" ? lastRecord : null,
    ended: last("Ended"),
  }
}

/**
 * Whether data and code of a committed run are in their places for good: what is left of it is tidying up, and keeps no
 * daemon from its data.
 */
export const isInPlace = (run: Pick<Run, "committed" | "starting" | "done" | "started">): boolean =>
  run.committed && (run.started.kind === "upgrade" || run.starting !== null || run.done.includes("verify"))

/**
 * What a daemon of `version` that is about to open the data does about the newest run.
 * `live` says whether somebody carries the run on right now.
 */
export type Gate =
  | { readonly _tag: "Open" }
  | { readonly _tag: "Held" }
  | { readonly _tag: "Wait" }
  | { readonly _tag: "Recover" }

export const gateFor = (run: Run | null, live: boolean, version: string): Gate => {
  if (run === null || run.ended !== null) return { _tag: "Open" }
  if (!live) return { _tag: "Recover" }
  // Until step 2 begins the run has touched nothing: a daemon that ended by itself may come back.
  if (!run.begun.includes("stop") && run.starting === null) return { _tag: "Open" }
  if (run.starting !== version) return { _tag: "Wait" }
  // The old version is only ever started when back is decided and its data is in place again.
  if (run.announced || run.starting === run.started.from) return { _tag: "Open" }
  return { _tag: "Held" }
}
