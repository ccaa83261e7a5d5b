import type { VersionStatus } from "@waiaas/domain/DaemonApi"
import type { DatabaseFailed } from "@waiaas/domain/DataErrors"
import type { Version } from "@waiaas/domain/Version"
import { checkReportOf, checkSettings } from "@waiaas/services/CheckReport"
import type { ConfigFile } from "@waiaas/services/ConfigFile"
import { failedCheckKeys, KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
import type { DataDir } from "@waiaas/services/platform/DataDir"
import type { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment, unixSeconds } from "@waiaas/services/platform/Environment"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

/** What the key-value store knows of versions. A value that is none reads as "not known", never as an error. */
export class VersionInfo extends Context.Tag("@waiaas/daemon/VersionInfo")<
  VersionInfo,
  {
    readonly status: Effect.Effect<typeof VersionStatus.Type, DatabaseFailed>
    /** Records that a version was announced to the operator. */
    readonly notified: (version: Version) => Effect.Effect<void, DatabaseFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const store = yield* KeyValueStore
      const environment = yield* Environment
      const context = yield* Effect.context<ConfigFile | DataDir | DurableFile>()
      // A configuration that was damaged since the start keeps nobody from what is known.
      const settings = checkSettings.pipe(
        Effect.provide(context),
        Effect.orElseSucceed(() => ({ checking: true, registry: null, ageLimit: null })),
      )
      return {
        status: Effect.gen(function* () {
          const values = new Map<string, string>()
          for (const key of [...Object.values(versionKeys), ...Object.values(failedCheckKeys)]) {
            const value = yield* store.get(key)
            if (Option.isSome(value)) values.set(key, value.value)
          }
          return checkReportOf(values, yield* settings, environment.version)
        }).pipe(Effect.withSpan("VersionInfo.status")),
        notified: Effect.fn("VersionInfo.notified")(function* (version: Version) {
          const at = yield* unixSeconds.pipe(Effect.provideService(Environment, environment))
          yield* store.set(versionKeys.notified, version)
          yield* store.set(versionKeys.notifiedAt, String(at))
        }),
      }
    }),
  )
}
