import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { healthBody, layerHealth } from "../support/layers.mts"
import { until } from "../support/net.mts"
import { countingRegistry, installedMachine } from "../support/scoped.mts"

it.effect("layers: the answer has what the check stored and the schema that the database says", () =>
  Effect.gen(function* () {
    const store = yield* KeyValueStore
    yield* store.set(versionKeys.latest, "2.1.0")
    assert.deepEqual(yield* healthBody, {
      status: 200,
      body: {
        status: "ok",
        version: "2.0.0",
        latestVersion: "2.1.0",
        updateAvailable: true,
        schemaVersion: 4,
        uptime: 0,
        timestamp: 0,
      },
    })
    yield* store.set(versionKeys.latest, "2.0.0")
    yield* TestClock.adjust("90 seconds")
    const { body } = yield* healthBody
    assert.deepEqual(
      [body.latestVersion, body.updateAvailable, body.uptime, body.timestamp],
      ["2.0.0", false, 90, 90],
    )
  }).pipe(Effect.provide(layerHealth({ version: "2.0.0", schema: 4 }))),
)

it.scopedLive("real: GET /health has version, latestVersion, updateAvailable and schemaVersion", () =>
  Effect.gen(function* () {
    const registry = yield* countingRegistry({ latest: "2.1.0" })
    const machine = yield* installedMachine({ registryUrl: registry.url })
    const health = yield* Effect.promise(() =>
      until("the check is reported", async () => {
        const body = (await machine.api("GET", "/health")).json<Record<string, unknown>>()
        return body.latestVersion !== null && body
      }),
    )
    assert.deepEqual(
      { ...health, uptime: 0, timestamp: 0 },
      {
        status: "ok",
        version: "2.0.0",
        latestVersion: "2.1.0",
        updateAvailable: true,
        schemaVersion: 4,
        uptime: 0,
        timestamp: 0,
      },
    )
    assert.ok(Math.abs(Number(health.timestamp) - Date.now() / 1000) < 10)
  }),
)
