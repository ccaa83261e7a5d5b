/** The locks of a run: their order, and what a run of one data directory means to another one on the same install. */
import { mkdirSync, readFileSync, readlinkSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { LockBusy } from "@waiaas/domain/DataErrors"
import { hiddenPaths } from "@waiaas/domain/Install"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { PackageSwap } from "@waiaas/services/PackageSwap"
import { DataDir, dataPaths } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { Recover } from "@waiaas/services/Recover"
import { Rollback } from "@waiaas/services/Rollback"
import { RunLocks } from "@waiaas/services/RunLocks"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { layerUpgradeServices } from "@waiaas/services/testing/SimulatedUpgrade"
import { journalPath, UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerInstalled, upgrade } from "./simulated.ts"

/** Another data directory, with an unfinished run on this install. */
const elsewhere = Effect.gen(function* () {
  const install = yield* (yield* NpmInstaller).install
  const { paths } = yield* DataDir
  const other = dataPaths(join(paths.root, "../other"))
  for (const directory of [other.journals, install.hidden]) mkdirSync(directory, { recursive: true })
  yield* (yield* PackageSwap).point(install, { format: 1, dataDir: other.root, run: 7, since: 1, pid: 1 })
  const { databasePath } = yield* (yield* ConfigFile).load
  // Its first record is one that this code wrote.
  const journal = yield* UpgradeJournal
  yield* journal.begin({
    kind: "upgrade",
    from: makeVersion("2.0.0"),
    to: makeVersion("2.1.0"),
    dataDir: paths.root,
    databasePath,
    install,
    daemon: null,
    restart: true,
    pid: 1,
  })
  const own = journalPath(paths.journals, 1)
  const path = journalPath(other.journals, 7)
  writeFileSync(path, readFileSync(own))
  rmSync(own)
  const { packageDir } = install
  const look = () => ({
    package: readFileSync(join(packageDir, "dist/bin.js"), "utf8"),
    link: readlinkSync(install.binLink),
    pointer: readFileSync(hiddenPaths(install.hidden).pointer, "utf8"),
  })
  return { install, other, path, look }
})

const line = (record: Readonly<Record<string, unknown>>) => {
  const json = JSON.stringify({ format: 1, at: 1, ...record })
  return `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`
}

describe("while another data directory's run on the install is not over", () => {
  it.scopedLive("an upgrade from here is refused, and package, link and pointer stay as they are", () =>
    Effect.gen(function* () {
      const { look, other } = yield* elsewhere
      const { installed } = yield* SimulatedInstall
      const before = look()
      const error = yield* Effect.flip(upgrade())
      assert.strictEqual(error._tag, "UnfinishedRun")
      assert.include(error.message, `Run 7 of ${other.root}`)
      assert.deepStrictEqual(look(), before)
      assert.strictEqual(yield* installed, "2.0.0")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("a start here is refused too, and so it is where that journal cannot be read", () =>
    Effect.gen(function* () {
      const { install, path } = yield* elsewhere
      const { expectNoneElsewhere } = yield* RunLocks
      const refused = Effect.map(Effect.flip(expectNoneElsewhere(install.packageDir)), ({ _tag }) => _tag)
      assert.strictEqual(yield* refused, "UnfinishedRun")
      const text = readFileSync(path, "utf8")
      rmSync(path)
      // Not a file: what is there is not known, as with another user's.
      mkdirSync(path)
      assert.strictEqual(yield* refused, "UnfinishedRun")
      rmSync(path, { recursive: true })
      writeFileSync(path, "no journal")
      assert.strictEqual(yield* refused, "UnfinishedRun")
      writeFileSync(path, `${text}${line({ _tag: "Ended", outcome: "old" })}`)
      yield* expectNoneElsewhere(install.packageDir)
      writeFileSync(path, `${text}${line({ _tag: "Committed" })}`)
      yield* expectNoneElsewhere(install.packageDir)
      writeFileSync(path, text)
      assert.strictEqual(yield* refused, "UnfinishedRun")
      rmSync(path)
      yield* expectNoneElsewhere(install.packageDir)
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("it is said to go on while somebody holds the install's lock, with who does it", () =>
    Effect.gen(function* () {
      const { install, other } = yield* elsewhere
      const { expectNoneElsewhere } = yield* RunLocks
      const refused = Effect.flip(expectNoneElsewhere(install.packageDir))
      const path = hiddenPaths(install.hidden).lock
      const held = (yield* ExclusiveLock).acquire({ lock: "install", path, what: "upgrade" })
      const error = yield* Effect.scoped(Effect.zipRight(held, refused))
      assert.strictEqual(error._tag, "UpgradeInProgress")
      assert.include(error.message, `Run 7 of ${other.root} is going on: process 1`)
      assert.strictEqual((yield* refused)._tag, "UnfinishedRun")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("a run of this data directory is its own affair", () =>
    Effect.gen(function* () {
      const { install } = yield* elsewhere
      const { paths } = yield* DataDir
      const locks = yield* RunLocks
      yield* (yield* PackageSwap).point(install, {
        format: 1,
        dataDir: paths.root,
        run: 7,
        since: 1,
        pid: 1,
      })
      mkdirSync(journalPath(paths.journals, 7), { recursive: true })
      yield* locks.expectNoneElsewhere(install.packageDir)
      yield* locks.acquire(install, "upgrade")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("a data directory that is gone keeps nobody", () =>
    Effect.gen(function* () {
      const { other } = yield* elsewhere
      rmSync(other.root, { recursive: true })
      assert.strictEqual((yield* upgrade())._tag, "Upgraded")
    }).pipe(Effect.provide(layerInstalled())),
  )
})

describe("the locks of a run", () => {
  /** Which locks an act takes, in order; it is done by the code of a version. */
  const taken = <A, E, R>(version: string, act: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const lock = yield* ExclusiveLock
      const environment = yield* Environment
      const names: Array<string> = []
      const modes = new Map<string, number | undefined>()
      const recording = Layer.mergeAll(
        Layer.succeed(ExclusiveLock, {
          ...lock,
          acquire: (options) =>
            Effect.tap(lock.acquire(options), () =>
              Effect.sync(() => {
                names.push(options.lock)
                modes.set(options.lock, options.mode)
              }),
            ),
        }),
        Layer.succeed(Environment, { ...environment, version: makeVersion(version) }),
      )
      yield* Effect.provide(act, Layer.provide(layerUpgradeServices(version === "2.0.0" ? 4 : 5), recording))
      // Another user may find out who holds the install, which is for all of them; the data's locks are the owner's.
      assert.deepStrictEqual([modes.get("install"), modes.get("data") ?? 0o600], [0o644, 0o600])
      return names
    })
  const order = ["run", "install", "data"]

  it.scopedLive("are taken in one order: run, install, data, by an upgrade, a rollback and a recovery", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* taken("2.0.0", upgrade()), order)
      const rollback = Effect.flatMap(Rollback, ({ plan, run }) =>
        Effect.flatMap(plan(Option.none()), (planned) =>
          run(planned, { restart: true, resumeSuspended: false }),
        ),
      )
      assert.deepStrictEqual(yield* taken("2.1.0", rollback), order)
      const { paths } = yield* DataDir
      const { databasePath } = yield* (yield* ConfigFile).load
      const journal = yield* UpgradeJournal
      const begun = yield* journal.begin({
        kind: "upgrade",
        from: makeVersion("2.0.0"),
        to: makeVersion("2.1.0"),
        dataDir: paths.root,
        databasePath,
        install: yield* (yield* NpmInstaller).install,
        daemon: null,
        restart: true,
        pid: 1,
      })
      yield* journal.append(begun, { _tag: "PhaseBegun", phase: "backup" })
      const recovery = Effect.flatMap(Recover, ({ onSight }) => onSight({ startDaemon: true }))
      assert.deepStrictEqual(yield* taken("2.0.0", recovery), order)
    }).pipe(Effect.provide(layerInstalled())),
  )
})

describe("the data lock of a run", () => {
  const lockPaths = Effect.gen(function* () {
    const install = yield* (yield* NpmInstaller).install
    const { paths } = yield* DataDir
    const { databasePath } = yield* (yield* ConfigFile).load
    return { install, paths, databasePath, installLock: hiddenPaths(install.hidden).lock }
  })

  it.scopedLive(
    "is taken once it is needed, given up and taken again, and free with the others at the end",
    () =>
      Effect.gen(function* () {
        const { install, paths, databasePath, installLock } = yield* lockPaths
        const locks = yield* RunLocks
        const lock = yield* ExclusiveLock
        const held = Effect.forEach([paths.runLock, installLock, paths.dataLock], lock.isHeld)
        assert.isFalse(yield* locks.live)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const lease = yield* locks.acquire(install, "upgrade")
            assert.isTrue(yield* locks.live)
            assert.deepStrictEqual(yield* held, [true, true, false])
            const again = yield* Effect.flip(Effect.scoped(locks.acquireRun("another")))
            assert.include(again.message, "upgrade")
            yield* lease.take(0, databasePath)
            // Whoever has it has no need to wait for itself.
            yield* lease.take(0, databasePath)
            assert.deepStrictEqual(yield* held, [true, true, true])
            yield* lease.release
            yield* lease.release
            assert.deepStrictEqual(yield* held, [true, true, false])
            yield* lease.take(0, databasePath)
            assert.deepStrictEqual(yield* held, [true, true, true])
            const { what } = Option.getOrThrow(yield* lock.holder(installLock))
            assert.strictEqual(what, `upgrade of ${paths.root}`)
          }),
        )
        assert.deepStrictEqual(yield* held, [false, false, false])
        // Everybody may find out who holds the install.
        assert.strictEqual(statSync(install.hidden).mode & 0o777, 0o755)
      }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("is had with the run lock that the caller has already", () =>
    Effect.gen(function* () {
      const { install, databasePath } = yield* lockPaths
      const locks = yield* RunLocks
      yield* locks.acquireRun("recovery")
      yield* (yield* locks.acquire(install, "recovery", { hasRun: true })).take(0, databasePath)
      const error = yield* Effect.flip(locks.acquire(install, "recovery", { hasRun: false }))
      assert.strictEqual(error._tag === "LockBusy" ? error.lock : error._tag, "run")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive(
    "comes after what still works on the database, for which there is more time the larger that is, and is free again where that does not end",
    () =>
      Effect.gen(function* () {
        const { install, paths, databasePath } = yield* lockPaths
        const lock = yield* ExclusiveLock
        const drained: Array<readonly [path: string, wait: Duration.DurationInput, held: boolean]> = []
        const busy = new LockBusy({ lock: "tool", path: paths.toolLock, holder: "a tool" })
        const locks = yield* RunLocks.pipe(
          Effect.provide(layerUpgradeServices(4)),
          Effect.provideService(ExclusiveLock, {
            ...lock,
            drain: (path, wait) =>
              Effect.gen(function* () {
                drained.push([path, wait, yield* lock.isHeld(paths.dataLock)])
                // The first makes the file.
                if (drained.length > 1) yield* busy
              }),
          }),
        )
        const lease = yield* locks.acquire(install, "upgrade")
        const take = Effect.flip(lease.take(0, databasePath))
        assert.strictEqual(yield* take, busy)
        assert.isFalse(yield* lock.isHeld(paths.dataLock))
        truncateSync(databasePath, 8 * 1024 ** 3)
        assert.strictEqual(yield* take, busy)
        assert.deepStrictEqual(
          drained.map(([path, , held]) => [path, held]),
          [
            [paths.toolLock, false],
            [paths.toolLock, true],
            [paths.toolLock, true],
          ],
        )
        const [first, small, large] = drained.map(([, wait]) => Duration.toMillis(wait))
        assert.strictEqual(first, 0)
        assert.isAbove(small ?? 0, 0)
        assert.isAbove(large ?? 0, small ?? 0)
      }).pipe(Effect.provide(layerInstalled())),
  )
})
