/** npm's failures by what an operator can do about them, and the codes of `npm --json` that name them. */
import * as Schema from "effect/Schema"
import { PACKAGE_NAME } from "./Release.ts"

export const NpmFailureKind = Schema.Literal(
  "no-npm",
  "no-permission",
  "no-cache",
  "no-file",
  "no-network",
  "no-trust",
  "no-access",
  "no-such-package",
  "no-such-version",
  "too-young",
  "offline",
  "settings",
  "foreign-settings",
  "integrity",
  "no-space",
  "script-blocked",
  "timeout",
  "unexpected-output",
  "other",
)
export type NpmFailureKind = typeof NpmFailureKind.Type

const codes: Partial<Record<NpmFailureKind, ReadonlyArray<string>>> = {
  "no-space": ["ENOSPC", "EDQUOT"],
  integrity: ["EINTEGRITY", "EBADSIZE", "TAR_BAD_ARCHIVE", "TAR_ABORT", "Z_BUF_ERROR", "Z_DATA_ERROR"],
  "no-such-version": ["E404", "ETARGET", "ENOVERSIONS"],
  "no-permission": ["EACCES", "EPERM", "EROFS"],
  "no-access": ["E401", "E402", "E403", "ENEEDAUTH", "EOTP", "E407"],
  "script-blocked": ["ESTRICTALLOWSCRIPTS"],
  settings: ["EUNKNOWNCONFIG", "EALLOWFILE", "EALLOWREMOTE", "EINVALIDTYPE"],
  "unexpected-output": ["FETCH_ERROR", "EJSONPARSE"],
  "no-network": [
    "ENOTFOUND",
    "ECONNREFUSED",
    "ECONNRESET",
    "ECONNABORTED",
    "ETIMEDOUT",
    "EAI_AGAIN",
    "EAI_FAIL",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "ENOTCACHED",
    "EPIPE",
    "E429",
    "ERR_SOCKET_TIMEOUT",
    "ERR_SOCKET_CLOSED",
    "ERR_STREAM_PREMATURE_CLOSE",
  ],
  "no-trust": [
    "SELF_SIGNED_CERT_IN_CHAIN",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "UNABLE_TO_GET_ISSUER_CERT",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "CERT_HAS_EXPIRED",
    "CERT_NOT_YET_VALID",
    "CERT_UNTRUSTED",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "EPROTO",
  ],
}
const kindOfCode = new Map(
  Object.entries(codes).flatMap(([kind, list]) =>
    list.map((code) => [code, kind as NpmFailureKind] as const),
  ),
)

/** Whether a code names a certificate that is not trusted, in npm or in Node's own `fetch`. */
export const isTrustFailure = (code: string): boolean => kindOfCode.get(code) === "no-trust"

/** `npm --json` puts this on stdout when it fails. */
const Answer = Schema.parseJson(
  Schema.Struct({
    error: Schema.Struct({
      code: Schema.optional(Schema.NullOr(Schema.String)),
      summary: Schema.optional(Schema.NullOr(Schema.String)),
    }),
  }),
)
const decodeAnswer = Schema.decodeUnknownOption(Answer)

export interface NpmFailure {
  readonly kind: NpmFailureKind
  /** The file or directory that the system refused, where npm names it. */
  readonly path: string | null
}

/** What npm failed of: from the code in its JSON, else from the code that its log names; never from its sentences. */
export const npmFailureOf = (result: { readonly stdout: string; readonly stderr: string }): NpmFailure => {
  const logged = (name: string) =>
    new RegExp(`^npm (?:error|ERR!) ${name} (.+)$`, "m").exec(result.stderr)?.[1]?.trim()
  const answer = decodeAnswer(result.stdout.trim())
  const code = (answer._tag === "Some" ? answer.value.error.code : undefined) ?? logged("code")
  const server = code !== undefined && /^E5\d\d$/.test(code)
  const kind = code === undefined ? undefined : server ? "no-network" : kindOfCode.get(code)
  return { kind: kind ?? "other", path: logged("path") ?? null }
}

/** npm's own words for a failure, from its JSON; none where it gave none. */
export const npmSummaryOf = (result: { readonly stdout: string }): string | undefined => {
  const answer = decodeAnswer(result.stdout.trim())
  const summary = answer._tag === "Some" ? (answer.value.error.summary ?? "").trim() : ""
  return summary === "" ? undefined : summary.split("\n").slice(0, 4).join("\n")
}

