import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import * as Effect from "effect/Effect"
import { layerInstallation } from "../support/layers.mts"
import { noticeText } from "../support/notice.mts"
import { databaseOf, installedMachine } from "../support/scoped.mts"
import { keysIn, setKeys } from "../support/sqlite.mts"

const known = Effect.gen(function* () {
  const { databasePath } = yield* (yield* ConfigFile).load
  setKeys(databasePath, { latest_version: "2.1.0" })
  return databasePath
})

it.effect("layers: --quiet silences it, and does not count as announced", () =>
  Effect.gen(function* () {
    const databasePath = yield* known
    assert.equal(yield* noticeText("quiet"), "")
    assert.equal(keysIn(databasePath).version_notified_at, undefined)
    assert.match(yield* noticeText(), /Update available/)
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("layers: WAIAAS_NO_UPDATE_NOTIFY=1 silences it", () =>
  Effect.gen(function* () {
    yield* known
    assert.equal(yield* noticeText(), "")
  }).pipe(Effect.provide(layerInstallation({ variables: { WAIAAS_NO_UPDATE_NOTIFY: "1" } }))),
)

it.scopedLive(
  "real: --quiet, -q and WAIAAS_NO_UPDATE_NOTIFY=1 silence it; without them it is announced",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false })
      setKeys(databaseOf(machine), { latest_version: "2.1.0" })
      yield* Effect.promise(async () => {
        for (const [args, env] of [
          [["--quiet", "status"], {}],
          [["status", "--quiet"], {}],
          [["status", "-q"], {}],
          [["status"], { WAIAAS_NO_UPDATE_NOTIFY: "1" }],
        ] as const) {
          const { stderr } = await machine.mustWaiaas(args, { env: { ...env } })
          assert.equal(stderr, "", args.join(" "))
        }
        const { stderr } = await machine.mustWaiaas(["status"])
        assert.match(stderr, /Update available/)
      })
    }),
)
