import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { layerInstallation } from "../support/layers.mts"
import { noticeText } from "../support/notice.mts"
import { databaseOf, installedMachine } from "../support/scoped.mts"
import { keysIn, setKeys } from "../support/sqlite.mts"

const told = /Update available/

it.effect("layers: once in 24 h, and at once for a newer version than the one announced", () =>
  Effect.gen(function* () {
    yield* TestClock.setTime(1_770_000_000_000)
    const { databasePath } = yield* (yield* ConfigFile).load
    setKeys(databasePath, { latest_version: "2.1.0" })
    assert.match(yield* noticeText(), told)
    assert.equal(keysIn(databasePath).version_notified_at, "1770000000")
    assert.equal(keysIn(databasePath).version_notified, "2.1.0")
    yield* TestClock.adjust("23 hours")
    assert.equal(yield* noticeText(), "")
    yield* TestClock.adjust("61 minutes")
    assert.match(yield* noticeText(), told)
    assert.equal(yield* noticeText(), "")
    setKeys(databasePath, { latest_version: "2.1.1" })
    assert.match(yield* noticeText(), /2\.0\.0 -> 2\.1\.1/)
    assert.equal(yield* noticeText(), "")
  }).pipe(Effect.provide(layerInstallation())),
)

it.scopedLive("real: the second command within 24 h says nothing; it is announced again after them", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine({ daemon: { update_check: false } })
    const database = databaseOf(machine)
    setKeys(database, { latest_version: "2.1.0" })
    yield* Effect.promise(async () => {
      const { stderr: first } = await machine.mustWaiaas(["status"])
      assert.match(first, told)
      const now = Date.now() / 1000
      assert.ok(Math.abs(Number(keysIn(database).version_notified_at) - now) < 10)
      const { stderr: second } = await machine.mustWaiaas(["status"])
      assert.doesNotMatch(second, told)
      setKeys(database, { version_notified_at: String(Math.floor(now) - 86_401) })
      const { stderr: nextDay } = await machine.mustWaiaas(["status"])
      assert.match(nextDay, told)
    })
  }),
)
