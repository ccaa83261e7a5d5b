import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { hiddenPaths, type Install } from "@waiaas/domain/Install"
import { PackageSwap } from "@waiaas/services/PackageSwap"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerPlatform, temporaryDirectory } from "./support.ts"

const layer = Layer.provideMerge(PackageSwap.layer, layerPlatform())

const fixture = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const swap = yield* PackageSwap
  const prefix = yield* temporaryDirectory
  const root = `${prefix}/lib/node_modules`
  const install: Install = {
    prefix,
    root,
    packageDir: `${root}/@waiaas/cli`,
    binLink: `${prefix}/bin/waiaas`,
    hidden: `${root}/.waiaas`,
    node: process.execPath,
  }
  const hidden = hiddenPaths(install.hidden)
  const write = (directory: string, version: string) =>
    Effect.gen(function* () {
      yield* fs.makeDirectory(`${directory}/dist`, { recursive: true })
      yield* fs.writeFileString(`${directory}/dist/bin.js`, version)
    })
  yield* write(install.packageDir, "old")
  yield* fs.makeDirectory(`${prefix}/bin`)
  yield* fs.symlink("../lib/node_modules/@waiaas/cli/dist/bin.js", install.binLink)
  /** What the command would run now. */
  const command = fs.readFileString(install.binLink)
  return { fs, swap, install, hidden, write, command }
})

describe("PackageSwap", () => {
  it.scopedLive("swaps, with the command on the retained old code, and links back", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write, command } = yield* fixture
      yield* write(hidden.stagedPackage(1), "new")
      yield* swap.retain(install, "1.0.0")
      yield* swap.swap(install, 1, "1.0.0")
      assert.strictEqual(yield* command, "old")
      assert.strictEqual(yield* fs.readFileString(`${install.packageDir}/dist/bin.js`), "new")
      yield* swap.swap(install, 1, "1.0.0")
      yield* swap.relink(install)
      assert.strictEqual(yield* command, "new")
      assert.strictEqual(yield* fs.readLink(install.binLink), "../lib/node_modules/@waiaas/cli/dist/bin.js")
      yield* swap.cleanUp(install, 1)
      assert.deepStrictEqual(yield* fs.readDirectory(install.hidden), ["retained"])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("puts back from every state in between, and again", () =>
    Effect.gen(function* () {
      for (const state of ["staged", "linked", "out", "swapped"] as const) {
        const { fs, swap, install, hidden, write, command } = yield* fixture
        yield* write(hidden.stagedPackage(1), "new")
        yield* swap.retain(install, "1.0.0")
        if (state === "swapped") yield* swap.swap(install, 1, "1.0.0")
        else if (state !== "staged") {
          yield* fs.remove(install.binLink)
          yield* fs.symlink("../lib/node_modules/.waiaas/retained/1.0.0/dist/bin.js", install.binLink)
          if (state === "out") yield* fs.rename(install.packageDir, hidden.outgoing(1))
        }
        assert.strictEqual(yield* command, "old", state)
        for (let time = 0; time < 2; time++) {
          yield* swap.putBack(install, 1, "1.0.0")
          assert.strictEqual(yield* fs.readFileString(`${install.packageDir}/dist/bin.js`), "old", state)
          assert.strictEqual(yield* command, "old", state)
        }
        yield* swap.cleanUp(install, 1)
        assert.deepStrictEqual(yield* fs.readDirectory(install.hidden), ["retained"], state)
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("cleans up what an npm left that outlived an earlier run", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write } = yield* fixture
      yield* write(hidden.stagedPackage(7), "late")
      yield* swap.cleanUp(install, 8)
      assert.isFalse(yield* fs.exists(hidden.staging(7)))
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("retains once per version, and replaces another build of the same one", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write } = yield* fixture
      yield* swap.retain(install, "1.0.0")
      const first = yield* fs.stat(hidden.retained("1.0.0"))
      yield* swap.retain(install, "1.0.0")
      assert.deepStrictEqual((yield* fs.stat(hidden.retained("1.0.0"))).ino, first.ino)
      yield* write(install.packageDir, "old, built again")
      yield* swap.retain(install, "1.0.0")
      assert.strictEqual(
        yield* fs.readFileString(`${hidden.retained("1.0.0")}/dist/bin.js`),
        "old, built again",
      )
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("probes what it will write to, leaves nothing, and names a place that it may not touch", () =>
    Effect.gen(function* () {
      const { fs, swap, install } = yield* fixture
      yield* swap.probe(install)
      assert.deepStrictEqual(yield* fs.readDirectory(`${install.prefix}/bin`), ["waiaas"])
      const error = yield* Effect.flip(swap.probe({ ...install, root: "/proc" }))
      assert.include(["NoPermission", "FileFailed"], error._tag)
      assert.include(error.message, "/proc")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("finds out by a rename whether the package can be moved, and leaves it where it is", () =>
    Effect.gen(function* () {
      const { fs, swap, install, command } = yield* fixture
      yield* swap.probe(install)
      yield* swap.expectMovable(install, 7, "1.0.0")
      assert.strictEqual(yield* command, "old")
      assert.deepStrictEqual(yield* fs.readDirectory(install.hidden), [])
      const files = yield* DurableFile
      for (const [code, tag] of [
        ["EXDEV", "PackageNotMovable"],
        ["EBUSY", "PackageNotMovable"],
        ["EPERM", "PackageNotMovable"],
        ["EACCES", "NoPermission"],
        ["EROFS", "NoPermission"],
      ] as const) {
        const refusing = Layer.succeed(DurableFile, {
          ...files,
          rename: (_, path) => new FileFailed({ operation: "rename to", path, code }),
        })
        const error = yield* Effect.flatMap(PackageSwap, (each) =>
          each.expectMovable(install, 7, "1.0.0"),
        ).pipe(Effect.provide(PackageSwap.layer), Effect.provide(refusing), Effect.flip)
        assert.strictEqual(error._tag, tag, code)
        assert.deepStrictEqual(yield* fs.readDirectory(install.hidden), [])
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("a probe takes away what one that was killed has left", () =>
    Effect.gen(function* () {
      const { fs, swap, install } = yield* fixture
      const left = [install.root, `${install.root}/@waiaas`, `${install.prefix}/bin`, install.hidden].map(
        (directory) => `${directory}/.waiaas-probe`,
      )
      yield* fs.makeDirectory(install.hidden)
      for (const path of left) yield* fs.writeFileString(path, "")
      yield* swap.probe(install)
      for (const path of left) assert.isFalse(yield* fs.exists(path), path)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "keeps the newest retained versions, whoever's backups want them, and what it is asked to",
    () =>
      Effect.gen(function* () {
        const { fs, swap, install, hidden, write } = yield* fixture
        for (const version of ["0.9.0", "0.10.0", "1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0", "2.0.0"])
          yield* write(hidden.retained(version), version)
        yield* swap.pruneRetained(install, ["0.9.0"])
        assert.deepStrictEqual((yield* fs.readDirectory(hidden.retainedAll)).sort(), [
          "0.9.0",
          "1.0.0",
          "1.0.0-rc.1",
          "1.10.0",
          "1.9.0",
          "2.0.0",
        ])
      }).pipe(Effect.provide(layer)),
  )
})