/** `sudo` has a home of its own, so the data directory is named: here the default one. */
export const withoutPermission =
  "Run `sudo waiaas upgrade --data-dir ~/.waiaas`, or install Node with nvm or fnm, or give npm a prefix of your own with `npm config set prefix ~/.npm-global`."

/** What happened and what to do, by kind; `subject` is what it happened to, where that is known. */
export const npmFailureText: Record<
  NpmFailureKind,
  (subject: string | undefined) => readonly [what: string, next: string]
> = {
  "no-npm": () => [
    "there is no npm next to the Node that runs waiaas",
    "Install npm for that Node, then run `waiaas upgrade` again.",
  ],
  "no-permission": (path) => [
    path === undefined ? "npm may not write there" : `npm may not read or write ${path}`,
    withoutPermission,
  ],
  "no-cache": (path) => [
    `npm may not write to its cache${path === undefined ? "" : ` (${path})`}`,
    'Name a cache directory that you may write to, as in `npm_config_cache="$(mktemp -d)" waiaas upgrade`, or give yours back to its owner.',
  ],
  "no-file": (path) => [
    `npm may not read or write ${path ?? "a file of its own"}`,
    "Correct the owner or the mode of that path, then run `waiaas upgrade` again.",
  ],
  "no-network": (registry) => [
    `the registry${registry === undefined ? "" : ` ${registry}`} cannot be reached`,
    "Check the connection with `npm ping`, or upgrade offline with `waiaas upgrade --from <tarball>`.",
  ],
  "no-trust": (registry) => [
    `the certificate of the registry${registry === undefined ? "" : ` ${registry}`} is not trusted`,
    "Name its authority with `npm config set cafile <file>`, and to the daemon with NODE_EXTRA_CA_CERTS, then run `waiaas upgrade` again.",
  ],
  "no-access": (registry) => [
    `the registry${registry === undefined ? "" : ` ${registry}`} refuses this user`,
    "Log in with `npm login`, or correct the token in your npmrc, then run `waiaas upgrade` again.",
  ],
  "no-such-package": (registry) => [
    `the registry${registry === undefined ? "" : ` ${registry}`} has no ${PACKAGE_NAME}`,
    `Set the registry that has it with \`npm config set @waiaas:registry <address>\`, then run \`waiaas upgrade\` again.`,
  ],
  "no-such-version": (subject) => [
    subject ?? "the registry has no such version",
    `npm view ${PACKAGE_NAME} versions`,
  ],
  "too-young": (subject) => [
    subject ?? "the release is younger than npm's setting min-release-age or before allows",
    "Wait, or change that setting of npm, then run `waiaas upgrade` again.",
  ],
  offline: () => [
    "npm's setting offline=true keeps it from the registry",
    "Upgrade with `waiaas upgrade --from <tarball>`, or run `npm config delete offline`.",
  ],
  settings: (subject) => [
    subject ?? "npm's own settings do not allow it",
    "Correct the setting that npm names, in your npmrc or in the environment (`npm config edit`), then run `waiaas upgrade` again.",
  ],
  "foreign-settings": (subject) => [
    `npm would act as root on what another user can change: ${subject ?? "its settings or its cache"}`,
    "Run it with root's own home, as in `sudo -H waiaas upgrade --data-dir ~/.waiaas`; where npm_config_userconfig or npm_config_cache is set, name files of root's in it.",
  ],
  integrity: () => [
    "what was downloaded is not what the registry signed for; nothing of it was installed",
    "Run `npm cache verify`, then `waiaas upgrade` again; if it fails again, install nothing and report it.",
  ],
  "no-space": () => ["there is no space left", "Free some space, then run `waiaas upgrade` again."],
  "script-blocked": () => [
    "npm blocked an install script",
    "Report this: a release needs no install script.",
  ],
  timeout: () => [
    "npm did not end in time and was ended",
    "Run `waiaas upgrade` again; `npm ping` says whether the registry answers.",
  ],
  "unexpected-output": () => [
    "npm answered something that is no release document",
    `npm view ${PACKAGE_NAME}`,
  ],
  other: () => ["npm failed", "Read npm's last lines above, then run `waiaas upgrade` again."],
}
