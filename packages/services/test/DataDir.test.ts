/** A data directory: whose it is, who may read it, and where one may be made. */
import { lchownSync, lstatSync, readdirSync } from "node:fs"
import { join } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Privilege, RightsRefused } from "@waiaas/services/platform/Privilege"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerPlatform, temporaryDirectory } from "./support.ts"

const layer = layerPlatform()
const uid = process.getuid?.() ?? 0

describe("DataDir", () => {
  const at = (flag: string | null, options: Parameters<typeof layerPlatform>[0]) =>
    DataDir.pipe(
      Effect.provide(DataDir.layer(Option.fromNullable(flag))),
      Effect.provide(layerPlatform(options)),
    )

  it.scopedLive("is --data-dir, then WAIAAS_DATA_DIR, then ~/.waiaas; links are resolved once", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const fs = yield* FileSystem.FileSystem
      yield* fs.makeDirectory(`${root}/real`)
      yield* fs.symlink("real", `${root}/link`)
      const variables = { WAIAAS_DATA_DIR: "/from/environment" }
      assert.strictEqual((yield* at(`${root}/link`, { variables })).paths.root, `${root}/real`)
      assert.strictEqual((yield* at(null, { variables })).paths.root, "/from/environment")
      assert.strictEqual((yield* at(null, { home: "/home/u" })).paths.root, "/home/u/.waiaas")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("is no default where WAIAAS_DATA_DIR is set and empty", () =>
    Effect.gen(function* () {
      for (const value of ["", "  "]) {
        const place = yield* at(null, { variables: { WAIAAS_DATA_DIR: value } })
        for (const asked of [place.check, place.expectRoom]) {
          const error = yield* Effect.flip(asked)
          assert.strictEqual(error._tag, "ConfigInvalid")
          assert.include(error.message, "WAIAAS_DATA_DIR")
        }
        // What is named on the line needs no variable.
        const named = yield* at("/nowhere/d", { variables: { WAIAAS_DATA_DIR: value } })
        assert.strictEqual((yield* Effect.flip(named.check))._tag, "NotInitialised")
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("says where root may not act as the owner, as in a container without that capability", () =>
    Effect.gen(function* () {
      const root = `${yield* temporaryDirectory}/d`
      yield* (yield* at(root, { uid })).create
      const options = { uid: 0, variables: { SUDO_USER: "someone" } }
      const files = yield* DurableFile
      const stat = (path: string) =>
        Effect.map(files.stat(path), (info) => ({ ...info, uid: Option.some(1234), gid: Option.some(1234) }))
      const place = yield* DataDir.pipe(
        Effect.provide(DataDir.layer(Option.some(root))),
        Effect.provideService(DurableFile, { ...files, stat }),
        Effect.provide(layerPlatform(options)),
        Effect.provideService(Privilege, {
          ...Privilege.defaultValue(),
          become: () => new RightsRefused({ code: "EPERM" }),
        }),
      )
      for (const asked of [place.check, place.expectRoom]) {
        const error = yield* Effect.flip(asked)
        assert.include(error.message, "this system does not let root act as that user (EPERM)")
        assert.include(error.next, "without `sudo`")
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("refuses what others can read, what belongs to another, and what is not there", () =>
    Effect.gen(function* () {
      const root = `${yield* temporaryDirectory}/d`
      const uid = process.getuid?.() ?? 0
      const absent = yield* Effect.flip((yield* at(root, { uid })).check)
      assert.strictEqual(absent._tag, "NotInitialised")
      const { create, paths } = yield* at(root, { uid })
      yield* create
      const files = yield* DurableFile
      yield* files.write(paths.config, "")
      yield* (yield* at(root, { uid })).check
      assert.strictEqual((yield* Effect.flip((yield* at(root, { uid: uid + 1 })).check))._tag, "OtherOwner")
      yield* files.chmod(paths.keystore, 0o755)
      const open = yield* Effect.flip((yield* at(root, { uid })).check)
      assert.strictEqual(open._tag, "UnsafeDataDir")
      assert.include(open.message, "755")
      assert.include(open.next, "chmod")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("under sudo asks whose data is meant", () =>
    Effect.gen(function* () {
      const place = yield* at(null, { uid: 0, home: "/root", variables: { SUDO_USER: "someone" } })
      const error = yield* Effect.flip(place.check)
      assert.include(error.message, "sudo")
      assert.include(error.next, "--data-dir")
    }).pipe(Effect.provide(layer)),
  )

  /** Initialised, as far as this service sees it. */
  const initialised = Effect.gen(function* () {
    const root = `${yield* temporaryDirectory}/d`
    const place = yield* at(root, { uid })
    yield* place.create
    const files = yield* DurableFile
    const { paths } = place
    const all = {
      databasePath: join(paths.data, "waiaas.db"),
      logFile: join(paths.logs, "daemon.log"),
    }
    for (const path of [paths.config, paths.token, all.databasePath]) yield* files.write(path, "")
    return { ...place, root, all, files }
  })

  for (const name of [
    "keystore/key",
    "keystore/master.json",
    "keystore/00000000-0000-4000-8000-000000000001.json",
    "data/waiaas.db",
    "data/waiaas.db-wal",
    "backups/manual-2.0.0-20261123T214855Z-000001/waiaas.db",
    "upgrade/journal/000001.jsonl",
    "daemon.json",
  ])
    it.scopedLive(`an open ${name} is refused, and the chmod is for it alone`, () =>
      Effect.gen(function* () {
        const { root, checkAll, all, files } = yield* initialised
        yield* checkAll(all)
        const path = join(root, name)
        yield* files.makeDirectory(join(path, ".."))
        yield* files.write(path, "x", 0o644)
        const error = yield* Effect.flip(checkAll(all))
        assert.strictEqual(error._tag, "UnsafeDataDir")
        assert.include(error.message, `${path}: others may read or write it (mode 644)`)
        assert.strictEqual(error.next, `chmod go= ${path}`)
        yield* files.chmod(path, 0o600)
        yield* checkAll(all)
      }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("where every key is open the chmod is for the keys of the keystore", () =>
    Effect.gen(function* () {
      const { paths, checkAll, all, files } = yield* initialised
      for (let key = 0; key < 20; key++) yield* files.write(join(paths.keystore, `${key}.json`), "x", 0o640)
      const error = yield* Effect.flip(checkAll(all))
      assert.include(error.message, "and 19 more files")
      assert.strictEqual(error.next, `chmod go= ${paths.keystore}/*.json`)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("a database or a log where everybody can put another file in its place is refused", () =>
    Effect.gen(function* () {
      const { checkAll, all } = yield* initialised
      const fs = yield* FileSystem.FileSystem
      const outside = yield* temporaryDirectory
      const elsewhere = join(outside, "waiaas.db")
      yield* checkAll({ ...all, databasePath: elsewhere })
      yield* fs.chmod(outside, 0o777)
      for (const open of [
        { ...all, databasePath: elsewhere },
        { ...all, logFile: elsewhere },
      ])
        assert.include((yield* Effect.flip(checkAll(open))).message, "everybody may put files there")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "so is one below a directory where everybody can, and a database where others can put its log",
    () =>
      Effect.gen(function* () {
        const { checkAll, all } = yield* initialised
        const fs = yield* FileSystem.FileSystem
        const outside = yield* temporaryDirectory
        const own = join(outside, "own")
        yield* fs.makeDirectory(own, { mode: 0o700 })
        const below = join(own, "waiaas.db")
        yield* checkAll({ ...all, databasePath: below, logFile: join(own, "daemon.log") })
        yield* fs.chmod(outside, 0o777)
        for (const open of [
          { ...all, databasePath: below },
          { ...all, logFile: below },
        ])
          assert.include(
            (yield* Effect.flip(checkAll(open))).message,
            `${outside}: everybody may put files there`,
          )
        // As /tmp is: what is there is its owner's, and nobody else's to replace.
        yield* fs.chmod(outside, 0o1777)
        yield* checkAll({ ...all, databasePath: below, logFile: join(outside, "daemon.log") })
        const inIt = { ...all, databasePath: join(outside, "waiaas.db") }
        assert.include(
          (yield* Effect.flip(checkAll(inIt))).message,
          `${outside}: everybody may put files there`,
        )
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "a log behind a link is refused for where the link is and where it leads, and for nothing else",
    () =>
      Effect.gen(function* () {
        const { checkAll, all } = yield* initialised
        const fs = yield* FileSystem.FileSystem
        const [outside, disk] = [yield* temporaryDirectory, yield* temporaryDirectory]
        yield* fs.makeDirectory(join(disk, "sub"), { mode: 0o700 })
        yield* fs.symlink(disk, join(outside, "logs"))
        const logs = ["logs/daemon.log", "logs/sub/daemon.log"].map((name) => ({
          ...all,
          logFile: join(outside, name),
        }))
        for (const log of logs) yield* checkAll(log)
        for (const open of [outside, disk]) {
          yield* fs.chmod(open, 0o777)
          for (const log of logs)
            assert.include(
              (yield* Effect.flip(checkAll(log))).message,
              `${open}: everybody may put files there, and ${log.logFile} is to be there`,
            )
          yield* fs.chmod(open, 0o700)
        }
        // As in /tmp: a link of this user's is nobody else's to replace.
        yield* fs.chmod(outside, 0o1777)
        for (const log of logs) yield* checkAll(log)
        // Only root can give one away.
        if (uid !== 0) return
        lchownSync(join(outside, "logs"), 12_345, 12_345)
        for (const log of logs)
          assert.include(
            (yield* Effect.flip(checkAll(log))).message,
            `${outside}/logs: it is a link of user 12345`,
          )
      }).pipe(Effect.provide(layer)),
  )

  /** What is refused is left as it is, and no advice touches it. */
  const refused = (root: string, options: { readonly uid: number } = { uid }) =>
    Effect.gen(function* () {
      const look = () => [lstatSync(root).mode, ...readdirSync(root)]
      const before = look()
      const error = yield* Effect.flip((yield* at(root, options)).expectRoom)
      assert.deepStrictEqual(look(), before)
      assert.notMatch("next" in error ? error.next : "", /chmod|chown| -R /)
      return error
    })

  it.scopedLive(
    "is not made where something else is: not in /, /etc or a home, nor beside a config.toml of others",
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const home = yield* temporaryDirectory
        yield* fs.writeFileString(join(home, ".profile"), "")
        const site = yield* temporaryDirectory
        yield* fs.writeFileString(join(site, "config.toml"), "[site]\n")
        yield* fs.makeDirectory(join(site, "posts"))
        // A test need not be root's.
        const owner = lstatSync("/etc").uid
        for (const [root, user] of [
          ["/", owner],
          ["/etc", owner],
          [home, uid],
          [site, uid],
        ] as const) {
          const error = yield* refused(root, { uid: user })
          assert.match(error.message, /it is no data directory of WAIaaS, and it is not empty/)
          const { check } = yield* at(root, { uid: user })
          assert.strictEqual((yield* Effect.flip(check))._tag, "NotInitialised")
        }
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "is made in an empty directory that is private, as a new file system's is; an open one is refused",
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const root = yield* temporaryDirectory
        yield* fs.makeDirectory(join(root, "lost+found"))
        const { expectRoom, create } = yield* at(root, { uid })
        yield* expectRoom
        yield* create
        // As an init that was cut off leaves it.
        yield* expectRoom
        const open = yield* temporaryDirectory
        yield* fs.chmod(open, 0o755)
        assert.include((yield* refused(open)).next, `waiaas init --data-dir ${open}/waiaas`)
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("is not made in a directory of another user, who could put another one in its place", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      // The owner of a temporary directory is who runs the tests: to another user it is somebody else's.
      const place = yield* at(join(root, "d"), { uid: uid + 1 })
      if (uid === 0) return yield* place.expectRoom
      assert.strictEqual((yield* Effect.flip(place.expectRoom))._tag, "OtherOwner")
    }).pipe(Effect.provide(layer)),
  )
})
