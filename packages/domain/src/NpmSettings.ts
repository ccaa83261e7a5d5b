/**
 * npm's own settings (`npm help 7 config`), each of them once: what an upgrade makes of it. A setting may come from
 * any `npmrc` or from an `npm_config_*` variable, so that one that changes what npm answers or does is given on
 * every call, obeyed on purpose, or refused by name.
 */
import * as Schema from "effect/Schema"

/** Which npm calls a value is given on: the questions (`config`, `view`), the staging of a candidate, or all of them. */
export type NpmUse = "all" | "question" | "staging"

export interface OverriddenSetting {
  /** One value, or several of a list. What depends on the install is filled in by the caller. */
  readonly value: string | ReadonlyArray<string>
  readonly use: NpmUse
  readonly why: string
}

const always = (value: string, why: string): OverriddenSetting => ({ value, use: "all", why })
const asked = (value: string, why: string): OverriddenSetting => ({ value, use: "question", why })
const staged = (value: string | ReadonlyArray<string>, why: string): OverriddenSetting => ({
  value,
  use: "staging",
  why,
})

const noScript = "no script of a package is run"
const layout = "the package has to lie where the swap finds it"
const noProject = "an upgrade is no act on a project"
const patience = "a question has an end; a download may take its time"
const fresh = "an answer of yesterday is not the newest release"

/** Given on the command line of every npm that knows it, which wins over every `npmrc` and variable. */
export const overriddenSettings: Readonly<Record<string, OverriddenSetting>> = {
  global: always("true", "the package is a global one, and a project's .npmrc has no say"),
  location: always("global", "another name of global"),
  globalconfig: always("<prefix>/etc/npmrc", "that of the install, also where npm is set to another prefix"),
  json: always("true", "answers and failures are read as JSON"),
  loglevel: always("error", "what npm writes besides is for a failure's message"),
  audit: always("false", "nothing is sent that is not needed"),
  fund: always("false", "the answer is the answer alone"),
  "update-notifier": always("false", "as above"),
  color: always("false", "as above"),
  progress: always("false", "as above"),
  timing: always("false", "nothing else is written"),
  usage: always("false", "npm is to act, not to explain itself"),
  workspaces: always("false", noProject),
  "include-workspace-root": always("false", noProject),
  "ignore-extension": always("true", "no code of a directory is run that npm is started in"),
  "dry-run": always("false", "what npm says it did, it did"),
  force: always("false", "npm's own guards stay on"),
  "include-staged": always("false", "a release that is not published yet is none"),
  "prefer-online": always("true", fresh),
  "prefer-offline": always("false", fresh),
  "cache-min": always("0", fresh),
  "fetch-retries": asked("1", patience),
  "fetch-retry-mintimeout": asked("500", patience),
  "fetch-retry-maxtimeout": asked("1000", patience),
  "fetch-timeout": asked("20000", patience),
  prefix: staged("<staging>", "a candidate is staged next to the install, never in it"),
  "ignore-scripts": staged("true", "a release needs no install script"),
  "strict-allow-scripts": staged("false", noScript),
  "dangerously-allow-all-scripts": staged("false", noScript),
  "package-lock-only": staged("false", "a lock file is no package"),
  "install-strategy": staged("hoisted", layout),
  "bin-links": staged("true", "npm makes the command executable with it"),
  "install-links": staged("false", layout),
  include: staged(["prod", "optional", "peer"], "nothing of a release is left out"),
  umask: staged("022", "the daemon's user has to read what root installs"),
  "engine-strict": staged("false", "the release's own range of Node versions is checked before"),
  "strict-peer-deps": staged("false", "a release brings what it needs"),
  "legacy-peer-deps": staged("false", "a release brings what it needs"),
  "prefer-dedupe": staged("false", layout),
  "allow-file": staged("all", "the operator named the tarball"),
  os: staged("<this system>", "the package runs here"),
  cpu: staged("<this processor>", "the package runs here"),
}

const connection = "how the registry is reached"
const credential = "who you are at the registry; never in a command line or a log"

