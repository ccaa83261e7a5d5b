/** What a file system has left, and when that is too little for SQLite. */
import { statfsSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import { DiskSpace } from "@waiaas/services/platform/DiskSpace"
import { shortageAt, shortageOf } from "@waiaas/services/platform/Shortage"
import * as Effect from "effect/Effect"
import { layerPlatform, temporaryDirectory } from "./support.ts"

it.scopedLive("the free bytes are those that this user may write; what is not there has none", () =>
  Effect.gen(function* () {
    const { available, isNetwork } = yield* DiskSpace
    // A file system whose numbers do not move meanwhile.
    const info = statfsSync("/sys")
    assert.strictEqual(yield* available("/sys"), info.bavail * info.bsize)
    const directory = yield* temporaryDirectory
    const [free, { bavail, bsize, blocks }] = [yield* available(directory), statfsSync(directory)]
    assert.approximately(free, bavail * bsize, blocks * bsize * 0.2)
    assert.isAbove(free, 0)
    assert.isFalse(yield* isNetwork("/proc"))
    const asks = [
      (path: string) => Effect.asVoid(available(path)),
      (path: string) => Effect.asVoid(isNetwork(path)),
    ]
    for (const ask of asks) {
      const failed = yield* Effect.flip(ask(`${directory}/missing`))
      assert.deepStrictEqual([failed.code, failed.path], ["ENOENT", `${directory}/missing`])
    }
  }).pipe(Effect.provide(DiskSpace.layer), Effect.provide(layerPlatform())),
)

it("a file system lacks inodes or a megabyte; one that counts neither lacks nothing", () => {
  const whole = { blocks: 1000, bavail: 512, bsize: 4096, files: 100, ffree: 1 }
  const problemOf = (more: Partial<typeof whole>) => shortageOf({ ...whole, ...more }, "/data")?.problem
  assert.isUndefined(problemOf({}))
  assert.strictEqual(problemOf({ ffree: 0 }), "no inodes are left on the file system of /data (see `df -i`)")
  assert.isUndefined(problemOf({ files: 0, ffree: 0 }))
  // SQLite's next page, its log and its index fit into exactly this.
  assert.isUndefined(problemOf({ bavail: 256 }))
  assert.strictEqual(problemOf({ bavail: 255 }), "the disk is full: 1044 kB are free in /data")
  assert.strictEqual(problemOf({ bavail: 0 }), "the disk is full: 0 kB are free in /data")
  assert.isUndefined(problemOf({ blocks: 0, bavail: 0, ffree: 0 }))
  assert.include(shortageOf({ ...whole, bavail: 0 }, "/data")?.remedy, "/data")
  // A file that is not there yet is looked for by its directory; where neither is, nothing can be said.
  assert.isUndefined(shortageAt("/proc/none"))
  assert.isUndefined(shortageAt("/none/of/it"))
})
