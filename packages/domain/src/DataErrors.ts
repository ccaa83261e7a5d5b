/** Failures of the data directory, its configuration, database and backups. */
import * as Schema from "effect/Schema"
import { ExitCode } from "./ExitCode.ts"
import { fileReason, fileRemedy, lasting } from "./FileWords.ts"
import { shellWord } from "./Shell.ts"
import { Version } from "./Version.ts"

export class NotInitialised extends Schema.TaggedError<NotInitialised>()("NotInitialised", {
  dataDir: Schema.String,
}) {
  override get message() {
    return `No WAIaaS data in ${this.dataDir}.`
  }
  get next() {
    return `waiaas init --data-dir ${shellWord(this.dataDir)}`
  }
  get exitCode() {
    return ExitCode.notInitialised
  }
}

/** A relative path, and a working directory that does not exist any more. */
export class NoWorkingDirectory extends Schema.TaggedError<NoWorkingDirectory>()("NoWorkingDirectory", {
  path: Schema.String,
}) {
  override get message() {
    return `The working directory does not exist any more, so the relative path ${this.path} names nothing.`
  }
  get next() {
    return "Go to a directory that exists (`cd`), then run the command again."
  }
  get exitCode() {
    return ExitCode.usage
  }
}

export class UnsafeDataDir extends Schema.TaggedError<UnsafeDataDir>()("UnsafeDataDir", {
  path: Schema.String,
  problem: Schema.String,
  command: Schema.String,
}) {
  override get message() {
    return `${this.path}: ${this.problem}.`
  }
  get next() {
    return this.command
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export class ConfigInvalid extends Schema.TaggedError<ConfigInvalid>()("ConfigInvalid", {
  /** File, or environment variable. */
  source: Schema.String,
  key: Schema.String,
  value: Schema.String,
  allowed: Schema.String,
  /** What is wrong, where it is no value that is not allowed. */
  problem: Schema.optional(Schema.String),
  /** What to do, where it is more than to correct the value. */
  remedy: Schema.optional(Schema.String),
}) {
  override get message() {
    if (this.problem !== undefined) return `${this.source}: ${this.problem}.`
    return `${this.source}: ${this.key} = ${this.value} is not allowed (allowed: ${this.allowed}).`
  }
  get next() {
    if (this.remedy !== undefined) return this.remedy
    return this.source === "environment"
      ? `Correct or unset the variable ${this.key}, then run the command again.`
      : `Correct ${this.key} in ${this.source}, then run the command again.`
  }
  get exitCode() {
    return ExitCode.usage
  }
}

/** A file operation that failed; `code` is the system's (ENOSPC, EACCES, ...). */
export class FileFailed extends Schema.TaggedError<FileFailed>()("FileFailed", {
  operation: Schema.String,
  path: Schema.String,
  code: Schema.String,
}) {
  override get message() {
    return `Could not ${this.operation} ${this.path}: ${fileReason(this.code, this.operation)} (${this.code}).`
  }
  get next() {
    return `${fileRemedy(this.code, lasting(this.path), this.operation)}, then run the command again.`
  }
  get exitCode() {
    return ExitCode.failed
  }
}

/** Whether a failure is that no space is left: the one trouble of a daemon that its operator can end without its log. */
export const isDiskFull = (error: { readonly _tag: string }): boolean =>
  error instanceof FileFailed
    ? error.code === "ENOSPC" || error.code === "EDQUOT"
    : error instanceof DatabaseFailed && /disk is full/.test(error.reason)

/** The file of the API's token is missing, or holds something else. */
export class TokenUnusable extends Schema.TaggedError<TokenUnusable>()("TokenUnusable", {
  path: Schema.String,
  problem: Schema.String,
  missing: Schema.Boolean,
  /** The daemon does not run: it was about to start. */
  stopped: Schema.optional(Schema.Boolean),
}) {
  override get message() {
    return `The API token ${this.path} cannot be used: ${this.problem}.`
  }
  get next() {
    return [
      ...(this.stopped === true ? [] : ["waiaas stop"]),
      ...(this.missing ? [] : [`rm -f ${shellWord(this.path)}`]),
      "waiaas init",
      "waiaas start --background",
    ].join(" && ")
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export class LockBusy extends Schema.TaggedError<LockBusy>()("LockBusy", {
  lock: Schema.Literal("install", "run", "data", "tool"),
  path: Schema.String,
  /** Who holds it and since when, as far as is known. */
  holder: Schema.String,
}) {
  override get message() {
    return `Another process works here: ${this.holder} (lock ${this.path}).`
  }
  get next() {
    return this.lock === "data" ? "waiaas status" : "waiaas upgrade --status"
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export class DatabaseFailed extends Schema.TaggedError<DatabaseFailed>()("DatabaseFailed", {
  operation: Schema.String,
  path: Schema.String,
  reason: Schema.String,
  /** What to type, where it is no backup that helps. */
  remedy: Schema.optional(Schema.String),
}) {
  override get message() {
    return `Database ${this.path}: could not ${this.operation}: ${this.reason}.`
  }
  get next() {
    if (this.remedy !== undefined) return this.remedy
    if (isDiskFull(this))
      return `${fileRemedy("ENOSPC", this.path, this.operation)}, then run the command again.`
    // SQLite says so of a full disk, too, where it is a file beside the database that finds no room.
    if (/disk I\/O error/.test(this.reason))
      return `Make sure that the disk of ${this.path} is sound and has free space, then run the command again.`
    return "waiaas backup list"
  }
  get exitCode() {
    return ExitCode.failed
  }
}

/** The configuration that was proven in step 1 of a run is not the one that is there later. */
export class ConfigChanged extends Schema.TaggedError<ConfigChanged>()("ConfigChanged", {
  path: Schema.String,
}) {
  override get message() {
    return `${this.path} was changed while the upgrade ran: the new version was proven to start with what it held before.`
  }
  get next() {
    return `Check ${this.path}, then run \`waiaas upgrade\` again.`
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** Another program is in a transaction of the database: as long as it is, nobody can copy or replace it. */
export class DatabaseInUse extends Schema.TaggedError<DatabaseInUse>()("DatabaseInUse", {
  path: Schema.String,
  pids: Schema.Array(Schema.Int),
  /** The programs and their processes. */
  by: Schema.String,
}) {
  override get message() {
    return `Database ${this.path}: another program has a transaction open in it: ${this.by}. No upgrade can take the data over meanwhile. The daemon was not touched.`
  }
  get next() {
    return `End that transaction or its program (\`kill ${this.pids.join(" ")}\`; stop a replicator for the time of the upgrade), then run the command again.`
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** Code that is older than the database's schema. */
export class DatabaseTooNew extends Schema.TaggedError<DatabaseTooNew>()("DatabaseTooNew", {
  schema: Schema.Int,
  supported: Schema.Int,
  /** One that understands it, where it is known. */
  release: Schema.optional(Version),
}) {
  override get message() {
    return `The database has schema ${this.schema}, this version knows up to ${this.supported}: upgrade your WAIaaS${
      this.release ? ` to ${this.release} or newer` : " to the newest version"
    }.`
  }
  get next() {
    return `npm install --global @waiaas/cli@${this.release ?? "latest"}`
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** A database below the oldest schema that this code migrates. */
export class DatabaseTooOld extends Schema.TaggedError<DatabaseTooOld>()("DatabaseTooOld", {
  schema: Schema.Int,
  minimum: Schema.Int,
  goThrough: Schema.optional(Version),
}) {
  override get message() {
    return `The database has schema ${this.schema}, this version migrates from schema ${this.minimum}: go through WAIaaS ${
      this.goThrough ?? "an older release"
    } first.`
  }
  get next() {
    return this.goThrough
      ? `npm install --global @waiaas/cli@${this.goThrough} && waiaas start --background`
      : 'Read "Upgrading across several minors" in docs/operator-guide.md of the package (below `npm root --global`).'
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** A released migration whose recorded checksum, or whose row, is not what the code knows (MIG-05). */
export class MigrationHistoryDiffers extends Schema.TaggedError<MigrationHistoryDiffers>()(
  "MigrationHistoryDiffers",
  {
    path: Schema.String,
    problem: Schema.String,
  },
) {
  override get message() {
    return `Database ${this.path}: its migration history is not the one of any release: ${this.problem}.`
  }
  get next() {
    return "waiaas upgrade --rollback"
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export class MigrationFailed extends Schema.TaggedError<MigrationFailed>()("MigrationFailed", {
  path: Schema.String,
  from: Schema.Int,
  to: Schema.Int,
  reason: Schema.String,
}) {
  override get message() {
    return `Migrating ${this.path} from schema ${this.from} to ${this.to} failed: ${this.reason}. Nothing of it was kept.`
  }
  get next() {
    return "Report this with the reason above; your data is as it was before."
  }
  get exitCode() {
    return ExitCode.failed
  }
}

export class BackupDamaged extends Schema.TaggedError<BackupDamaged>()("BackupDamaged", {
  name: Schema.String,
  problem: Schema.String,
}) {
  override get message() {
    return `Backup ${this.name} is damaged: ${this.problem}. Nothing was touched.`
  }
  get next() {
    return "waiaas backup list"
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** A backup whose agents are not of this data directory: there is no key of theirs here. */
export class BackupForeign extends Schema.TaggedError<BackupForeign>()("BackupForeign", {
  name: Schema.String,
  /** Agents in it. */
  agents: Schema.Int,
  keystore: Schema.String,
}) {
  override get message() {
    const all = this.agents === 1 ? "1 agent, whose key is" : `${this.agents} agents, whose keys are`
    return `Backup ${this.name} holds ${all} not in ${this.keystore}: it is of another installation, or the keystore was lost. Nothing was touched.`
  }
  get next() {
    return "Put back the keystore that belongs to that backup, or choose another backup out of `waiaas backup list`."
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** A newer version was installed by hand and has not started: there is nothing of it in the data that could be undone. */
export class DataNotMigrated extends Schema.TaggedError<DataNotMigrated>()("DataNotMigrated", {
  installed: Schema.String,
  writtenBy: Schema.String,
  /** The backup that a rollback would take. */
  backup: Schema.String,
}) {
  override get message() {
    return `WAIaaS ${this.installed} has not started on these data: they are those of ${this.writtenBy}, and newer than backup ${this.backup}, which would take their place. Nothing was touched. Name that backup with --backup to restore it all the same.`
  }
  get next() {
    return `npm install --global @waiaas/cli@${this.writtenBy}`
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export class NoBackup extends Schema.TaggedError<NoBackup>()("NoBackup", { wanted: Schema.String }) {
  override get message() {
    return `There is no ${this.wanted}.`
  }
  get next() {
    return "waiaas backup list"
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** A file of the keystore is missing, was changed, or belongs to something else. */
export class KeystoreDamaged extends Schema.TaggedError<KeystoreDamaged>()("KeystoreDamaged", {
  path: Schema.String,
  problem: Schema.String,
  /** Whether it is not there, as on a file system that is not mounted, rather than there and wrong. */
  missing: Schema.optional(Schema.Boolean),
}) {
  override get message() {
    return `The keystore is ${this.missing ? "missing" : "damaged"}: ${this.path} ${this.problem}.`
  }
  get next() {
    if (this.missing)
      return `Mount the file system of ${this.path} if it is not mounted, or put ${this.path} back from your own copy (the backups of WAIaaS do not hold it), then run the command again.`
    return `Put ${this.path} back from your own copy of the keystore: the backups of WAIaaS do not hold it.`
  }
  get exitCode() {
    return ExitCode.refused
  }
}
