import type { ConfigInvalid, DatabaseFailed, FileFailed } from "@waiaas/domain/DataErrors"
import { PACKAGE_NAME } from "@waiaas/domain/Release"
import { channelOf, compare, isUpdate, isVersion, type Version } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { ConfigFile } from "./ConfigFile.ts"
import { KeyValueStore, versionKeys } from "./KeyValueStore.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile, readJsonIfValid } from "./platform/DurableFile.ts"
import { Environment, unixSeconds } from "./platform/Environment.ts"
import { Registry, type RegistryFailed } from "./platform/Registry.ts"

/** `registry.json`: the registry that npm was seen to use, so that check and install agree. */
export const RecordedRegistry = Schema.Struct({ registry: Schema.String })

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

/** Asks the registry for the newest version and stores the answer. Fails soft: callers log, nothing waits for it. */
export class VersionCheck extends Context.Tag("@waiaas/services/VersionCheck")<
  VersionCheck,
  {
    /** The newest version, now stored as `latest_version`. A failure stores nothing. */
    readonly check: Effect.Effect<
      { readonly latest: Version; readonly isUpdate: boolean },
      NoRegistry | RegistryFailed | DatabaseFailed | FileFailed | ConfigInvalid
    >
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const registry = yield* Registry
      const store = yield* KeyValueStore
      const config = yield* ConfigFile
      const files = yield* DurableFile
      const environment = yield* Environment
      const { paths } = yield* DataDir
      const installed = environment.version

      return {
        check: Effect.gen(function* () {
          const { config: effective } = yield* config.load
          const recorded = yield* readJsonIfValid(RecordedRegistry, paths.registry).pipe(
            Effect.provideService(DurableFile, files),
          )
          const address = effective.daemon.update_registry ?? Option.getOrUndefined(recorded)?.registry
          if (address === undefined) return yield* new NoRegistry()
          const known = Option.filter(yield* store.get(versionKeys.latest), isVersion)
          // Without a stored version "unchanged" would say nothing.
          const etag = Option.isSome(known) ? yield* store.get(versionKeys.etag) : Option.none()
          const answer = yield* registry.distTags(address, PACKAGE_NAME, etag)
          const newest = answer._tag === "Unchanged" ? known : newestOf(answer.tags, installed)
          const latest = Option.getOrElse(newest, () => installed)
          const at = yield* unixSeconds.pipe(Effect.provideService(Environment, environment))
          yield* store.set(versionKeys.latest, latest)
          yield* store.set(versionKeys.checkedAt, String(at))
          if (answer._tag === "Tags" && Option.isSome(answer.etag))
            yield* store.set(versionKeys.etag, answer.etag.value)
          return { latest, isUpdate: isUpdate(latest, installed) }
        }).pipe(Effect.withSpan("VersionCheck.check")),
      }
    }),
  )
}
