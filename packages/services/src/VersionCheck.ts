import { isAbsolute, join } from "node:path"
import { ConfigInvalid, type DatabaseFailed, type FileFailed } from "@waiaas/domain/DataErrors"
import { redactText } from "@waiaas/domain/Redact"
import { PACKAGE_NAME } from "@waiaas/domain/Release"
import { channelOf, compare, isUpdate, isVersion, type Version } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { checkSettings } from "./CheckReport.ts"
import { ConfigFile } from "./ConfigFile.ts"
import { failedCheckKeys, KeyValueStore, versionKeys } from "./KeyValueStore.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment, unixSeconds } from "./platform/Environment.ts"
import { Registry, type RegistryFailed } from "./platform/Registry.ts"

export class NoRegistry extends Schema.TaggedError<NoRegistry>()("NoRegistry", {}) {
  override get message() {
    return "It is not known which registry npm uses, so new versions are not looked for. Set [daemon] update_registry, or run waiaas init again."
  }
}

/** The newest version of the channel that is followed. */
export const newestOf = (
  tags: Readonly<Record<string, string>>,
  installed: Version,
): Option.Option<Version> => {
  const candidates = [tags.latest, tags[channelOf(installed)]].filter(isVersion)
  return Option.fromNullable(candidates.sort(compare).at(-1))
}

type CheckFailed = NoRegistry | RegistryFailed | DatabaseFailed | FileFailed | ConfigInvalid

/** Asks the registry for the newest version and stores the answer. Fails soft: callers log, nothing waits for it. */
export class VersionCheck extends Context.Tag("@waiaas/services/VersionCheck")<
  VersionCheck,
  {
    /** The newest version, now stored as `latest_version`. A failure stores itself, and nothing else. */
    readonly check: Effect.Effect<{ readonly latest: Version; readonly isUpdate: boolean }, CheckFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const registry = yield* Registry
      const store = yield* KeyValueStore
      const environment = yield* Environment
      const context = yield* Effect.context<ConfigFile | DataDir | DurableFile>()
      const installed = environment.version
      const now = unixSeconds.pipe(Effect.provideService(Environment, environment))

      /** The registry's token, from a file that nobody else may read. */
      const readToken = Effect.gen(function* () {
        const { config } = yield* (yield* ConfigFile).load
        const { paths } = yield* DataDir
        const files = yield* DurableFile
        const named = config.daemon.update_registry_token_file
        if (named === undefined) return Option.none<string>()
        const path = isAbsolute(named) ? named : join(paths.root, named)
        const refused = (allowed: string) =>
          new ConfigInvalid({
            source: paths.config,
            key: "daemon.update_registry_token_file",
            value: path,
            allowed,
          })
        const info = yield* files.stat(path)
        if (info.type !== "File" || (info.mode & 0o077) !== 0)
          return yield* refused("a file that its owner alone may read: chmod 600")
        const owner = Option.getOrNull(info.uid)
        if (owner !== null && environment.uid !== null && ![0, environment.uid].includes(owner))
          return yield* refused("a file of the daemon's own user")
        const token = (yield* files.readText(path)).trim()
        if (!/^[\x21-\x7e]{1,4096}$/.test(token)) return yield* refused("a file with one token")
        return Option.some(token)
      })

      const ask = Effect.gen(function* () {
        const { registry: address } = yield* checkSettings
        if (address === null) return yield* new NoRegistry()
        const token = yield* readToken
        // Another registry's answer and its ETag say nothing of this one's.
        const source = yield* store.get(versionKeys.registry)
        const isSame = Option.match(source, { onNone: () => true, onSome: (each) => each === address })
        const stored = Option.filter(yield* store.get(versionKeys.latest), isVersion)
        const known = isSame ? stored : Option.none<Version>()
        // Without a stored version "unchanged" would say nothing.
        const etag = Option.isSome(known) ? yield* store.get(versionKeys.etag) : Option.none<string>()
        const answer = yield* registry.distTags(address, PACKAGE_NAME, { etag, token })
        const newest = answer._tag === "Unchanged" ? known : newestOf(answer.tags, installed)
        const latest = Option.getOrElse(newest, () => installed)
        yield* store.set(versionKeys.latest, latest)
        yield* store.set(versionKeys.checkedAt, String(yield* now))
        yield* store.set(versionKeys.registry, address)
        if (answer._tag === "Tags")
          yield* Option.match(answer.etag, {
            onNone: () => store.remove(versionKeys.etag),
            onSome: (value) => store.set(versionKeys.etag, value),
          })
        for (const key of Object.values(failedCheckKeys)) yield* store.remove(key)
        return { latest, isUpdate: isUpdate(latest, installed) }
      }).pipe(Effect.provide(context))

      const remember = (error: CheckFailed) =>
        Effect.gen(function* () {
          const at = String(yield* now)
          yield* store.set(failedCheckKeys.problem, redactText(error.message))
          yield* store.set(failedCheckKeys.at, at)
          if (Option.isNone(yield* store.get(failedCheckKeys.since)))
            yield* store.set(failedCheckKeys.since, at)
        }).pipe(
          // The check's own failure is the one to report.
          Effect.catchAll((error) => Effect.logWarning("The failed version check was not recorded", error)),
        )

      return { check: ask.pipe(Effect.tapError(remember), Effect.withSpan("VersionCheck.check")) }
    }),
  )
}
