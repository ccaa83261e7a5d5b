/**
 * The phases of an upgrade and of a rollback, as data. Help, dry run, journal, progress and
 * recovery all derive from these two lists. `RunEngine` carries out their first part, up to the commit.
 * What a phase does is in `UpgradePhases` for an upgrade, and in `RollbackPhases` and `RollbackSteps` for a rollback.
 */
import * as Schema from "effect/Schema"

/** What an undo (or the finish after the commit) does: each is idempotent and looks at what it finds. */
export const RecoveryAction = Schema.Literal(
  "stop-new-daemon",
  "restore-data",
  "put-old-package-back",
  "remove-partial-backup",
  "start-old-daemon",
  "remove-staging",
  "finish-commit",
  "resume-rollback",
)
export type RecoveryAction = typeof RecoveryAction.Type

/** What an operator reads when an action is carried out. */
export const actionTitle: Record<RecoveryAction, string> = {
  "stop-new-daemon": "stop the new daemon",
  "restore-data": "restore the old data",
  "put-old-package-back": "put the old package back",
  "remove-partial-backup": "remove the unfinished backup",
  "start-old-daemon": "start the old version again",
  "remove-staging": "remove the staged package",
  "finish-commit": "finish what the commit decided",
  "resume-rollback": "carry the rollback on to its end",
}

export const PhaseName = Schema.Literal(
  "check",
  "stop",
  "backup",
  "update",
  "migrate",
  "verify",
  "restart",
  "aside",
  "restore",
)
export type PhaseName = typeof PhaseName.Type

export interface Phase {
  readonly name: PhaseName
  /** In the imperative, for progress and help. */
  readonly title: string
  readonly description: string
  readonly daemon: "serves" | "stops" | "down"
  /** What puts this phase back, before the commit; `null` where it changes nothing, or comes after the commit. */
  readonly undo: RecoveryAction | null
}

export const upgradePhases: ReadonlyArray<Phase> = [
  {
    name: "check",
    title: "Check",
    description:
      "resolve the target through npm, check permission, space and restart, stage and run the candidate, retain the old code, rehearse the migration on a copy, point the command at the retained code",
    daemon: "serves",
    undo: "remove-staging",
  },
  {
    name: "stop",
    title: "Stop the daemon",
    description: "let requests in flight finish, checkpoint the database, take the data lock",
    daemon: "stops",
    undo: "start-old-daemon",
  },
  {
    name: "backup",
    title: "Back up",
    description: "copy database and config.toml, hash, check, make durable",
    daemon: "down",
    undo: "remove-partial-backup",
  },
  {
    name: "update",
    title: "Update the package",
    description: "swap the package by two renames",
    daemon: "down",
    undo: "put-old-package-back",
  },
  {
    name: "migrate",
    title: "Migrate",
    description: "the new code migrates the database in one transaction",
    daemon: "down",
    undo: "restore-data",
  },
  {
    name: "verify",
    title: "Verify",
    description:
      "version, schema, quick_check, every column and row compared with the backup, every sealed key, keystore",
    daemon: "down",
    undo: null,
  },
  {
    name: "restart",
    title: "Restart",
    description: "start the new daemon held, see it healthy, commit, let it serve",
    daemon: "serves",
    undo: "stop-new-daemon",
  },
]

export const rollbackPhases: ReadonlyArray<Phase> = [
  {
    name: "check",
    title: "Check",
    description:
      "verify the backup, prepare its copy and the code that belongs to it, point the command at retained code",
    daemon: "serves",
    undo: "remove-staging",
  },
  {
    name: "stop",
    title: "Stop the daemon",
    description: "let requests in flight finish, checkpoint the database, take the data lock",
    daemon: "stops",
    undo: "start-old-daemon",
  },
  {
    name: "aside",
    title: "Keep today's data aside",
    description:
      "a pre-rollback backup of database and config.toml; agents suspended since are suspended in the prepared copy",
    daemon: "down",
    undo: "remove-partial-backup",
  },
  {
    name: "restore",
    title: "Restore the data",
    description: "rename today's files out and the prepared copy in; from here on it only goes forward",
    daemon: "down",
    undo: null,
  },
  {
    name: "update",
    title: "Put the package back",
    description: "swap in the code that belongs to the data",
    daemon: "down",
    undo: null,
  },
  {
    name: "verify",
    title: "Verify",
    description: "version, schema, quick_check",
    daemon: "down",
    undo: null,
  },
  {
    name: "restart",
    title: "Restart",
    description: "start the old version, see it healthy",
    daemon: "serves",
    undo: null,
  },
]

export const RunKind = Schema.Literal("upgrade", "rollback")
export type RunKind = typeof RunKind.Type

export const phasesOf: Record<RunKind, ReadonlyArray<Phase>> = {
  upgrade: upgradePhases,
  rollback: rollbackPhases,
}

/** The phases that a run carries out before its commit; what is left then only goes forward. */
export interface PhaseBeforeCommit {
  readonly upgrade: "check" | "stop" | "backup" | "update" | "migrate" | "verify" | "restart"
  readonly rollback: "check" | "stop" | "aside"
}

/** The last phase before the commit. */
const commitAfter: PhaseBeforeCommit = { upgrade: "restart", rollback: "aside" }

export const phasesBeforeCommit = <K extends RunKind>(kind: K): ReadonlyArray<PhaseBeforeCommit[K]> => {
  const names = phasesOf[kind].map(({ name }) => name)
  return names.slice(0, names.indexOf(commitAfter[kind]) + 1) as ReadonlyArray<PhaseName> as ReadonlyArray<
    PhaseBeforeCommit[K]
  >
}

/** The undo of the phases that were begun, newest first. */
export const undoOf = (kind: RunKind, begun: ReadonlyArray<PhaseName>): ReadonlyArray<RecoveryAction> =>
  phasesOf[kind]
    .filter((phase) => begun.includes(phase.name))
    .flatMap((phase) => (phase.undo === null ? [] : [phase.undo]))
    .reverse()
