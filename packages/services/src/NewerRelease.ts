import type { FileFailed } from "@waiaas/domain/DataErrors"
import { isNewer, isVersion, type Version } from "@waiaas/domain/Version"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Backup } from "./Backup.ts"
import { versionKeys } from "./KeyValueStore.ts"
import { Environment } from "./platform/Environment.ts"
import { readStoredValues } from "./StoredValues.ts"

/**
 * A release that understands a database whose schema this code does not know. No table in this code can name
 * it: the newer code left its version in the backups that it made, and the newest release in the database.
 */
export const newerReleaseFor = (
  path: string,
  schema: number,
): Effect.Effect<Option.Option<Version>, FileFailed, Backup | Environment> =>
  Effect.gen(function* () {
    const { version } = yield* Environment
    const backups = (yield* (yield* Backup).list).toReversed()
    const seen = backups.flatMap(({ manifest }) =>
      manifest === null ? [] : [manifest.schema >= schema ? manifest.from : manifest.to],
    )
    const values = yield* readStoredValues(path).pipe(Effect.orElseSucceed(() => new Map<string, string>()))
    return Option.fromNullable(
      [...seen, values.get(versionKeys.latest)].filter(isVersion).find((each) => isNewer(each, version)),
    )
  })
