import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { healthBody, layerHealth } from "../support/layers.mts"
import { installedMachine } from "../support/scoped.mts"

it.effect("layers: before any check latestVersion is null and updateAvailable is false", () =>
  Effect.gen(function* () {
    const { status, body } = yield* healthBody
    assert.equal(status, 200)
    assert.deepEqual([body.latestVersion, body.updateAvailable], [null, false])
    // It is the lack of a check that says so, not a constant.
    yield* Effect.flatMap(KeyValueStore, (store) => store.set(versionKeys.latest, "2.1.0"))
    yield* TestClock.adjust("2 seconds")
    assert.deepEqual((yield* healthBody).body.latestVersion, "2.1.0")
  }).pipe(Effect.provide(layerHealth({ version: "2.0.0" }))),
)

it.scopedLive("real: a daemon that has not checked says null and false", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine({ daemon: { update_check: false } })
    const answer = yield* Effect.promise(() => machine.api("GET", "/health"))
    assert.equal(answer.status, 200)
    const health = answer.json<Record<string, unknown>>()
    assert.deepEqual([health.latestVersion, health.updateAvailable], [null, false])
  }),
)
