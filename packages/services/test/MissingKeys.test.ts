/** A sealed key that is missing is seen from the files alone, whether the daemon runs or not. */
import { join } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, it } from "@effect/vitest"
import { missingKeys } from "@waiaas/services/MissingKeys"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { sealedKeyOf } from "@waiaas/services/testing/SimulatedInstall"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerInstalled } from "./simulated.ts"

const namesOf = Effect.map(
  missingKeys,
  Option.map(({ agents, missing }) => [agents, missing.map(({ name }) => name)] as const),
)

it.scopedLive(
  "the agents without a sealed key of theirs are named; a key of another one makes up for none of them",
  () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { paths } = yield* DataDir
      assert.deepStrictEqual(Option.getOrThrow(yield* namesOf), [3, []])
      const [first = "", second = ""] = yield* fs.readDirectory(paths.keystore)
      const key = (name: string) => join(paths.keystore, name)
      yield* fs.rename(key(first), key("99999999-9999-4999-8999-999999999999.json"))
      const [agents, missing] = Option.getOrThrow(yield* namesOf)
      assert.strictEqual(agents, 3)
      assert.lengthOf(missing, 1)
      yield* fs.remove(key(second))
      assert.lengthOf(Option.getOrThrow(yield* namesOf)[1], 2)
      const [third = ""] = (yield* fs.readDirectory(paths.keystore)).filter(
        (name) => !name.startsWith("9999"),
      )
      for (const text of [sealedKeyOf("somebody else"), "{", ""]) {
        yield* fs.writeFileString(key(third), text)
        assert.lengthOf(Option.getOrThrow(yield* namesOf)[1], 3)
      }
      yield* fs.remove(key(third))
      yield* fs.makeDirectory(key(third))
      assert.lengthOf(Option.getOrThrow(yield* namesOf)[1], 3)
      yield* fs.remove(paths.keystore, { recursive: true })
      yield* fs.makeDirectory(paths.keystore)
      assert.lengthOf(Option.getOrThrow(yield* namesOf)[1], 3)
    }).pipe(Effect.provide(layerInstalled({ agents: ["alice", "bob", "carol"] }))),
)

it.scopedLive("what cannot be known is not said", () =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const { paths } = yield* DataDir
    yield* fs.writeFileString(join(paths.root, "config.toml"), "[nonsense")
    assert.isTrue(Option.isNone(yield* missingKeys))
  }).pipe(Effect.provide(layerInstalled())),
)
