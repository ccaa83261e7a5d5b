/** The locks of a run: their order, and what a run of one data directory means to another one on the same install. */
import { mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
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

const ended = () => {
  const json = JSON.stringify({ format: 1, at: 1, _tag: "Ended", outcome: "old" })
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
      writeFileSync(path, `${text}${ended()}`)
      yield* expectNoneElsewhere(install.packageDir)
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
      const recording = Layer.mergeAll(
        Layer.succeed(ExclusiveLock, {
          ...lock,
          acquire: (options) =>
            Effect.tap(lock.acquire(options), () => Effect.sync(() => names.push(options.lock))),
        }),
        Layer.succeed(Environment, { ...environment, version: makeVersion(version) }),
      )
      yield* Effect.provide(act, Layer.provide(layerUpgradeServices(version === "2.0.0" ? 4 : 5), recording))
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
