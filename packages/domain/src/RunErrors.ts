/** Failures of the daemon and of a run: an upgrade, a rollback, a recovery. */
import * as Schema from "effect/Schema"
import { ExitCode } from "./ExitCode.ts"
import { fileReason, fileRemedy } from "./FileWords.ts"
import { followedBy, inDataDir, shellWord } from "./Shell.ts"

export class DaemonStopTimeout extends Schema.TaggedError<DaemonStopTimeout>()("DaemonStopTimeout", {
  pid: Schema.Int,
  /** Seconds waited. */
  waited: Schema.Number,
  why: Schema.String,
}) {
  override get message() {
    return `The daemon (process ${this.pid}) did not stop within ${this.waited} s, and was not killed: ${this.why}.`
  }
  get next() {
    return `Look at \`waiaas status\`; if process ${this.pid} is the daemon, end it with \`kill ${this.pid}\`, then run the command again.`
  }
  get exitCode() {
    return ExitCode.stopTimeout
  }
}

export class DaemonUnreachable extends Schema.TaggedError<DaemonUnreachable>()("DaemonUnreachable", {
  address: Schema.String,
  problem: Schema.String,
  /** What to type, where more is known than that there is no answer. */
  instead: Schema.optional(Schema.String),
}) {
  override get message() {
    return `The daemon at ${this.address} does not answer: ${this.problem}.`
  }
  get next() {
    return this.instead ?? "waiaas status"
  }
  get exitCode() {
    return ExitCode.failed
  }
}

export class DaemonStartFailed extends Schema.TaggedError<DaemonStartFailed>()("DaemonStartFailed", {
  version: Schema.String,
  problem: Schema.String,
  logFile: Schema.String,
  /** What the daemon itself said to type, and how it ended, where it came to say so. */
  instead: Schema.optional(Schema.String),
  code: Schema.optional(Schema.Int),
}) {
  override get message() {
    // What the daemon says of itself may begin like this already.
    const problem = this.problem.replace(/^(WAIaaS \S+ did not start: )+/, "").replace(/\.$/, "")
    return `WAIaaS ${this.version} did not start: ${problem}.`
  }
  get next() {
    return this.instead ?? `Read the end of ${this.logFile}, then run \`waiaas start --background\`.`
  }
  get exitCode(): number {
    return this.code ?? ExitCode.failed
  }
}

/** The daemon cannot have its address; `code` is the system's own reason. */
export class ListenFailed extends Schema.TaggedError<ListenFailed>()("ListenFailed", {
  hostname: Schema.String,
  port: Schema.Int,
  code: Schema.String,
  /** What is to be typed then, where a daemon serves already and is to have this address. */
  command: Schema.optional(Schema.String),
}) {
  override get message() {
    const why =
      {
        EADDRINUSE: "another program listens there",
        EACCES: "this user may not listen there",
        EADDRNOTAVAIL: "this machine has no such address",
        ENOTFOUND: "no such host name is known",
      }[this.code] ?? fileReason(this.code, "listen")
    return `Could not listen on ${this.hostname} port ${this.port}: ${why}.`
  }
  get next() {
    const { command = "waiaas start --background" } = this
    // Another port would not help.
    if (["EMFILE", "ENFILE", "ENOMEM"].includes(this.code))
      return `${fileRemedy(this.code, "", "listen")}, then run \`${command}\`.`
    return `Set another [daemon] port or hostname in config.toml (or WAIAAS_DAEMON_PORT), then run \`${command}\`.`
  }
  get exitCode() {
    return ExitCode.failed
  }
}

