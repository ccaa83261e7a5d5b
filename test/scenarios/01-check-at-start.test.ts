import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { BackgroundWorkers } from "@waiaas/daemon/BackgroundWorkers"
import { HeldGate } from "@waiaas/daemon/HeldGate"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import { KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
import { respondTags, TestHttp } from "@waiaas/services/testing/TestHttp"
import { layerVersionCheck } from "@waiaas/services/testing/TestVersionCheck"
import { VersionCheck } from "@waiaas/services/VersionCheck"
import * as Option from "effect/Option"
import { dataDirectory, eventually, repeatUntil } from "../support/daemon.mts"
import { countingRegistry, installedMachine, keysOf, query } from "../support/scoped.mts"

it.effect("layers: the check asks for the small document once, stores the answer, and comes back in 24 h", () =>
  Effect.gen(function* () {
    const { check } = yield* VersionCheck
    const store = yield* KeyValueStore
    const { requests } = yield* TestHttp
    const workers = yield* BackgroundWorkers
    yield* workers.register("version check", "24 hours", check, { runImmediately: true })
    yield* repeatUntil(Effect.map(store.get(versionKeys.latest), Option.isSome))
    assert.deepEqual(yield* store.get(versionKeys.latest), Option.some("2.1.0"))
    assert.deepEqual(
      requests.map(({ method, url }) => `${method} ${url}`),
      ["GET http://registry.test/-/package/@waiaas%2fcli/dist-tags"],
    )
    yield* TestClock.adjust("21 hours")
    assert.equal(requests.length, 1)
    yield* TestClock.adjust("6 hours")
    yield* repeatUntil(Effect.sync(() => requests.length > 1))
    assert.equal(requests.length, 2)
  }).pipe(
    Effect.provide(BackgroundWorkers.layer.pipe(Layer.provide(HeldGate.layer("open")))),
    Effect.provide(layerVersionCheck(respondTags({ latest: "2.1.0" }), makeVersion("2.0.0"))),
  ),
)

it.scopedLive("layers: the daemon's start asks the registry and stores latest_version", () =>
  Effect.gen(function* () {
    const daemon = yield* dataDirectory()
    yield* daemon.start
    const rows = yield* eventually("latest_version", () => {
      const found = query<{ value: string }>(
        daemon.database,
        "SELECT value FROM key_value_store WHERE key = 'latest_version'",
      )
      return found.length > 0 && found
    })
    assert.deepEqual(rows, [{ value: "2.1.0" }])
    assert.equal(daemon.http.requests.length, 1)
  }),
)

it.scopedLive("real: waiaas start asks the registry that npm uses, and stores latest_version", () =>
  Effect.gen(function* () {
    const registry = yield* countingRegistry({ latest: "2.1.0" })
    const machine = yield* installedMachine({ registryUrl: registry.url })
    yield* eventually("latest_version", () => keysOf(machine).latest_version)
    assert.equal(keysOf(machine).latest_version, "2.1.0")
    assert.deepEqual(
      registry.requests.map(({ method, path }) => `${method} ${path}`),
      ["GET /-/package/@waiaas%2fcli/dist-tags"],
    )
  }),
)