/** The operator's word, which npm carries out and `--check` knows. */
export const obeyedSettings: Readonly<Record<string, string>> = {
  registry: "where releases come from; the daemon asks the same one",
  "@waiaas:registry": "the scope's own registry, before `registry`; the daemon asks the same one",
  scope: "its registry is npm's next choice, before `registry`; the daemon asks the same one",
  before: "a release that is younger is not taken; `--check` takes the newest that is not",
  "min-release-age": "as `before`, in days; `--check` names the day",
  "min-release-age-exclude": "packages that the two above do not hold back",
  "replace-registry-host": connection,
  cache: "has to be writable: a failure names it; under sudo it has to be root's alone",
  "logs-dir": "where npm logs",
  "logs-max": "where npm logs",
  userconfig: "where npm's settings are; under sudo it has to be root's alone",
  ca: `${connection}; for the daemon's own check: NODE_EXTRA_CA_CERTS`,
  cafile: `${connection}; for the daemon's own check: NODE_EXTRA_CA_CERTS`,
  cert: connection,
  key: connection,
  "strict-ssl": connection,
  proxy: `${connection}; for the daemon's own check: NODE_USE_ENV_PROXY and HTTPS_PROXY`,
  "https-proxy": `${connection}; for the daemon's own check: NODE_USE_ENV_PROXY and HTTPS_PROXY`,
  noproxy: connection,
  "local-address": connection,
  maxsockets: connection,
  "fetch-retry-factor": connection,
  "user-agent": connection,
  _auth: credential,
  "//<registry>/:_authToken": `${credential}; for the daemon's own check: \`[daemon] update_registry_token_file\``,
  "strict-npmrc": "an unknown key is npm's refusal, which is shown",
}

/** What cannot be overridden and would make the answer false: the run ends with its name. */
export const refusedSettings: Readonly<Record<string, string>> = {
  offline: "a registry that npm may not ask has no newest release: `waiaas upgrade --from FILE` needs none",
  workspace: "npm refuses a global act with it, and no flag takes it back",
}

/** What changes nothing of what an upgrade asks of npm, by the reason why. */
export const irrelevantSettings: Readonly<Record<string, ReadonlyArray<string>>> = {
  "other commands of npm":
    `access all allow-same-version allow-scripts-pending allow-scripts-pin audit-level auth-type
    browser bypass-2fa call cidr commit-hooks depth description diff diff-dst-prefix diff-ignore-all-space diff-name-only
    diff-no-prefix diff-src-prefix diff-text diff-unified edit-dir editor expect-result-count expect-results expires
    git-tag-version global-ignore-file if-present ignore-existing include-attestations init-author-email init-author-name
    init-author-url init-license init-module init-private init-type init-version init.author.email init.author.name
    init.author.url init.license init.module init.version keep-edit-dir message name orgs orgs-permission otp
    pack-destination package packages packages-all packages-and-scopes-permission password preid provenance
    provenance-file read-only sbom-format sbom-type scopes searchexclude searchlimit searchopts searchstaleness shell
    sign-git-commit sign-git-tag tag-version-prefix to token-description version versions viewer which yes`.split(
      /\s+/,
    ),
  "what is written on a terminal": ["heading", "long", "parseable", "unicode"],
  "a project's files; a global act has none":
    `format-package-lock link lockfile-version omit-lockfile-registry-resolved package-lock patches-dir
    allow-unused-patches ignore-patch-failures extension-file save save-bundle save-dev save-exact save-optional
    save-peer save-prefix save-prod shrinkwrap workspaces-update`.split(/\s+/),
  "another name of a setting above": [
    "also",
    "cache-max",
    "dev",
    "global-style",
    "legacy-bundling",
    "omit",
    "only",
    "optional",
    "production",
  ],
  "scripts, of which none is run": [
    "allow-scripts",
    "foreground-scripts",
    "node-gyp",
    "node-options",
    "rebuild-bundle",
    "script-shell",
  ],
  "a release names its version and brings its dependencies": [
    "allow-directory",
    "allow-git",
    "allow-remote",
    "git",
    "libc",
    "tag",
  ],
}

