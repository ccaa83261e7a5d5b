/** The API's token is for the daemon of the data directory alone: whoever else has its port never sees it. */
import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { INSTANCE_HEADER } from "@waiaas/domain/DaemonFacts"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonClient } from "@waiaas/services/DaemonClient"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { type Answer, json, TestHttp } from "@waiaas/services/testing/TestHttp"
import { UpdateNotifier } from "@waiaas/services/UpdateNotifier"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { layerInstallation } from "../support/layers.mts"
import { setKeys } from "../support/sqlite.mts"

const health = {
  status: "ok",
  version: "2.0.0",
  latestVersion: null,
  updateAvailable: false,
  schemaVersion: 4,
  uptime: 1,
  timestamp: 1,
}

/** What somebody else on the daemon's port may answer to everything. */
const strangers: Readonly<Record<string, Answer>> = {
  "without an instance": json(health),
  "with another daemon's instance": json(health, { [INSTANCE_HEADER]: "f".repeat(32) }),
  "with no health at all": { status: 404, body: "no such page" },
}

const notice = Effect.flatMap(UpdateNotifier, ({ shown }) =>
  shown({
    installed: makeVersion("2.0.0"),
    latest: makeVersion("2.1.0"),
    check: { checkedAt: null, failure: null },
    ageLimit: null,
  }),
)
const list = Effect.flatMap(DaemonClient, ({ call }) => call((api) => api.agents.list()))
const stop = Effect.gen(function* () {
  const control = yield* DaemonControl
  const state = yield* control.state
  assert.ok(state._tag === "Running")
  yield* control.stop(state.facts)
})

for (const [who, answer] of Object.entries(strangers))
  it.scopedLive(`a stranger on the daemon's port, ${who}, is sent no token by any command`, () =>
    Effect.gen(function* () {
      const http = yield* TestHttp
      yield* (yield* SimulatedInstall).startDaemon
      const { databasePath } = yield* (yield* ConfigFile).load
      setKeys(databasePath, { latest_version: "2.1.0" })
      http.respond = () => Effect.succeed(answer)
      yield* notice
      assert.ok(Either.isLeft(yield* Effect.either(list)))
      yield* stop
      assert.ok(http.requests.length > 0)
      assert.deepEqual(
        http.requests.filter(({ headers, url }) => "authorization" in headers || !url.endsWith("/health")),
        [],
      )
    }).pipe(Effect.provide(DaemonClient.layer), Effect.provide(layerInstallation())),
  )

it.scopedLive("the daemon itself is sent the token", () =>
  Effect.gen(function* () {
    const http = yield* TestHttp
    yield* (yield* SimulatedInstall).startDaemon
    const { databasePath } = yield* (yield* ConfigFile).load
    setKeys(databasePath, { latest_version: "2.1.0" })
    yield* notice
    assert.deepEqual(
      http.requests.filter(({ headers }) => "authorization" in headers).map(({ method }) => method),
      ["POST"],
    )
  }).pipe(Effect.provide(layerInstallation())),
)
