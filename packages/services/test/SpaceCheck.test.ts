import { assert, it } from "@effect/vitest"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { expectSpace, RESERVE, sizeOfDatabase, wantedOfUpgrade } from "@waiaas/services/SpaceCheck"
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

it.scopedLive("a device that has exactly what is asked and a reserve is enough, and a byte less is not", () =>
  Effect.gen(function* () {
    const files = yield* DurableFile
    const directory = yield* temporaryDirectory
    const enough = 1e9 + 64 * 1024 * 1024
    const ask = (free: number) =>
      Effect.either(
        expectSpace(
          files,
          { available: () => Effect.succeed(free), isNetwork: () => Effect.succeed(false) },
          [[directory, 1e9]],
        ),
      )
    assert.strictEqual((yield* ask(enough))._tag, "Right")
    const refused = yield* ask(enough - 1)
    assert.deepInclude(refused._tag === "Left" ? { ...refused.left } : {}, {
      _tag: "NoSpace",
      path: directory,
      needed: enough,
      available: enough - 1,
    })
  }).pipe(Effect.provide(layerPlatform())),
)

it.scopedLive("the size of a database counts its log, where there is one", () =>
  Effect.gen(function* () {
    const files = yield* DurableFile
    const database = `${yield* temporaryDirectory}/waiaas.db`
    const size = sizeOfDatabase(files, database)
    assert.strictEqual(yield* size, 0)
    yield* files.write(database, "12345")
    assert.strictEqual(yield* size, 5)
    yield* files.write(`${database}-wal`, "123")
    assert.strictEqual(yield* size, 8)
    // Below a file nothing can be: that is no database of size 0.
    assert.strictEqual((yield* Effect.flip(sizeOfDatabase(files, `${database}/x`))).code, "ENOTDIR")
  }).pipe(Effect.provide(layerPlatform())),
)

it("an upgrade wants three databases and the reserve, three packages, and more where backups are elsewhere", () => {
  const wanted = (copy: number) =>
    wantedOfUpgrade(
      { upgrade: "/d/upgrade", backups: "/d/backups" },
      { root: "/p", packageSize: 7 },
      { path: "/b/waiaas.db", size: 1000, copy },
    )
  const here = [
    ["/d/upgrade", 3000 + RESERVE],
    ["/p", 21],
  ]
  assert.deepStrictEqual<unknown>(wanted(0), here)
  assert.deepStrictEqual<unknown>(wanted(1200), [...here, ["/d/backups", 1000], ["/b", 2200]])
})
