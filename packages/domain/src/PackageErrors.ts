/** Failures of npm, of the installed package and of a candidate. */
import * as Schema from "effect/Schema"
import { ExitCode } from "./ExitCode.ts"

const bytes = (count: number): string =>
  count >= 1e9
    ? `${(count / 1e9).toFixed(1)} GB`
    : count >= 1e6
      ? `${(count / 1e6).toFixed(1)} MB`
      : `${Math.ceil(count / 1e3)} kB`

export class NotNpmGlobal extends Schema.TaggedError<NotNpmGlobal>()("NotNpmGlobal", {
  manager: Schema.String,
  packageDir: Schema.String,
  command: Schema.String,
}) {
  override get message() {
    return `This waiaas was installed with ${this.manager} (${this.packageDir}), not with npm install --global.`
  }
  get next() {
    return this.command
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** `sudo` has a home of its own, so the data directory is named: here the default one. */
const withoutPermission =
  "Run `sudo waiaas upgrade --data-dir ~/.waiaas`, or install Node with nvm or fnm, or give npm a prefix of your own with `npm config set prefix ~/.npm-global`."

export class NoPermission extends Schema.TaggedError<NoPermission>()("NoPermission", {
  path: Schema.String,
  owner: Schema.String,
}) {
  override get message() {
    return `You may not write to ${this.path} (owner: ${this.owner}).`
  }
  get next() {
    return withoutPermission
  }
  get exitCode() {
    return ExitCode.refused
  }
}

export const NpmFailureKind = Schema.Literal(
  "no-npm",
  "no-permission",
  "no-network",
  "no-such-version",
  "too-young",
  "integrity",
  "no-space",
  "script-blocked",
  "timeout",
  "unexpected-output",
  "other",
)
export type NpmFailureKind = typeof NpmFailureKind.Type

const npmFailureText: Record<NpmFailureKind, readonly [what: string, next: string]> = {
  "no-npm": [
    "no npm stands beside the Node that runs waiaas",
    "Install npm for that Node, then run `waiaas upgrade` again.",
  ],
  "no-permission": ["npm may not write there", withoutPermission],
  "no-network": [
    "the registry cannot be reached",
    "Check the connection with `npm ping`, or upgrade offline with `waiaas upgrade --from <tarball>`.",
  ],
  "no-such-version": ["the registry has no such version", "npm view @waiaas/cli versions"],
  "too-young": [
    "the release is younger than your npm setting min-release-age allows",
    "Wait, or lower min-release-age in your npmrc, then run `waiaas upgrade` again.",
  ],
  integrity: [
    "what was downloaded is not what the registry signed for; nothing of it was installed",
    "Run `npm cache verify`, then `waiaas upgrade` again; if it fails again, install nothing and report it.",
  ],
  "no-space": ["there is no space left", "Free some space, then run `waiaas upgrade` again."],
  "script-blocked": ["npm blocked an install script", "Report this: a release needs no install script."],
  timeout: [
    "npm did not end in time and was ended",
    "Run `waiaas upgrade` again; `npm ping` tells whether the registry answers.",
  ],
  "unexpected-output": ["npm answered something that is no release document", "npm view @waiaas/cli"],
  other: ["npm failed", "Read npm's last lines above, then run `waiaas upgrade` again."],
}

export class NpmFailed extends Schema.TaggedError<NpmFailed>()("NpmFailed", {
  kind: NpmFailureKind,
  /** What npm was asked, such as `view @waiaas/cli@latest`. */
  asked: Schema.String,
  /** npm's last lines, secrets removed. */
  output: Schema.String,
}) {
  override get message() {
    return `npm ${this.asked}: ${npmFailureText[this.kind][0]}.${this.output === "" ? "" : `\n${this.output.replace(/^/gm, "  | ")}`}`
  }
  get next() {
    return npmFailureText[this.kind][1]
  }
  get exitCode() {
    return this.kind === "no-permission" ? ExitCode.refused : ExitCode.failed
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
    return `The new version could not be started from here: ${this.missing}. The running daemon was not touched.`
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
    return `Not enough space at ${this.path}: ${bytes(this.needed)} needed, ${bytes(this.available)} available.`
  }
  get next() {
    return `Free ${bytes(this.needed - this.available)} on that file system, then run the command again.`
  }
  get exitCode() {
    return ExitCode.failed
  }
}
