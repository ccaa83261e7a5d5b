import { assert, it } from "@effect/vitest"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { expectSpace } from "@waiaas/services/SpaceCheck"
import * as Effect from "effect/Effect"
import { layerPlatform, temporaryDirectory } from "./support.ts"

it.scopedLive("the space that is asked of a device is the sum over all its paths", () =>
  Effect.gen(function* () {
    const files = yield* DurableFile
    const directory = yield* temporaryDirectory
    const paths = [`${directory}/one`, `${directory}/two`]
    for (const path of paths) yield* files.makeDirectory(path)
    const ask = (free: number) =>
      Effect.either(
        expectSpace(
          files,
          { available: () => Effect.succeed(free), isNetwork: () => Effect.succeed(false) },
          paths.map((path) => [path, 1e9] as const),
        ),
      )
    // Each of the two alone would fit.
    const refused = yield* ask(1.5e9)
    assert.strictEqual(refused._tag === "Left" ? refused.left._tag : "", "NoSpace")
    assert.strictEqual((yield* ask(2.2e9))._tag, "Right")
  }).pipe(Effect.provide(layerPlatform())),
)
