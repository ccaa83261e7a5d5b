import { createHash } from "node:crypto"
import { isAbsolute, join } from "node:path"
import {
  Config,
  configKeys,
  environmentName,
  isMistypedPassword,
  isServiceName,
  strayInWords,
  unknownEnvironment,
} from "@waiaas/domain/Config"
import { ConfigInvalid, type FileFailed } from "@waiaas/domain/DataErrors"
import { nearest } from "@waiaas/domain/Nearest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Toml from "smol-toml"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { realPlace } from "./platform/RealPlace.ts"

export interface EffectiveConfig {
  readonly config: Config
  /** Absolute, and the file itself where the operator made the path a link. */
  readonly databasePath: string
  /** Absolute. */
  readonly logFile: string
  /** sha256 of the effective values: two processes that agree on it run with the same configuration. */
  readonly digest: string
}

/** The effective configuration: defaults < `config.toml` < `WAIAAS_<SECTION>_<KEY>`. */
export class ConfigFile extends Context.Tag("@waiaas/services/ConfigFile")<
  ConfigFile,
  { readonly load: Effect.Effect<EffectiveConfig, ConfigInvalid | FileFailed> }
>() {
  /** `file` in the place of the data directory's own. */
  static readonly layerOf = (file?: string) =>
    Layer.effect(
      ConfigFile,
      Effect.gen(function* () {
        const files = yield* DurableFile
        const { paths } = yield* DataDir
        const { variables } = yield* Environment
        const source = file ?? paths.config
        return {
          load: Effect.gen(function* () {
            const text = Option.getOrElse(yield* files.readTextIfThere(source), () => "")
            // Some editors begin a file with a mark that is no part of its text.
            const config = yield* decodeConfig(source, text.replace(/^\uFEFF/, ""), variables)
            const absolute = (path: string) => (isAbsolute(path) ? path : join(paths.root, path))
            return {
              config,
              databasePath: yield* realPlace(files, absolute(config.database.path)),
              logFile: absolute(config.daemon.log_file),
              // On use: few ask for it, and the first hash of a process loads all of node:crypto.
              get digest() {
                return createHash("sha256").update(JSON.stringify(config)).digest("hex")
              },
            }
          }),
        }
      }),
    )

  static readonly layer = this.layerOf()
}

/** Says which variables of the environment look like ours and are not obeyed. */
export const warnOfUnknownVariables = Effect.flatMap(Environment, ({ variables }) =>
  Effect.forEach(unknownEnvironment(variables), (name) => Effect.logWarning(strayInWords(name)), {
    discard: true,
  }),
)

type Table = Record<string, unknown>
const isTable = (value: unknown): value is Table =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date)

type Explained = { readonly problem?: string; readonly remedy?: string }

/** What is unknown, what was probably meant, and what there is. */
const unknown = (
  what: string,
  name: string,
  known: ReadonlyArray<string>,
  open = "",
  close = "",
): Explained => {
  const meant = known.find(
    (each) =>
      each.toLowerCase() ===
      nearest(
        name,
        known.map((one) => one.toLowerCase()),
      ),
  )
  const hint = meant === undefined ? "" : `, did you mean ${open}${meant}${close}?`
  return { problem: `unknown ${what}${hint} (there is ${known.join(", ")})` }
}

/** Kubernetes describes each Service of a namespace in variables that begin with the Service's name. */
const isServiceLink = (name: string, value: string): boolean =>
  /^(tcp|udp|sctp):\/\//.test(value) ||
  /_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$/.test(name)

const serviceLink = (name: string, value: string): Explained => ({
  problem: `${name} = ${JSON.stringify(value)} comes from Kubernetes, which describes a Service in it, and is no setting`,
  remedy:
    "Set `enableServiceLinks: false` in the pod's spec, or give the Service another name, then run the command again.",
})

/** Line and reason of a file that is no TOML, as the parser says them. */
const syntaxOf = (cause: unknown): { readonly line: number; readonly reason: string } => {
  const { line = 1, message = String(cause) } = cause as { readonly line?: number; readonly message?: string }
  return { line, reason: (message.split("\n")[0] ?? "").replace(/^Invalid TOML document: /, "") }
}

