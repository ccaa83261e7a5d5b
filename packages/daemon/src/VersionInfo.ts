import type { VersionStatus } from "@waiaas/domain/DaemonApi"
import type { DatabaseFailed } from "@waiaas/domain/DataErrors"
import { isUpdate, isVersion, type Version } from "@waiaas/domain/Version"
import { KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
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
    /** Records that the operator has been told of a version. */
    readonly notified: (version: Version) => Effect.Effect<void, DatabaseFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const store = yield* KeyValueStore
      const environment = yield* Environment
      return {
        status: Effect.gen(function* () {
          const latest = Option.filter(yield* store.get(versionKeys.latest), isVersion)
          const checkedAt = Option.filter(yield* store.get(versionKeys.checkedAt), (text) =>
            /^\d{1,15}$/.test(text),
          )
          return {
            version: environment.version,
            latestVersion: Option.getOrNull(latest),
            updateAvailable: Option.exists(latest, (version) => isUpdate(version, environment.version)),
            checkedAt: Option.getOrNull(Option.map(checkedAt, Number)),
          }
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
