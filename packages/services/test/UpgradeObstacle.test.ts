/** What keeps an upgrade from beginning is found by looking alone. */
import { readdirSync } from "node:fs"
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { layerSimulated } from "@waiaas/services/testing/SimulatedUpgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import { UpgradeObstacle } from "@waiaas/services/UpgradeObstacle"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** Directories that end so may not be written to. */
let closed = "none"
const layer = layerSimulated().pipe(
  Layer.provideMerge(
    Layer.effect(
      FileSystem.FileSystem,
      Effect.map(FileSystem.FileSystem, (fs) => ({
        ...fs,
        access: (path, options) =>
          options?.writable === true && path.endsWith(closed)
            ? new SystemError({
                module: "FileSystem",
                method: "access",
                reason: "PermissionDenied",
                pathOrDescriptor: path,
              })
            : fs.access(path, options),
      })),
    ).pipe(Layer.provide(NodeFileSystem.layer)),
  ),
)

/** The first obstacle, if any; whether there is one, the looking leaves everything as it was. */
const obstacle = Effect.gen(function* () {
  const install = yield* (yield* NpmInstaller).install
  const { paths } = yield* DataDir
  const list = () => [install.prefix, paths.root].map((path) => readdirSync(path, { recursive: true }).sort())
  const before = list()
  const { databasePath } = yield* (yield* ConfigFile).load
  const found = yield* Effect.either((yield* UpgradeObstacle).expectNone(install, databasePath))
  assert.deepStrictEqual(list(), before)
  return found._tag === "Left" ? found.left : null
})

const beginRun = Effect.gen(function* () {
  const { paths } = yield* DataDir
  yield* (yield* UpgradeJournal).begin({
    kind: "upgrade",
    from: makeVersion("2.0.0"),
    to: makeVersion("2.1.0"),
    dataDir: paths.root,
    databasePath: (yield* (yield* ConfigFile).load).databasePath,
    install: yield* (yield* NpmInstaller).install,
    daemon: null,
    restart: true,
    pid: 7,
  })
})

const hold = (lock: "run" | "data", what: string) =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    yield* (yield* ExclusiveLock).acquire({
      lock,
      path: lock === "run" ? paths.runLock : paths.dataLock,
      what,
    })
  })

describe("an upgrade", () => {
  it.scopedLive("is kept by nothing, with and without a daemon that serves", () =>
    Effect.gen(function* () {
      assert.isNull(yield* obstacle)
      yield* (yield* SimulatedInstall).startDaemon
      assert.isNull(yield* obstacle)
    }).pipe(Effect.provide(layer)),
  )

  for (const directory of ["/lib/node_modules", "/@waiaas", "/bin"])
    it.scopedLive(`is kept by a ${directory} that this user may not write to`, () =>
      Effect.gen(function* () {
        closed = directory
        const found = yield* obstacle
        closed = "none"
        assert.strictEqual(found?._tag, "NoPermission")
        assert.include(found?.message, `${directory} (owner: `)
      }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("is kept by a file system that has less than the upgrade asks for", () =>
    Effect.gen(function* () {
      const found = yield* obstacle
      assert.strictEqual(found?._tag, "NoSpace")
      assert.include(found?.message ?? "", "needed")
    }).pipe(
      Effect.provide(layerSimulated({ available: () => 1e6 }).pipe(Layer.provideMerge(NodeFileSystem.layer))),
    ),
  )

  for (const directory of ["/upgrade", "/upgrade/journal", "/backups", "/data"])
    it.scopedLive(`is kept by a ${directory} of the data that cannot be written`, () =>
      Effect.gen(function* () {
        closed = directory
        const found = yield* obstacle
        closed = "none"
        assert.strictEqual(found?._tag, "FileFailed")
        assert.include(found?.message, directory)
      }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("is kept by a run that was cut off, and while one goes on", () =>
    Effect.gen(function* () {
      yield* beginRun
      const cut = yield* obstacle
      assert.strictEqual(cut?._tag, "UnfinishedRun")
      assert.match(cut?.next ?? "", /^waiaas start --background --data-dir /)
      yield* hold("run", "upgrade")
      const live = yield* obstacle
      assert.strictEqual(live?._tag, "UpgradeInProgress")
      assert.match(live?.next ?? "", /^waiaas upgrade --status --data-dir /)
    }).pipe(Effect.provide(layer)),
  )

  for (const [lock, next] of [
    ["run", "waiaas upgrade --status"],
    ["data", "waiaas status"],
  ] as const)
    it.scopedLive(`is kept by another holder of the ${lock} lock`, () =>
      Effect.gen(function* () {
        yield* hold(lock, "backup create")
        const found = yield* obstacle
        assert.strictEqual(found?._tag, "LockBusy")
        assert.include(found?.message, "backup create")
        assert.strictEqual(found?.next, next)
      }).pipe(Effect.provide(layer)),
    )
})
