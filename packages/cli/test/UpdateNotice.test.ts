/** A release that npm's settings may hold back is not announced as one that an upgrade surely gets. */
import { writeFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { Probation } from "@waiaas/services/Probation"
import { DataDir } from "@waiaas/services/platform/DataDir"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerInstallation } from "../../../test/support/layers.mts"
import { noticeText } from "../../../test/support/notice.mts"
import { setKeys } from "../../../test/support/sqlite.mts"
import { showStatus } from "../src/commands/Status.ts"
import { Output } from "../src/Output.ts"

it.scopedLive("notice and status name npm's age limit where one is recorded, and what says more", () =>
  Effect.gen(function* () {
    const { databasePath } = yield* (yield* ConfigFile).load
    const { paths } = yield* DataDir
    const control = yield* DaemonControl
    const health = {
      status: "ok",
      version: "2.0.0",
      latestVersion: "2.1.0",
      updateAvailable: true,
      schemaVersion: 4,
      uptime: 1,
      timestamp: 1,
    } as never
    const facts = { pid: 1, version: "2.0.0", hostname: "127.0.0.1", port: 3100, startedAt: 1 } as never
    const state = Effect.succeed({ _tag: "Running", facts, health: Option.some(health) } as const)
    const status = Effect.gen(function* () {
      const lines: Array<string> = []
      const result = (_value: unknown, said: ReadonlyArray<string>) =>
        Effect.sync(() => void lines.push(...said))
      yield* showStatus.pipe(
        Effect.provideService(DaemonControl, { ...control, state }),
        Effect.provideService(Output, {
          mode: "human",
          columns: undefined,
          result,
          verbatim: result,
          note: () => Effect.void,
          event: () => Effect.void,
        }),
      )
      return lines.join("\n")
    })
    const said = (ageLimit: string | null) =>
      Effect.gen(function* () {
        const registry = "http://registry.test/"
        writeFileSync(paths.registry, JSON.stringify({ registry, ageLimit }), { mode: 0o600 })
        setKeys(databasePath, { latest_version: "2.1.0", version_notified_at: "0" })
        return [yield* noticeText(), yield* status] as const
      })
    const words = /npm's min-release-age=7 may hold it back: .*waiaas upgrade .*--check/
    for (const text of yield* said("min-release-age=7")) assert.match(text, words)
    for (const text of yield* said(null)) {
      assert.include(text, "2.1.0")
      assert.notInclude(text, "hold it back")
    }
  }).pipe(Effect.provide(Probation.layer.pipe(Layer.provideMerge(layerInstallation())))),
)