/** What `npm config list --json` says: the settings in force, secrets left out by npm itself. */
export const NpmSettings = Schema.Record({ key: Schema.String, value: Schema.Unknown })
export type NpmSettings = typeof NpmSettings.Type

/** Known to every npm that can be met, and given whatever it says it knows. */
const essential = ["global", "globalconfig", "json", "loglevel", "dry-run", "prefix", "ignore-scripts"]

/**
 * The overridden settings as flags, for an npm that knows `known`: npm 12 refuses a flag that it does not know.
 * `given` fills in what depends on the install.
 */
export const flagsFor = (
  use: Exclude<NpmUse, "all">,
  known: NpmSettings,
  given: Readonly<Record<string, string>>,
): ReadonlyArray<string> =>
  Object.entries(overriddenSettings).flatMap(([key, setting]) => {
    if (!essential.includes(key) && !Object.hasOwn(known, key)) return []
    if (setting.use !== "all" && setting.use !== use) return []
    const value = given[key] ?? setting.value
    return (typeof value === "string" ? [value] : value).map((each) => `--${key}=${each}`)
  })

const text = (settings: NpmSettings, key: string): string | undefined => {
  const value = settings[key]
  return typeof value === "string" && value !== "" ? value : undefined
}

/** The registry that npm asks for a package, by npm's own order; without credentials. `null`: it is no http(s) address. */
export const registryFor = (settings: NpmSettings, packageName: string): string | null => {
  const atSign = (scope: string) => (scope.startsWith("@") ? scope : `@${scope}`)
  const [own = ""] = packageName.split("/")
  const other = text(settings, "scope")
  const address =
    text(settings, `${own}:registry`) ??
    (other === undefined ? undefined : text(settings, `${atSign(other)}:registry`)) ??
    text(settings, "registry")
  if (address === undefined || !URL.canParse(address)) return null
  const url = new URL(address)
  if (url.protocol !== "https:" && url.protocol !== "http:") return null
  url.username = ""
  url.password = ""
  return url.href
}

/** `minimatch` as far as a package name can need it. */
const matches = (name: string, pattern: string): boolean =>
  new RegExp(
    `^${pattern.replace(/[.+^$(){}|[\]\\]/g, "\\$&").replace(/\*\*?|\?/g, (wild) => (wild === "**" ? ".*" : wild === "*" ? "[^/]*" : "[^/]"))}$`,
  ).test(name)

/** What keeps npm from a young release: no release after `limit` is installed. */
export interface AgeLimit {
  /** Unix milliseconds. */
  readonly limit: number
  /** As an operator would write it. */
  readonly setting: string
  /** When a release that was published then may be installed, unix milliseconds; `null`: never, while it is set. */
  readonly allowedAt: (published: number) => number | null
}

const DAY = 86_400_000

/** The age limit for a package; `null` where there is none. Where `before` and `min-release-age` are both set: the stricter. */
export const ageLimitFor = (settings: NpmSettings, packageName: string, now: number): AgeLimit | null => {
  const listed = settings["min-release-age-exclude"]
  const excluded = (Array.isArray(listed) ? listed : [])
    .flatMap((each) => String(each).split(","))
    .map((each) => each.trim())
  if (excluded.some((pattern) => pattern === packageName || matches(packageName, pattern))) return null
  const limits: Array<AgeLimit> = []
  const before = Date.parse(text(settings, "before") ?? "")
  if (Number.isFinite(before))
    limits.push({
      limit: before,
      setting: `before=${new Date(before).toISOString().slice(0, 10)}`,
      allowedAt: () => null,
    })
  // An npm that does not know the setting passes the text on, and does nothing with it.
  const days = settings["min-release-age"]
  if (typeof days === "number" && days > 0)
    limits.push({
      limit: now - days * DAY,
      setting: `min-release-age=${days}`,
      allowedAt: (published) => published + days * DAY,
    })
  return limits.sort((a, b) => a.limit - b.limit)[0] ?? null
}
