import { strict as assert } from "node:assert"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
import type { Respond } from "@waiaas/services/testing/TestHttp"
import { layerVersionCheck } from "@waiaas/services/testing/TestVersionCheck"
import { VersionCheck } from "@waiaas/services/VersionCheck"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { dataDirectory, eventually } from "../support/daemon.mts"
import { countingRegistry, databaseOf, installedMachine } from "../support/scoped.mts"
import { keysIn } from "../support/sqlite.mts"

const unavailable: Respond = () => Effect.succeed({ status: 503, body: "{}" })
/** Keys that a check leaves which brought an answer. */
const foundBy = (keys: Readonly<Record<string, string>>) =>
  Object.keys(keys).filter((key) => (Object.values(versionKeys) as Array<string>).includes(key))
/** A line of the log about the registry, with its level. */
const complaint = (log: string) => {
  const line = log.split("\n").find((each) => each.includes("registry") && each.includes("503"))
  return line === undefined ? undefined : (JSON.parse(line) as { level: string; message: string })
}

it.effect("layers: a 503 is a typed failure that names the registry, and stores nothing", () =>
  Effect.gen(function* () {
    const failure = yield* Effect.flip((yield* VersionCheck).check)
    assert.equal(failure._tag, "RegistryFailed")
    assert.match(failure.message, /http:\/\/registry\.test .*503/)
    const store = yield* KeyValueStore
    for (const key of Object.values(versionKeys)) assert.deepEqual(yield* store.get(key), Option.none(), key)
  }).pipe(Effect.provide(layerVersionCheck(unavailable, makeVersion("2.0.0")))),
)

it.scopedLive("layers: the daemon starts, warns, and has no latest_version", () =>
  Effect.gen(function* () {
    const daemon = yield* dataDirectory({ respond: unavailable })
    yield* daemon.start
    yield* eventually("the check", () => daemon.http.requests.length > 0)
    const log = yield* daemon.log.pipe(Effect.repeat({ until: (text) => complaint(text) !== undefined }))
    assert.equal(complaint(log)?.level, "WARN")
    assert.equal((yield* daemon.health).status, 200)
    assert.deepEqual(foundBy(keysIn(daemon.database)), [])
  }),
)

it.scopedLive("real: the daemon starts as ever, warns, and has no latest_version", () =>
  Effect.gen(function* () {
    const registry = yield* countingRegistry()
    registry.behaviour = { kind: "status", status: 503 }
    const machine = yield* installedMachine({ registryUrl: registry.url })
    const log = join(machine.dataDir, "logs/daemon.log")
    const warning = yield* eventually("a warning", () => complaint(readFileSync(log, "utf8")))
    assert.equal(warning.level, "WARN")
    assert.ok(warning.message.includes(registry.url), warning.message)
    const health = yield* Effect.promise(() => machine.api("GET", "/health"))
    assert.equal(health.status, 200)
    assert.equal(health.json<{ status: string }>().status, "ok")
    assert.deepEqual(foundBy(keysIn(databaseOf(machine))), [])
    const status = yield* Effect.promise(() => machine.mustWaiaas(["status"]))
    assert.match(status.stdout, /^version check: failed at .*, none has succeeded yet\. .*503/m)
    assert.equal(registry.count, 1)
  }),
)
