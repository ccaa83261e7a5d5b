import { createHash } from "node:crypto"
import { isAbsolute, join } from "node:path"
import { Config, configKeys, environmentName } from "@waiaas/domain/Config"
import { ConfigInvalid, type FileFailed } from "@waiaas/domain/DataErrors"
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

export interface EffectiveConfig {
  readonly config: Config
  /** Absolute. */
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
            const config = yield* decodeConfig(source, text, variables)
            const absolute = (path: string) => (isAbsolute(path) ? path : join(paths.root, path))
            return {
              config,
              databasePath: absolute(config.database.path),
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

type Table = Record<string, unknown>
const isTable = (value: unknown): value is Table =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date)

/** Pure part: a TOML text and an environment to a configuration, or the first thing that is wrong. */
export const decodeConfig = (
  file: string,
  text: string,
  variables: Readonly<Record<string, string | undefined>>,
): Effect.Effect<Config, ConfigInvalid> =>
  Effect.gen(function* () {
    const invalid = (source: string, key: string, value: unknown, allowed: string) =>
      new ConfigInvalid({
        source,
        key,
        value: typeof value === "string" ? JSON.stringify(value) : String(value),
        allowed,
      })

    const parsed = yield* Effect.try({
      try: () => Toml.parse(text) as Table,
      catch: (cause) =>
        invalid(file, "(syntax)", cause instanceof Error ? cause.message.split("\n")[0] : cause, "TOML"),
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
        )
      for (const [key, value] of Object.entries(table))
        if (!keys.includes(key)) return yield* invalid(file, `${section}.${key}`, value, keys.join(", "))
      merged[section] = { ...table }
    }
    const known = new Map(
      Object.entries(configKeys).flatMap(([section, keys]) =>
        keys.map((key) => [environmentName(section, key), [section, key] as const] as const),
      ),
    )
    const prefixes = Object.keys(configKeys).map((section) => environmentName(section, ""))
    for (const [name, value] of Object.entries(variables)) {
      if (value === undefined || !prefixes.some((prefix) => name.startsWith(prefix))) continue
      const target = known.get(name)
      if (!target) return yield* invalid("environment", name, value, [...known.keys()].join(", "))
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
