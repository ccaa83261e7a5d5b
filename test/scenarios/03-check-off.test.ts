import { strict as assert } from "node:assert"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { dataDirectory } from "../support/daemon.mts"
import { request } from "../support/net.mts"
import { countingRegistry, databaseOf, installedMachine } from "../support/scoped.mts"
import { keysIn } from "../support/sqlite.mts"

const off = { update_check: false }

it.scopedLive("layers: with update_check = false the daemon asks nothing until it is asked to", () =>
  Effect.gen(function* () {
    const daemon = yield* dataDirectory({ daemon: off })
    yield* daemon.start
    assert.deepEqual(daemon.http.requests, [])
    // The way to the registry is there: it was not asked because nobody wanted it.
    const token = readFileSync(join(daemon.root, "api.token"), "utf8").trim()
    const checked = yield* Effect.promise(() =>
      request(`${daemon.url}/v1/version/check`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
      }),
    )
    assert.equal(checked.json<{ latestVersion: string }>().latestVersion, "2.1.0")
    assert.equal(daemon.http.requests.length, 1)
  }),
)

it.scopedLive("real: with update_check = false the registry sees 0 requests", () =>
  Effect.gen(function* () {
    const registry = yield* countingRegistry({ latest: "2.1.0" })
    const machine = yield* installedMachine({ registryUrl: registry.url, daemon: off })
    yield* Effect.promise(async () => {
      assert.equal((await machine.api("GET", "/health")).status, 200)
      await machine.mustWaiaas(["status"])
      assert.equal(registry.count, 0)
      assert.deepEqual(
        Object.keys(keysIn(databaseOf(machine))).filter((key) => key.includes("version_")),
        [],
      )
      assert.match((await machine.mustWaiaas(["status"])).stdout, /^version check: off/m)
      assert.equal((await machine.api("POST", "/v1/version/check")).status, 200)
      assert.equal(registry.count, 1)
    })
  }),
)
