/** What an undo and a rollback need and check, on real files and real SQLite with simulated processes. */

import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Recover } from "@waiaas/services/Recover"
import { SimulatedInstall, type SimulatedRelease } from "@waiaas/services/testing/SimulatedInstall"
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
const layerTwoDisks = (setup: SimulatedSetup, seen: Seen = { created: [] }, devices: 1 | 2 = 2) =>
  layerSimulated({ configToml: '[database]\npath = "other/waiaas.db"\n', ...setup }).pipe(
    Layer.provideMerge(
      Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (fs) => ({
          ...fs,
          stat: (path) =>
            Effect.map(fs.stat(path), (info) =>
              isOther(path) ? { ...info, dev: info.dev + devices - 1 } : info,
            ),
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
  for (const devices of [2, 1] as const)
    it.scopedLive(
      devices === 2
        ? "has the undo's space beside it, and the undo leaves nothing"
        : "has so too where both are mounts of one device, between which nothing can be renamed",
      () =>
        Effect.gen(function* () {
          seen.created.length = 0
          const fs = yield* FileSystem.FileSystem
          const { databasePath } = yield* (yield* ConfigFile).load
          assert.match(databasePath, /\/other\/waiaas\.db$/)
          const failed = yield* Effect.flip(upgrade)
          assert.strictEqual(failed._tag, "RunFailed")
          assert.include(String("standing" in failed ? failed.standing : ""), "put back")
          assert.isTrue(seen.created.some((path) => path.endsWith("/other/.reserve-1-waiaas.db")))
          assert.deepStrictEqual(yield* contentOf(databasePath), { names: ["alice"], schema: 4 })
          const left = yield* fs.readDirectory(databasePath.replace(/\/waiaas\.db$/, ""))
          assert.deepStrictEqual(
            left.filter((name) => !/^waiaas\.db/.test(name)),
            [],
          )
        }).pipe(Effect.provide(layerTwoDisks({ installed: old, releases: [old, harming] }, seen, devices))),
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

/** Runs `spoil` at the moment when the migration is about to fail. */
const harm = (spoil: (backups: string, database: string) => void) =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    const { databasePath } = yield* (yield* ConfigFile).load
    const install = yield* SimulatedInstall
    install.whenHarmed = (database) => {
      if (database === databasePath) spoil(paths.backups, databasePath)
    }
    const failed = yield* Effect.flip(upgrade)
    assert.strictEqual(failed._tag === "RunFailed" ? failed.cause._tag : failed._tag, "RecoveryPaused")
    assert.strictEqual(failed.exitCode, 7)
    return { failed, install, databasePath, backups: paths.backups }
  })

/** Flips a bit of the agent's name, in the table and in its index. */
const flip = (path: string) => {
  const bytes = readFileSync(path)
  assert.isTrue(bytes.includes("alice"))
  for (let at = bytes.indexOf("alice"); at >= 0; at = bytes.indexOf("alice"))
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  writeFileSync(path, bytes)
}

describe("an undo whose backup was damaged meanwhile", () => {
  const layer = layerSimulated({ installed: old, releases: [old, harming] }).pipe(
    Layer.provideMerge(NodeFileSystem.layer),
  )

  it.scopedLive("pauses before anything is moved, and keeps both", () =>
    Effect.gen(function* () {
      let copy = ""
      let good = Buffer.alloc(0)
      const { failed, databasePath } = yield* harm((backups) => {
        copy = join(backups, readdirSync(backups)[0] ?? "", "waiaas.db")
        good = readFileSync(copy)
        flip(copy)
      })
      assert.include(
        failed._tag === "RunFailed" ? failed.cause.message : "",
        "waiaas.db is not what was backed up",
      )
      assert.isTrue(existsSync(copy))
      assert.deepStrictEqual((yield* contentOf(databasePath)).names, ["harmed"])
      // Once its bytes are back the same recovery ends.
      writeFileSync(copy, good)
      yield* Effect.flatMap(Recover, ({ onSight }) => onSight({ startDaemon: false }))
      assert.deepStrictEqual(yield* contentOf(databasePath), { names: ["alice"], schema: 4 })
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("pauses where the damage shows only in its place, and keeps what was there before it", () =>
    Effect.gen(function* () {
      const { failed, databasePath } = yield* harm((backups, database) => {
        const [name = ""] = readdirSync(backups)
        // As an undo leaves it that was cut off after the move; the byte went bad since.
        writeFileSync(join(backups, name, "used-by-run-1"), "")
        renameSync(database, join(dirname(database), ".failed-1", "waiaas.db"))
        renameSync(join(backups, name, "waiaas.db"), database)
        flip(database)
      })
      assert.match(
        failed._tag === "RunFailed" ? failed.cause.message : "",
        /the restored database should be the bytes of backup .*\.failed-1/,
      )
      assert.isTrue(existsSync(join(dirname(databasePath), ".failed-1", "waiaas.db")))
    }).pipe(Effect.provide(layer)),
  )
})