export class OtherOwner extends Schema.TaggedError<OtherOwner>()("OtherOwner", {
  path: Schema.String,
  dataDir: Schema.String,
  /** User ids. */
  owner: Schema.Int,
  user: Schema.Int,
}) {
  override get message() {
    return `${this.path} belongs to user ${this.owner}, you are user ${this.user}.`
  }
  get next() {
    const place = `--data-dir ${shellWord(this.dataDir)} at its end`
    // Root may write to the package, and the owner perhaps not: under sudo each act has the rights that it needs.
    return this.user === 0
      ? `Run the command with \`sudo\` before it, in a shell of root's as well, and ${place}: what it does to the data is then done as user ${this.owner}.`
      : `Run the command as its owner, with \`sudo -u '#${this.owner}'\` before it and ${place}.`
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export class VerificationFailed extends Schema.TaggedError<VerificationFailed>()("VerificationFailed", {
  what: Schema.String,
  expected: Schema.String,
  found: Schema.String,
}) {
  override get message() {
    return `Verification failed: ${this.what} should be ${this.expected} but is ${this.found}.`
  }
  get next() {
    return "Report this with the lines above."
  }
  get exitCode() {
    return ExitCode.failed
  }
}

/** A defect of WAIaaS's own code in the middle of a run, which is undone like any other failure. */
export class RunDefect extends Schema.TaggedError<RunDefect>()("RunDefect", {
  kind: Schema.Literal("upgrade", "rollback"),
  /** What was thrown: its name, its message and its stack. */
  defect: Schema.String,
}) {
  override get message() {
    return `This is a bug in WAIaaS, found during the ${this.kind}: ${this.defect}`
  }
  get next() {
    return "Report this with the lines above."
  }
  get exitCode() {
    return ExitCode.failed
  }
}

/** Another run is going on, here or on the same install. */
export class UpgradeInProgress extends Schema.TaggedError<UpgradeInProgress>()("UpgradeInProgress", {
  dataDir: Schema.String,
  run: Schema.Int,
  pid: Schema.Int,
  /** Unix seconds. */
  since: Schema.Int,
}) {
  override get message() {
    return `Run ${this.run} of ${this.dataDir} is going on: process ${this.pid}, since ${new Date(this.since * 1000).toISOString()}.`
  }
  get next() {
    return `waiaas upgrade --status --data-dir ${shellWord(this.dataDir)}`
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** An earlier run was cut off and has not been recovered. */
export class UnfinishedRun extends Schema.TaggedError<UnfinishedRun>()("UnfinishedRun", {
  dataDir: Schema.String,
  run: Schema.Int,
}) {
  override get message() {
    return `Run ${this.run} of ${this.dataDir} was cut off and is not recovered yet.`
  }
  get next() {
    return `waiaas start --background --data-dir ${shellWord(this.dataDir)}`
  }
  get exitCode() {
    return ExitCode.needsOperator
  }
}

export class JournalDamaged extends Schema.TaggedError<JournalDamaged>()("JournalDamaged", {
  path: Schema.String,
  problem: Schema.String,
  /** What to type, where it is another waiaas or another configuration that the journal belongs to. */
  instead: Schema.optional(Schema.String),
}) {
  override get message() {
    return this.instead === undefined
      ? `The journal ${this.path} is damaged: ${this.problem}. Nothing was touched.`
      : `The journal ${this.path} is not followed: ${this.problem}. Nothing was touched.`
  }
  get next() {
    if (this.instead !== undefined) return this.instead
    return `Keep a copy of ${this.path}, and read "A damaged journal" in docs/operator-guide.md of the package (below \`npm root --global\`).`
  }
  get exitCode() {
    return ExitCode.needsOperator
  }
}

export class Interrupted extends Schema.TaggedError<Interrupted>()("Interrupted", {}) {
  override get message() {
    return "Interrupted."
  }
  get next() {
    return "waiaas upgrade"
  }
  get exitCode() {
    return ExitCode.interrupted
  }
}

/** A remedy that goes on with the recovery by itself. */
const recovers = /waiaas (start|upgrade)(?! --status)/

/** A recovery that met a cause it cannot remove: a pause, not an end. */
export class RecoveryPaused extends Schema.TaggedError<RecoveryPaused>()("RecoveryPaused", {
  run: Schema.Int,
  action: Schema.String,
  cause: Schema.String,
  /** What has to be removed first. */
  remedy: Schema.String,
  dataDir: Schema.String,
}) {
  override get message() {
    return `Recovery of run ${this.run} paused at "${this.action}": ${this.cause} Everything it needs is kept.`
  }
  get next() {
    const start = `waiaas start --background --data-dir ${shellWord(this.dataDir)}`
    return recovers.test(this.remedy) ? inDataDir(this.remedy, this.dataDir) : followedBy(this.remedy, start)
  }
  get exitCode() {
    return ExitCode.needsOperator
  }
}

export class Unconfirmed extends Schema.TaggedError<Unconfirmed>()("Unconfirmed", {
  what: Schema.String,
  command: Schema.String,
}) {
  override get message() {
    return `${this.what} was not confirmed; nothing was changed.`
  }
  get next() {
    return this.command
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** No daemon has the data directory open. */
export class DaemonNotRunning extends Schema.TaggedError<DaemonNotRunning>()("DaemonNotRunning", {}) {
  override get message() {
    return "The daemon is not running."
  }
  get next() {
    return "waiaas start --background"
  }
  get exitCode() {
    return ExitCode.failed
  }
}

/** A restart that is its supervisor's to do: it would start a second one. */
export class DaemonSupervised extends Schema.TaggedError<DaemonSupervised>()("DaemonSupervised", {
  supervisor: Schema.String,
  pid: Schema.Int,
  /** What to type there, or one sentence. */
  instead: Schema.String,
}) {
  override get message() {
    return `The daemon (process ${this.pid}) is owned by ${this.supervisor}, which starts it: nothing was done.`
  }
  get next() {
    return this.instead
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export class RequestRefused extends Schema.TaggedError<RequestRefused>()("RequestRefused", {
  /** Of HTTP. */
  status: Schema.Int,
  /** A whole sentence. */
  problem: Schema.String,
  /** What the daemon said to do about it, where it did. */
  instead: Schema.optional(Schema.String),
}) {
  override get message() {
    return this.problem
  }
  get next() {
    return this.instead ?? (this.status === 400 ? "waiaas agent --help" : "waiaas status")
  }
  get exitCode() {
    return this.status === 400 ? ExitCode.usage : this.status < 500 ? ExitCode.refused : ExitCode.failed
  }
}

/** A part of a command that ran as a process of its own and said why it failed. */
export class CommandFailed extends Schema.TaggedError<CommandFailed>()("CommandFailed", {
  text: Schema.String,
  exitCode: Schema.Int,
}) {
  override get message() {
    return this.text
      .replace(/^error: /, "")
      .replace(/\n\s*(next|exit code): .*$/s, "")
      .trim()
  }
  get next() {
    return /next: (.*)$/m.exec(this.text)?.[1]?.trim() ?? "waiaas status"
  }
}
