import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { BackgroundWorkers } from "@waiaas/daemon/BackgroundWorkers"
import { HeldGate } from "@waiaas/daemon/HeldGate"
import { makeVersion } from "@waiaas/domain/Version"
import { KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
import { respondTags, TestHttp } from "@waiaas/services/testing/TestHttp"
import { layerVersionCheck } from "@waiaas/services/testing/TestVersionCheck"
import { VersionCheck } from "@waiaas/services/VersionCheck"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { dataDirectory, eventually, repeatUntil } from "../support/daemon.mts"
import { countingRegistry, databaseOf, installedMachine } from "../support/scoped.mts"
import { keysIn } from "../support/sqlite.mts"

it.effect(
  "layers: the check asks for the small document once, stores the answer, and comes back in 24 h",
  () =>
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
    const latest = yield* eventually("latest_version", () => keysIn(daemon.database).latest_version)
    assert.equal(latest, "2.1.0")
    assert.equal(daemon.http.requests.length, 1)
  }),
)

it.scopedLive("real: waiaas start asks the registry that npm uses, and stores latest_version", () =>
  Effect.gen(function* () {
    const registry = yield* countingRegistry({ latest: "2.1.0" })
    const machine = yield* installedMachine({ registryUrl: registry.url })
    const latest = yield* eventually("latest_version", () => keysIn(databaseOf(machine)).latest_version)
    assert.equal(latest, "2.1.0")
    assert.deepEqual(
      registry.requests.map(({ method, path }) => `${method} ${path}`),
      ["GET /-/package/@waiaas%2fcli/dist-tags"],
    )
  }),
)
