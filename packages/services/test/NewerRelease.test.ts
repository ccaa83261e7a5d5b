/** Which release an operator is told to install over data that is newer than the code. */
import { assert, describe, it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { newerReleaseFor } from "@waiaas/services/NewerRelease"
import { Environment } from "@waiaas/services/platform/Environment"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerInstalled } from "./simulated.ts"

/** What is named for schema 5, where 2.0.0 with schema 4 is installed. */
const named = Effect.gen(function* () {
  const { databasePath } = yield* (yield* ConfigFile).load
  return Option.getOrNull(yield* newerReleaseFor(databasePath, 5))
})
const checkFound = (latest: string) =>
  Effect.gen(function* () {
    const { databasePath } = yield* (yield* ConfigFile).load
    const database = new Sqlite(databasePath)
    database.prepare("INSERT OR REPLACE INTO key_value_store VALUES ('latest_version', ?, 1)").run(latest)
    database.close()
  })
const backUp = (from: string, to?: string) =>
  Effect.gen(function* () {
    const { databasePath: database } = yield* (yield* ConfigFile).load
    const { packageDir } = yield* Environment
    yield* (yield* Backup).create({
      kind: to === undefined ? "manual" : "pre-upgrade",
      source: "closed",
      database,
      from: makeVersion(from),
      ...(to === undefined ? {} : { to: makeVersion(to) }),
      packageDir,
    })
  })

describe("the release that understands newer data", () => {
  it.scopedLive("is the newest that a check found, and never the installed one or an older", () =>
    Effect.gen(function* () {
      assert.isNull(yield* named)
      for (const [latest, expected] of [
        ["2.0.0", null],
        ["1.9.0", null],
        ["nonsense", null],
        ["2.3.0", "2.3.0"],
      ] as const) {
        yield* checkFound(latest)
        assert.strictEqual<string | null>(yield* named, expected)
      }
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("is rather the one that is known to have migrated it: its backup says so", () =>
    Effect.gen(function* () {
      yield* checkFound("2.3.0")
      yield* backUp("1.9.0", "2.0.0")
      yield* backUp("1.9.0")
      assert.strictEqual(yield* named, "2.3.0")
      yield* backUp("2.0.0", "2.1.0")
      assert.strictEqual(yield* named, "2.1.0")
    }).pipe(Effect.provide(layerInstalled())),
  )
})
