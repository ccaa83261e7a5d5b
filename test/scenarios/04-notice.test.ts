import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import * as Effect from "effect/Effect"
import { layerInstallation } from "../support/layers.mts"
import { noticeText } from "../support/notice.mts"
import { databaseOf, installedMachine } from "../support/scoped.mts"
import { setKeys } from "../support/sqlite.mts"

it.effect("layers: a newer version in the store is announced in a box; the same or an older one is not", () =>
  Effect.gen(function* () {
    const { databasePath } = yield* (yield* ConfigFile).load
    assert.equal(yield* noticeText(), "", "nothing is known yet")
    for (const latest of ["2.0.0", "1.9.0", "2.1.0-rc.1", "no version"]) {
      setKeys(databasePath, { latest_version: latest })
      assert.equal(yield* noticeText(), "", latest)
    }
    setKeys(databasePath, { latest_version: "2.1.0" })
    const box = yield* noticeText()
    assert.match(box, /\| Update available: 2\.0\.0 -> 2\.1\.0 +\|/)
    assert.match(box, /\| Run: waiaas upgrade( --data-dir \S+)? +\|/)
  }).pipe(Effect.provide(layerInstallation())),
)

it.scopedLive("real: after a command, on stderr and never on stdout, with the command's own exit code", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine({ daemon: { update_check: false } })
    setKeys(databaseOf(machine), { latest_version: "2.1.0" })
    const told = yield* Effect.promise(() => machine.waiaas(["backup", "list"]))
    assert.equal(told.code, 0)
    assert.match(told.stderr, /Update available: 2\.0\.0 -> 2\.1\.0/)
    assert.match(told.stderr, /Run: waiaas upgrade/)
    assert.doesNotMatch(told.stdout, /Update available/)
  }),
)
