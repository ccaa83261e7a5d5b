/** What an undo and a rollback need and check, on real files and real SQLite with simulated processes. */

import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DataDir } from "@waiaas/services/platform/DataDir"
import type { SimulatedRelease } from "@waiaas/services/testing/SimulatedInstall"
import { contentOf, layerSimulated, type SimulatedSetup } from "@waiaas/services/testing/SimulatedUpgrade"
import { Upgrade } from "@waiaas/services/Upgrade"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

const old: SimulatedRelease = { version: "2.0.0", schema: 4 }
const harming: SimulatedRelease = { version: "2.1.0", schema: 5, fault: "migrate-live" }
const upgrade = Effect.flatMap(Upgrade, ({ run }) =>
  run({ to: Option.none(), from: Option.none(), restart: true, dryRun: false }),
)
const isOther = (path: string) => path.includes("/other")

interface Seen {
  readonly created: Array<string>
}

/** This machine's files, where everything below `other` counts as another file system. */
const layerTwoDisks = (setup: SimulatedSetup, seen: Seen = { created: [] }) =>
  layerSimulated({ configToml: '[database]\npath = "other/waiaas.db"\n', ...setup }).pipe(
    Layer.provideMerge(
      Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (fs) => ({
          ...fs,
          stat: (path) =>
            Effect.map(fs.stat(path), (info) => (isOther(path) ? { ...info, dev: info.dev + 1 } : info)),
          open: (path, options) => {
            if (options?.flag === "w") seen.created.push(path)
            return fs.open(path, options)
          },
          rename: (from, to) =>
            isOther(from) === isOther(to)
              ? fs.rename(from, to)
              : new PlatformError.SystemError({
                  module: "FileSystem",
                  method: "rename",
                  reason: "Unknown",
                  cause: { code: "EXDEV" },
                }),
        })),
      ).pipe(Layer.provide(NodeFileSystem.layer)),
    ),
  )

describe("a database on another file system than the data directory", () => {
  const seen: Seen = { created: [] }
  it.scopedLive("has the undo's space beside it, and the undo leaves nothing", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { databasePath } = yield* (yield* ConfigFile).load
      assert.match(databasePath, /\/other\/waiaas\.db$/)
      const failed = yield* Effect.flip(upgrade)
      assert.strictEqual(failed._tag, "RunFailed")
      assert.include(String("standing" in failed ? failed.standing : ""), "put back")
      assert.isTrue(seen.created.some((path) => path.endsWith("/other/.reserve-1")))
      assert.deepStrictEqual(yield* contentOf(databasePath), { names: ["alice"], schema: 4 })
      const left = yield* fs.readDirectory(databasePath.replace(/\/waiaas\.db$/, ""))
      assert.deepStrictEqual(
        left.filter((name) => !/^waiaas\.db/.test(name)),
        [],
      )
    }).pipe(Effect.provide(layerTwoDisks({ installed: old, releases: [old, harming] }, seen))),
  )

  it.scopedLive("is refused in step 1 where that file system is full", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.flip(upgrade)
      const cause = failed._tag === "RunFailed" ? failed.cause : failed
      assert.strictEqual(cause._tag, "NoSpace")
      assert.include(cause.message, "/other")
      const { paths } = yield* DataDir
      assert.deepStrictEqual(yield* (yield* FileSystem.FileSystem).readDirectory(paths.backups), [])
    }).pipe(Effect.provide(layerTwoDisks({ available: (path) => (isOther(path) ? 1e6 : 1e12) }))),
  )
})