/** Pure part: a TOML text and an environment to a configuration, or the first thing that is wrong. */
export const decodeConfig = (
  file: string,
  text: string,
  variables: Readonly<Record<string, string | undefined>>,
): Effect.Effect<Config, ConfigInvalid> =>
  Effect.gen(function* () {
    const invalid = (source: string, key: string, value: unknown, allowed: string, more: Explained = {}) =>
      new ConfigInvalid({
        source,
        key,
        value: typeof value === "string" ? JSON.stringify(value) : String(value),
        allowed,
        ...more,
      })

    const parsed = yield* Effect.try({
      try: () => Toml.parse(text) as Table,
      catch: (cause) => {
        const { line, reason } = syntaxOf(cause)
        const written = text.split("\n")[line - 1]?.trim() ?? ""
        return invalid(file, `line ${line}`, written, "TOML", {
          problem: `line ${line} is not TOML (${reason}): ${written}`,
        })
      },
    })
    const merged: Record<string, Table> = {}
    const sourceOf = new Map<string, string>()
    for (const [section, table] of Object.entries(parsed)) {
      const keys = (configKeys as Record<string, ReadonlyArray<string>>)[section]
      if (!keys || !isTable(table))
        return yield* invalid(
          file,
          section,
          isTable(table) ? "{...}" : table,
          `sections ${Object.keys(configKeys).join(", ")}`,
          isTable(table) ? unknown(`section [${section}]`, section, Object.keys(configKeys), "[", "]") : {},
        )
      for (const [key, value] of Object.entries(table))
        if (!keys.includes(key))
          return yield* invalid(
            file,
            `${section}.${key}`,
            value,
            keys.join(", "),
            unknown(`key ${section}.${key}`, key, keys),
          )
      merged[section] = { ...table }
    }
    const known = new Map(
      Object.entries(configKeys).flatMap(([section, keys]) =>
        keys.map((key) => [environmentName(section, key), [section, key] as const] as const),
      ),
    )
    for (const [name, value] of Object.entries(variables)) {
      if (value === undefined || isServiceName(name)) continue
      if (isMistypedPassword(name))
        // Never its value: it is a password under another name.
        return yield* new ConfigInvalid({
          source: "environment",
          key: name,
          value: "(not shown)",
          allowed: "WAIAAS_MASTER_PASSWORD or WAIAAS_MASTER_PASSWORD_FILE",
        })
    }
    const prefixes = Object.keys(configKeys).map((section) => environmentName(section, ""))
    for (const [name, value] of Object.entries(variables)) {
      if (value === undefined || !prefixes.some((prefix) => name.startsWith(prefix))) continue
      const target = known.get(name)
      if (isServiceLink(name, value))
        return yield* invalid(
          "environment",
          name,
          value,
          "no address of Kubernetes",
          serviceLink(name, value),
        )
      if (!target)
        return yield* invalid(
          "environment",
          name,
          value,
          [...known.keys()].join(", "),
          unknown(`variable ${name}`, name.toLowerCase(), [...known.keys()]),
        )
      const [section, key] = target
      sourceOf.set(`${section}.${key}`, name)
      merged[section] = { ...merged[section], [key]: fromEnvironment(section, key, value) }
    }
    const result = Schema.decodeUnknownEither(Config)(merged, { errors: "first" })
    if (Either.isRight(result)) return result.right
    const [issue] = ParseResult.ArrayFormatter.formatErrorSync(result.left)
    const path = (issue?.path ?? []).filter((part) => typeof part === "string")
    const key = path.slice(0, 2).join(".")
    const name = sourceOf.get(key)
    const value = merged[path[0] ?? ""]?.[path[1] ?? ""]
    return yield* invalid(
      name ? "environment" : file,
      name ?? key,
      name ? variables[name] : value,
      issue?.message ?? "see the operator guide",
    )
  })

/** An environment value has no type of its own: it takes the one that its key's default has. */
const fromEnvironment = (section: string, key: string, value: string): unknown => {
  const defaults = Schema.decodeUnknownSync(Config)({}) as unknown as Record<string, Table>
  const sample = defaults[section]?.[key]
  if (typeof sample === "number") return /^\d+$/.test(value) ? Number(value) : value
  if (typeof sample === "boolean") return value === "true" ? true : value === "false" ? false : value
  return value
}
