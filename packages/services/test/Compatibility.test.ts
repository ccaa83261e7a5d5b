import { assert, describe, it } from "@effect/vitest"
import type { ReleaseDocument } from "@waiaas/domain/Release"
import { judge, rangeFor, releaseOfSchema, stopFor } from "@waiaas/domain/SchemaRange"
import { makeVersion } from "@waiaas/domain/Version"
import { Compatibility } from "@waiaas/services/Compatibility"
import * as Effect from "effect/Effect"

const layer = Compatibility.layerOf({ minimum: 3, latest: 5 })
const candidate = (extra: Partial<ReleaseDocument> = {}): ReleaseDocument => ({
  name: "@waiaas/cli",
  version: makeVersion("2.1.0"),
  waiaas: { upgradeProtocol: 1, schema: { minimum: 3, latest: 5 }, stops: [] },
  ...extra,
})
const admit = (release: ReleaseDocument, schema: number | null = 4, installed = "2.0.0") =>
  Effect.flatMap(Compatibility, (compatibility) =>
    compatibility.admitCandidate({
      candidate: release,
      installed: makeVersion(installed),
      schema,
      nodeVersion: "24.1.0",
    }),
  ).pipe(Effect.provide(layer))

describe("code and database", () => {
  it("the matrix: fresh, current, pending, too new, too old", () => {
    const range = { minimum: 3, latest: 5 }
    assert.deepStrictEqual(
      [null, 0, 5, 4, 3, 6, 2].map((schema) => judge(range, schema)._tag),
      ["Fresh", "Fresh", "Current", "NeedsMigration", "NeedsMigration", "DatabaseTooNew", "DatabaseTooOld"],
    )
  })

  it("the last three minors are migrated directly, and a stop can migrate what it is a stop for", () => {
    for (const { schema } of releaseOfSchema) {
      const { minimum } = rangeFor(schema)
      assert.isAtMost(schema - minimum, 2)
      for (let old = 1; old < minimum; old++) {
        const stop = releaseOfSchema.find(({ release }) => release === stopFor(old))
        assert.isDefined(stop)
        assert.isAtMost(rangeFor(stop?.schema ?? 0).minimum, old)
        assert.isAbove(stop?.schema ?? 0, old)
      }
    }
  })

  it.effect("code that is older than the database refuses, and says to upgrade", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.flatMap(Compatibility, ({ admit }) => admit(6)))
      assert.include(error.message, "upgrade your WAIaaS")
      assert.include(error.next, "npm install --global")
    }).pipe(Effect.provide(layer)),
  )

  it.effect("a database below the minimum is refused with the version to go through", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.flatMap(Compatibility, ({ admit }) => admit(2)))
      assert.include(error.message, "1.8.0")
      assert.include(error.next, "@waiaas/cli@1.8.0")
    }).pipe(Effect.provide(layer)),
  )
})

describe("a candidate, from its metadata alone", () => {
  it.effect("is let in where everything fits, up to each limit itself", () =>
    Effect.gen(function* () {
      yield* admit(candidate())
      for (const schema of [null, 3, 5]) yield* admit(candidate(), schema)
      yield* admit(candidate({ engines: { node: ">=24.1.0" } }))
      // Neither the stop that is installed nor the one that it is itself comes in between.
      const stops = ["1.9.0", "2.0.0", "2.1.0", "2.2.0"].map((each) => makeVersion(each))
      yield* admit(candidate({ waiaas: { upgradeProtocol: 1, schema: { minimum: 3, latest: 5 }, stops } }))
    }),
  )

  const block = candidate().waiaas
  if (block === undefined) throw new Error("the sample has a block")
  const cases: ReadonlyArray<readonly [string, ReleaseDocument, number, string]> = [
    [
      "without a compatibility block",
      { name: "@waiaas/cli", version: makeVersion("2.1.0") },
      4,
      "no compatibility block",
    ],
    [
      "with a stop in between",
      candidate({
        version: makeVersion("3.0.0"),
        waiaas: { ...block, stops: ["2.5.0", "2.2.0", "2.10.0"].map((each) => makeVersion(each)) },
      }),
      4,
      "go through 2.2.0 first",
    ],
    [
      "of another upgrade protocol",
      candidate({ waiaas: { ...block, upgradeProtocol: 2 } }),
      4,
      "upgrade protocol 2",
    ],
    ["for a newer Node", candidate({ engines: { node: ">=26" } }), 4, "needs Node >=26"],
    ["that knows less than the database", candidate(), 6, "schema 6"],
    ["whose minimum is above the database", candidate(), 2, "go through 1.8.0 first"],
  ]
  for (const [name, release, schema, words] of cases)
    it.effect(`is refused ${name}, with the command to type`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(admit(release, schema))
        assert.include(error.message, words)
        assert.match(error.next, /waiaas|npm|Node/)
        assert.strictEqual(error.exitCode, 4)
      }),
    )

  it.effect("is refused with the very command that helps", () =>
    Effect.gen(function* () {
      const next = (release: ReleaseDocument, schema = 4) =>
        Effect.map(Effect.flip(admit(release, schema)), (error) => error.next)
      const stops = [makeVersion("2.0.5")]
      assert.strictEqual(yield* next(candidate({ waiaas: { ...block, stops } })), "waiaas upgrade --to 2.0.5")
      assert.strictEqual(yield* next(candidate(), 6), "waiaas upgrade --rollback")
      assert.strictEqual(yield* next(candidate(), 2), "waiaas upgrade --to 1.8.0")
      assert.include(yield* next(candidate({ engines: { node: ">=26" } })), "Install Node >=26")
    }),
  )
})
