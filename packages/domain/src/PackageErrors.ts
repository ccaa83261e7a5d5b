/** Failures of npm, of the installed package and of a candidate. */
import * as Schema from "effect/Schema"
import { ExitCode } from "./ExitCode.ts"
import { placeRemedy } from "./FileWords.ts"
import { NpmFailureKind, npmFailureText, withoutPermission } from "./NpmFailure.ts"
import { PACKAGE_NAME } from "./PackageName.ts"
import { shellWord } from "./Shell.ts"
import { sizeInWords } from "./Size.ts"

export class NotNpmGlobal extends Schema.TaggedError<NotNpmGlobal>()("NotNpmGlobal", {
  manager: Schema.String,
  packageDir: Schema.String,
  command: Schema.String,
  /** What is in the way, where npm installed the package, but its place or its command was changed since. */
  problem: Schema.optional(Schema.String),
}) {
  override get message() {
    if (this.problem !== undefined) return `${this.problem}.`
    return `This waiaas was installed with ${this.manager} (${this.packageDir}), not with npm install --global.`
  }
  get next() {
    return this.command
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export class NoPermission extends Schema.TaggedError<NoPermission>()("NoPermission", {
  path: Schema.String,
  owner: Schema.String,
  /** The system's, where it is known: what is immutable or mounted read-only is so for root as well. */
  code: Schema.optional(Schema.String),
}) {
  get #isForAll() {
    return this.code === "EPERM" || this.code === "EROFS"
  }
  override get message() {
    if (this.#isForAll)
      return `Nobody may write to ${this.path}: ${this.code === "EPERM" ? "it is immutable or append-only" : "it is mounted read-only"} (${this.code}).`
    return `You may not write to ${this.path} (owner: ${this.owner}).`
  }
  get next() {
    return this.#isForAll
      ? `${placeRemedy(this.code ?? "", this.path)}, then run the command again.`
      : withoutPermission
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** The package directory cannot be exchanged by a rename; `code` is the system's own reason. */
export class PackageNotMovable extends Schema.TaggedError<PackageNotMovable>()("PackageNotMovable", {
  packageDir: Schema.String,
  version: Schema.String,
  code: Schema.String,
  /** A mount between the package and what it is exchanged with. */
  mount: Schema.optional(Schema.String),
}) {
  override get message() {
    return `The installed package ${this.packageDir} cannot be renamed (${this.code}${
      this.code === "EXDEV" && this.mount !== undefined
        ? `: ${this.mount} is mounted by itself`
        : this.code === "EXDEV"
          ? ": it is part of an image, a lower layer of an overlay file system"
          : this.code === "EBUSY"
            ? ": it is a mount point"
            : ""
    }). An upgrade exchanges it by a rename.`
  }
  get next() {
    if (this.code === "EXDEV" && this.mount !== undefined)
      return `Unmount it (\`umount ${shellWord(this.mount)}\`) and mount the directory around it, or install WAIaaS in a prefix without such a mount, then run the command again.`
    if (this.code === "EXDEV") return `npm install --global ${PACKAGE_NAME}@${this.version}`
    return this.code === "EBUSY"
      ? `Install WAIaaS in a directory that is not mounted by itself, then run the command again.`
      : `Make ${shellWord(this.packageDir)} changeable (\`lsattr -d\` shows whether it is immutable), then run the command again.`
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** Nothing went wrong: npm, or the operator's own settings of it, does not allow it. */
const refusals: ReadonlyArray<NpmFailureKind> = [
  "no-permission",
  "no-cache",
  "no-file",
  "too-young",
  "offline",
  "settings",
  "foreign-settings",
]

export class NpmFailed extends Schema.TaggedError<NpmFailed>()("NpmFailed", {
  kind: NpmFailureKind,
  /** What npm was asked, such as `view @waiaas/cli@latest`. */
  asked: Schema.String,
  /** npm's last lines, secrets removed. */
  output: Schema.String,
  /** What it happened to, such as the registry or the cache. */
  subject: Schema.optional(Schema.String),
}) {
  override get message() {
    const [what] = npmFailureText[this.kind](this.subject)
    return `npm ${this.asked}: ${what}.${this.output === "" ? "" : `\n${this.output.replace(/^/gm, "  | ")}`}`
  }
  get next() {
    return npmFailureText[this.kind](this.subject)[1]
  }
  get exitCode() {
    return refusals.includes(this.kind) ? ExitCode.refused : ExitCode.failed
  }
}

/** A candidate that must not be installed here: nothing was downloaded for it. */
export class CandidateRefused extends Schema.TaggedError<CandidateRefused>()("CandidateRefused", {
  version: Schema.String,
  reason: Schema.String,
  command: Schema.String,
}) {
  override get message() {
    return `WAIaaS ${this.version} cannot be installed here: ${this.reason}.`
  }
  get next() {
    return this.command
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export class BadTarget extends Schema.TaggedError<BadTarget>()("BadTarget", {
  target: Schema.String,
  problem: Schema.String,
  /** What to type instead, where it is not another `--to`. */
  instead: Schema.optional(Schema.String),
}) {
  override get message() {
    return `${this.target}: ${this.problem}.`
  }
  get next() {
    return (
      this.instead ??
      "Name an exact version, as in `waiaas upgrade --to 2.1.0`, or a dist-tag, as in `waiaas upgrade --to latest`."
    )
  }
  get exitCode() {
    return ExitCode.usage
  }
}

/** The staged candidate does not run, or is not what it says. */
export class CandidateBroken extends Schema.TaggedError<CandidateBroken>()("CandidateBroken", {
  version: Schema.String,
  problem: Schema.String,
}) {
  override get message() {
    return `The staged WAIaaS ${this.version} does not work here: ${this.problem}.`
  }
  get next() {
    return "Report this, or choose another version out of `npm view @waiaas/cli versions`; yours goes on working."
  }
  get exitCode() {
    return ExitCode.failed
  }
}

/** A restart at the end of the upgrade would fail, so it is not begun. */
export class RestartWouldFail extends Schema.TaggedError<RestartWouldFail>()("RestartWouldFail", {
  missing: Schema.String,
  command: Schema.String,
}) {
  override get message() {
    return `The new version could not be started from here: ${this.missing}. Nothing was stopped.`
  }
  get next() {
    return this.command
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export class NoSpace extends Schema.TaggedError<NoSpace>()("NoSpace", {
  path: Schema.String,
  /** Bytes. */
  needed: Schema.Number,
  available: Schema.Number,
}) {
  override get message() {
    return `Not enough space at ${this.path}: ${sizeInWords(this.needed)} needed, ${sizeInWords(this.available)} available.`
  }
  get next() {
    return `Free ${sizeInWords(this.needed - this.available)} on that file system, then run the command again.`
  }
  get exitCode() {
    return ExitCode.failed
  }
}

/** A file of the installed package that is not what was published. */
export class PackageDamaged extends Schema.TaggedError<PackageDamaged>()("PackageDamaged", {
  path: Schema.String,
  problem: Schema.String,
  version: Schema.String,
}) {
  override get message() {
    return `The installed package is damaged: ${this.path} ${this.problem}.`
  }
  get next() {
    return `npm install --global ${PACKAGE_NAME}@${this.version}`
  }
  get exitCode() {
    return ExitCode.failed
  }
}
