/** `config.toml`: its keys, their defaults and limits. Environment names derive from the keys. */
import * as Schema from "effect/Schema"
import { editsBetween, nearest } from "./Nearest.ts"

export const LogLevel = Schema.Literal("debug", "info", "warning", "error")

/** An error says what is allowed, be it another type or a value out of range that is wrong. */
const allowed = (message: string) => ({ message: () => ({ message, override: true }) })
const whole = (minimum: number, maximum: number, message: string) =>
  Schema.Int.pipe(Schema.between(minimum, maximum)).annotations(allowed(message))
const seconds = (minimum: number, maximum: number) =>
  whole(minimum, maximum, `a whole number of seconds, ${minimum}..${maximum}`)

const path = Schema.NonEmptyString.annotations(allowed("a path"))

const isRegistry = (text: string): boolean => {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  return (url.protocol === "https:" || url.protocol === "http:") && url.username === "" && url.password === ""
}

export const DaemonConfig = Schema.Struct({
  port: Schema.optionalWith(whole(1, 65535, "a port, 1..65535"), { default: () => 3100 }),
  /** The address to listen on. Loopback unless the operator says otherwise. */
  hostname: Schema.optionalWith(
    Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9:.-]+$/, allowed("a host name or an IP address"))),
    { default: () => "127.0.0.1" },
  ),
  log_level: Schema.optionalWith(LogLevel.annotations(allowed(`one of ${LogLevel.literals.join(", ")}`)), {
    default: () => "info" as const,
  }),
  /** Relative paths are below the data directory. */
  log_file: Schema.optionalWith(path, { default: () => "logs/daemon.log" }),
  /** Seconds that a stop may take before the daemon ends itself. */
  shutdown_timeout: Schema.optionalWith(seconds(5, 300), { default: () => 30 }),
  update_check: Schema.optionalWith(Schema.Boolean.annotations(allowed("true or false")), {
    default: () => true,
  }),
  update_check_interval: Schema.optionalWith(seconds(3600, 604800), { default: () => 86400 }),
  /** Registry of the daemon's own check; recorded from npm where it is not set. */
  update_registry: Schema.optional(
    Schema.String.pipe(
      Schema.filter(isRegistry, allowed("an http(s) address without a user name or password")),
    ),
  ),
  /** A file with the token that the registry wants of the daemon's own check, private as the API's is. */
  update_registry_token_file: Schema.optional(path),
})

export const DatabaseConfig = Schema.Struct({
  /** Relative paths are below the data directory. */
  path: Schema.optionalWith(path, { default: () => "data/waiaas.db" }),
})

export const Config = Schema.Struct({
  daemon: Schema.optionalWith(DaemonConfig, { default: () => DaemonConfig.make({}) }),
  database: Schema.optionalWith(DatabaseConfig, { default: () => DatabaseConfig.make({}) }),
})
export type Config = typeof Config.Type

/** The keys of each section: the one list behind unknown-key errors and environment names. */
export const configKeys = {
  daemon: Object.keys(DaemonConfig.fields),
  database: Object.keys(DatabaseConfig.fields),
} as const

/** `WAIAAS_DAEMON_LOG_LEVEL` for `daemon`, `log_level`. */
export const environmentName = (section: string, key: string): string =>
  `WAIAAS_${section}_${key}`.toUpperCase()

/** Names outside the section scheme, which configuration must not claim. */
export const reservedEnvironment = [
  "WAIAAS_DATA_DIR",
  "WAIAAS_NO_UPDATE_NOTIFY",
  "WAIAAS_MASTER_PASSWORD",
  "WAIAAS_MASTER_PASSWORD_FILE",
] as const

/** What Kubernetes sets for a Service that is called waiaas: nobody's configuration. */
export const isServiceName = (name: string): boolean =>
  /_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/.test(name) ||
  name === "WAIAAS_PORT"

const knownEnvironment = (): ReadonlySet<string> => {
  const known = new Set<string>(reservedEnvironment)
  for (const [section, keys] of Object.entries(configKeys))
    for (const key of keys) known.add(environmentName(section, key))
  return known
}

/** Variables that look like ours and are none: a mistyped one is not obeyed, and its operator should know. */
export const unknownEnvironment = (
  variables: Readonly<Record<string, string | undefined>>,
): ReadonlyArray<string> => {
  const known = knownEnvironment()
  return Object.keys(variables)
    .filter((name) => name.startsWith("WAIAAS_") && !known.has(name) && !isServiceName(name))
    .sort()
}

/** As many letters as a slip of the hand gets wrong. */
const FEW = 2

/**
 * Whether a variable was meant to be the master password and is not: it would be ignored without a word, and the keys
 * sealed under a key file. Only names that begin like ours: other programs have passwords, too.
 */
export const isMistypedPassword = (name: string): boolean => {
  if (reservedEnvironment.some((each) => each === name) || isServiceName(name)) return false
  if (name.startsWith("WAIAAS_MASTER_")) return true
  const [first = ""] = name.split("_", 1)
  // WAITRESS_PASSWORD is another program's.
  const isLikeOurs = /^WAI[A-Z]+$/i.test(first) && editsBetween(first.toUpperCase(), "WAIAAS") <= FEW
  return isLikeOurs && /PASS|PWD|SECRET/i.test(name.slice(4))
}

/** Those of them that are ignored; the others keep every command that needs the configuration from its work. */
export const ignoredEnvironment = (
  variables: Readonly<Record<string, string | undefined>>,
): ReadonlyArray<string> => {
  const sections = Object.keys(configKeys).map((section) => environmentName(section, ""))
  return unknownEnvironment(variables).filter(
    (name) => !isMistypedPassword(name) && !sections.some((prefix) => name.startsWith(prefix)),
  )
}

/** A variable that is not obeyed, with the one that was probably meant. */
export const strayInWords = (name: string): string => {
  const meant = nearest(
    name.toLowerCase(),
    [...knownEnvironment()].map((each) => each.toLowerCase()),
  )
  return `${name} is set in the environment, but is no setting of WAIaaS: it is ignored${
    meant === undefined ? "" : ` (did you mean ${meant.toUpperCase()}?)`
  }`
}

/** Whether a variable that is not obeyed differs from one that is by few letters. */
export const isNearMiss = (name: string): boolean =>
  [...knownEnvironment()].some((known) => editsBetween(name.toUpperCase(), known) <= FEW)

/** What `waiaas init` writes: every key with its default, commented out. */
export const initialConfigToml = `# WAIaaS configuration. Every key is optional; what is commented out is the default.
# Order: defaults < this file < environment (WAIAAS_<SECTION>_<KEY>, such as WAIAAS_DAEMON_PORT).

[daemon]
# port = 3100
# hostname = "127.0.0.1"
# log_level = "info"               # debug, info, warning, error
# log_file = "logs/daemon.log"
# shutdown_timeout = 30            # seconds, 5..300
# update_check = true
# update_check_interval = 86400    # seconds, 3600..604800
# update_registry = ""             # default: the registry that npm uses
# update_registry_token_file = ""  # a file (mode 0600) with the token that this registry wants

[database]
# path = "data/waiaas.db"
`
