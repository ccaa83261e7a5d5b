/** Every way in which a registry answers the version check, over real HTTP. */
import { strict as assert } from "node:assert"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
import { layerVersionCheckOver } from "@waiaas/services/testing/TestVersionCheck"
import { VersionCheck } from "@waiaas/services/VersionCheck"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Behaviour, CountingRegistry } from "../support/counting-registry.mts"
import { countingRegistry } from "../support/scoped.mts"

/** The check of a 2.0.0 against a registry of the test. */
const checked = <A, E>(
  test: (registry: CountingRegistry) => Effect.Effect<A, E, VersionCheck | KeyValueStore>,
) =>
  Effect.gen(function* () {
    const registry = yield* countingRegistry({ latest: "2.1.0" })
    const toml = `[daemon]\nupdate_registry = "${registry.url}"\n`
    return yield* test(registry).pipe(
      Effect.provide(layerVersionCheckOver(FetchHttpClient.layer, makeVersion("2.0.0"), toml)),
    )
  })

const fails: ReadonlyArray<readonly [name: string, behaviour: Behaviour, problem: RegExp]> = [
  ["a body that is no JSON", { kind: "garbage" }, /its answer names no version/],
  [
    "tags that name no version",
    { kind: "garbage", body: '{"latest":"newest"}' },
    /its answer names no version/,
  ],
  ["JSON of another kind", { kind: "garbage", body: "[]" }, /its answer names no version/],
  ["a redirect that leads to itself", { kind: "redirect-loop" }, /redirect/],
  ["an answer that never comes", { kind: "hang" }, /no answer within 5 s/],
  ["a body that never ends", { kind: "stall" }, /no answer within 5 s/],
  ["a body of 50 MB", { kind: "huge" }, /its answer is larger than 262144 bytes/],
  ["a connection that is cut", { kind: "reset" }, /could not be asked/],
]
for (const [name, behaviour, problem] of fails)
  it.scopedLive(`${name} is a typed failure within 6 s, and stores nothing`, () =>
    checked((registry) =>
      Effect.gen(function* () {
        registry.behaviour = behaviour
        const began = performance.now()
        const failure = yield* Effect.flip((yield* VersionCheck).check)
        assert.ok(performance.now() - began < 6000, `${performance.now() - began} ms`)
        assert.equal(failure._tag, "RegistryFailed")
        assert.match(failure.message, problem)
        assert.ok(failure.message.includes(registry.url), failure.message)
        // A loop of redirects has an end.
        assert.ok(registry.count < 30, String(registry.count))
        const store = yield* KeyValueStore
        for (const key of Object.values(versionKeys))
          assert.deepEqual(yield* store.get(key), Option.none(), key)
      }),
    ),
  )

it.scopedLive("an answer that is known is asked for by its ETag, and 304 is an answer", () =>
  checked((registry) =>
    Effect.gen(function* () {
      const { check } = yield* VersionCheck
      const store = yield* KeyValueStore
      assert.deepEqual(yield* check, { latest: "2.1.0", isUpdate: true })
      assert.equal(registry.requests[0]?.headers["if-none-match"], undefined)
      const etag = Option.getOrThrow(yield* store.get(versionKeys.etag))
      yield* store.set(versionKeys.checkedAt, "1")
      assert.deepEqual(yield* check, { latest: "2.1.0", isUpdate: true })
      assert.equal(registry.requests[1]?.headers["if-none-match"], etag)
      assert.notDeepEqual(yield* store.get(versionKeys.checkedAt), Option.some("1"))
      // Another answer has another one.
      registry.distTags = { latest: "2.1.1" }
      assert.deepEqual(yield* check, { latest: "2.1.1", isUpdate: true })
      assert.notDeepEqual(yield* store.get(versionKeys.etag), Option.some(etag))
      assert.equal(registry.count, 3)
    }),
  ),
)

it.scopedLive("a registry without the document of the dist-tags is asked for the manifest of latest", () =>
  checked((registry) =>
    Effect.gen(function* () {
      registry.hasDistTags = false
      const { check } = yield* VersionCheck
      assert.deepEqual(yield* check, { latest: "2.1.0", isUpdate: true })
      assert.deepEqual(
        registry.requests.map(({ path }) => path),
        ["/-/package/@waiaas%2fcli/dist-tags", "/@waiaas%2fcli/latest"],
      )
      // By its ETag, too.
      assert.deepEqual(yield* check, { latest: "2.1.0", isUpdate: true })
      assert.notEqual(registry.requests[3]?.headers["if-none-match"], undefined)
      // One that knows nothing of the package is a failure.
      registry.distTags = {}
      const failure = yield* Effect.flip(check)
      assert.match(failure.message, /it answered 404/)
    }),
  ),
)
