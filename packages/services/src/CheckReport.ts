/** What the daemon's check for new versions last found, from the key-value store: the same for the daemon and for commands. */
import type { VersionStatus } from "@waiaas/domain/DaemonApi"
import type { ConfigInvalid, FileFailed } from "@waiaas/domain/DataErrors"
import { oneLine } from "@waiaas/domain/Printable"
import { isUpdate, isVersion, type Version } from "@waiaas/domain/Version"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { ConfigFile } from "./ConfigFile.ts"
import { failedCheckKeys, versionKeys } from "./KeyValueStore.ts"
import { DataDir } from "./platform/DataDir.ts"
import { type DurableFile, readJsonIfValid } from "./platform/DurableFile.ts"

/** `registry.json`: the registry that npm was seen to use, so that check and install agree. */
export const RecordedRegistry = Schema.Struct({
  registry: Schema.String,
  /** npm's setting that keeps young releases from being installed, such as `min-release-age=7`; `null`: none is in force. */
  ageLimit: Schema.optional(Schema.NullOr(Schema.String)),
  /** A digest of where npm has its settings from: while it is the same, npm need not be asked again. */
  seen: Schema.optional(Schema.String),
})

export interface CheckSettings {
  readonly checking: boolean
  /** `null`: not known. */
  readonly registry: string | null
  /** The setting of npm that may hold a release back, as it was recorded; `null`: none is known. */
  readonly ageLimit: string | null
}

/** Whether the daemon looks for new versions, and where: `update_registry`, else what was recorded from npm. */
export const checkSettings: Effect.Effect<
  CheckSettings,
  ConfigInvalid | FileFailed,
  ConfigFile | DataDir | DurableFile
> = Effect.gen(function* () {
  const { daemon } = (yield* (yield* ConfigFile).load).config
  const { paths } = yield* DataDir
  const recorded = yield* readJsonIfValid(RecordedRegistry, paths.registry)
  return {
    checking: daemon.update_check,
    // The file is the data owner's, and this text is shown to whoever asks.
    ageLimit: Option.match(
      Option.flatMapNullable(recorded, (known) => known.ageLimit),
      {
        onNone: () => null,
        onSome: (text) => oneLine(text),
      },
    ),
    registry: daemon.update_registry ?? Option.getOrUndefined(recorded)?.registry ?? null,
  }
})

/** What the API says of it, and what only concerns whoever installs. */
export type CheckReport = typeof VersionStatus.Type & Pick<CheckSettings, "ageLimit">

/** That npm may not give a release yet; the daemon knows no dates, so whether it does is for `--check` to say. */
export const heldBackText = (ageLimit: string, check: string): string =>
  `npm's ${ageLimit} may hold it back: ${check}`

const seconds = (text: string | undefined): number | null =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null

/** A stored value that is none reads as "not known", and so does the answer of a registry that is not asked any more. */
export const checkReportOf = (
  values: ReadonlyMap<string, string>,
  { checking, registry, ageLimit }: CheckSettings,
  installed: Version,
): CheckReport => {
  const source = values.get(versionKeys.registry)
  const isOurs = source === undefined || registry === null || source === registry
  const found = values.get(versionKeys.latest)
  const latest = isOurs && isVersion(found) ? found : null
  const at = seconds(values.get(failedCheckKeys.at))
  return {
    version: installed,
    latestVersion: latest,
    updateAvailable: latest !== null && isUpdate(latest, installed),
    checking,
    registry,
    ageLimit,
    checkedAt: isOurs ? seconds(values.get(versionKeys.checkedAt)) : null,
    failure:
      at === null
        ? null
        : {
            at,
            since: seconds(values.get(failedCheckKeys.since)) ?? at,
            problem: values.get(failedCheckKeys.problem) ?? "unknown",
          },
  }
}
