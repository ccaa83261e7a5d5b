import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { addressOf } from "@waiaas/domain/Health"
import type { Version } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type CheckReport, type CheckSettings, checkReportOf, checkSettings } from "./CheckReport.ts"
import { ConfigFile } from "./ConfigFile.ts"
import { DaemonControl } from "./DaemonControl.ts"
import { versionKeys } from "./KeyValueStore.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment, unixSeconds } from "./platform/Environment.ts"
import { ExclusiveLock } from "./platform/ExclusiveLock.ts"
import { readStoredValues, withTable } from "./StoredValues.ts"
import { readToken } from "./TokenFile.ts"
import { UpgradeJournal } from "./UpgradeJournal.ts"

/** Seconds between two notices of the same version. */
const INTERVAL = 86400

export interface Notice {
  readonly installed: Version
  readonly latest: Version
  /** What is known is not from the last check, which failed. */
  readonly check: Pick<CheckReport, "checkedAt" | "failure">
  /** The setting of npm that may keep an upgrade from it; `null`: none is known. */
  readonly ageLimit: string | null
}

/** Whether there is something to announce, from what the key-value store says. Pure. */
export const noticeFor = (
  values: ReadonlyMap<string, string>,
  installed: Version,
  now: number,
  settings: CheckSettings = { checking: true, registry: null, ageLimit: null },
): Option.Option<Notice> => {
  const {
    latestVersion: latest,
    updateAvailable,
    checkedAt,
    failure,
    ageLimit,
  } = checkReportOf(values, settings, installed)
  if (latest === null || !updateAvailable) return Option.none()
  const at = Number(values.get(versionKeys.notifiedAt) ?? Number.NaN)
  const announced = values.get(versionKeys.notified)
  // Without a record of which version was announced the time alone decides.
  const same = announced === undefined || announced === latest
  // A time that lies ahead is a clock that went back: it must not silence for ever.
  const recent = Number.isFinite(at) && at <= now && now - at < INTERVAL
  return same && recent
    ? Option.none()
    : Option.some({ installed, latest: latest as Version, check: { checkedAt, failure }, ageLimit })
}

/**
 * Announces a new version after a command, from the key-value store alone: no network, and the daemon
 * may be down. The store is only read here; the note that it was announced is made by the daemon,
 * or under the data lock when it does not run. Nothing that fails in here reaches the command.
 */
export class UpdateNotifier extends Context.Tag("@waiaas/services/UpdateNotifier")<
  UpdateNotifier,
  {
    readonly pending: Effect.Effect<Option.Option<Notice>>
    /** What the daemon's check last found; none during a run, whose database it is, and where it cannot be read. */
    readonly report: Effect.Effect<Option.Option<CheckReport>>
    /** Records that a notice was shown. */
    readonly shown: (notice: Notice) => Effect.Effect<void>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const dataDir = yield* DataDir
      const { paths } = dataDir
      const config = yield* ConfigFile
      const control = yield* DaemonControl
      const journal = yield* UpgradeJournal
      const files = yield* DurableFile
      const lock = yield* ExclusiveLock
      const context = yield* Effect.context<DataDir | DurableFile>()
      const client = yield* HttpClient.HttpClient
      const environment = yield* Environment
      const settings = checkSettings.pipe(
        Effect.provideService(ConfigFile, config),
        Effect.provideService(DataDir, dataDir),
        Effect.provideService(DurableFile, files),
      )
      const now = unixSeconds.pipe(Effect.provideService(Environment, environment))

      const noRun = Effect.map(journal.latest, (run) => Option.isNone(run) || run.value.ended !== null)

      const throughDaemon = (notice: Notice) =>
        Effect.gen(function* () {
          const state = yield* control.state
          // The token is for the daemon alone, not for whoever has its port.
          if (state._tag !== "Running" || Option.isNone(state.health)) return
          const { hostname, port } = state.facts
          const token = yield* Effect.provide(readToken, context)
          yield* client.execute(
            HttpClientRequest.post(`${addressOf(hostname, port)}/v1/version/notified`).pipe(
              HttpClientRequest.bearerToken(token),
              HttpClientRequest.bodyUnsafeJson({ version: notice.latest }),
            ),
          )
        }).pipe(Effect.timeout("300 millis"))

      const underLock = (path: string, notice: Notice) =>
        Effect.scoped(
          Effect.gen(function* () {
            yield* lock.acquire({ lock: "data", path: paths.dataLock, what: "update notice" })
            const at = yield* now
            yield* withTable(
              path,
              "key_value_store",
              { readonly: false, otherwise: undefined },
              (database) => {
                const set = database.prepare(
                  "INSERT INTO key_value_store (key, value, updated_at) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
                )
                set.run(versionKeys.notified, notice.latest, at)
                set.run(versionKeys.notifiedAt, String(at), at)
                return undefined
              },
            )
          }),
        )

      const values = Effect.gen(function* () {
        const { databasePath } = yield* config.load
        // During a run the database belongs to the run.
        if (!(yield* files.exists(databasePath)) || !(yield* noRun)) return Option.none()
        return Option.some(yield* readStoredValues(databasePath))
      })

      return {
        pending: Effect.gen(function* () {
          const known = yield* values
          return Option.isNone(known)
            ? Option.none()
            : noticeFor(known.value, environment.version, yield* now, yield* settings)
        }).pipe(Effect.orElseSucceed(() => Option.none())),
        report: Effect.gen(function* () {
          const how = yield* settings
          return Option.map(yield* values, (known) => checkReportOf(known, how, environment.version))
        }).pipe(Effect.orElseSucceed(() => Option.none())),
        shown: (notice) =>
          Effect.gen(function* () {
            const { databasePath } = yield* config.load
            if (yield* lock.isHeld(paths.dataLock)) yield* throughDaemon(notice)
            else yield* underLock(databasePath, notice)
          }).pipe(
            // Not written down it is shown once more: that is all that can come of it.
            Effect.catchAll((error) => Effect.logDebug("the update notice was not recorded", error)),
          ),
      }
    }),
  )
}
