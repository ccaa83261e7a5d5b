/** Where a notice of a new version comes from, and where it is written down that it was shown. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { layerSimulated, type SimulatedSetup } from "@waiaas/services/testing/SimulatedUpgrade"
import { TestHttp } from "@waiaas/services/testing/TestHttp"
import { type Notice, UpdateNotifier } from "@waiaas/services/UpdateNotifier"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"

const layer = (setup: SimulatedSetup = {}) =>
  UpdateNotifier.layer.pipe(
    Layer.provideMerge(layerSimulated(setup)),
    Layer.provideMerge(NodeFileSystem.layer),
  )
const inDatabase = <A>(act: (database: Sqlite.Database) => A) =>
  Effect.gen(function* () {
    const { databasePath } = yield* (yield* ConfigFile).load
    const database = new Sqlite(databasePath)
    try {
      return act(database)
    } finally {
      database.close()
    }
  })
const set = (key: string, value: string) =>
  inDatabase((database) =>
    database.prepare("INSERT OR REPLACE INTO key_value_store VALUES (?, ?, 1)").run(key, value),
  )
const stored = inDatabase((database) =>
  database
    .prepare(
      "SELECT key, value, updated_at FROM key_value_store WHERE key LIKE 'version_notified%' ORDER BY key",
    )
    .raw()
    .all(),
)
const pending = Effect.flatMap(UpdateNotifier, ({ pending }) => Effect.map(pending, Option.getOrNull))
const report = Effect.flatMap(UpdateNotifier, ({ report }) => Effect.map(report, Option.getOrNull))
const notice: Notice = {
  installed: makeVersion("2.0.0"),
  latest: makeVersion("2.1.0"),
  check: { checkedAt: null, failure: null },
  ageLimit: null,
}
const shown = Effect.flatMap(UpdateNotifier, ({ shown }) => shown(notice))

describe("a notice of a new version", () => {
  it.effect("comes out of the database, and not while a run has that", () =>
    Effect.gen(function* () {
      assert.isNull(yield* pending)
      yield* set("latest_version", "2.1.0")
      assert.deepStrictEqual(yield* pending, notice)
      assert.strictEqual((yield* report)?.latestVersion, "2.1.0")
      const journal = yield* UpgradeJournal
      const { databasePath } = yield* (yield* ConfigFile).load
      const { paths } = yield* DataDir
      const run = yield* journal.begin({
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
      assert.deepStrictEqual([yield* pending, yield* report], [null, null])
      yield* journal.append(run, { _tag: "Ended", outcome: "untouched" })
      assert.deepStrictEqual(yield* pending, notice)
      assert.strictEqual((yield* report)?.latestVersion, "2.1.0")
    }).pipe(Effect.provide(layer())),
  )

  it.effect("fails no command: not without a database, not with a configuration that is none", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { databasePath } = yield* (yield* ConfigFile).load
      yield* fs.writeFileString(databasePath, "no database at all, whatever it is called")
      assert.deepStrictEqual([yield* pending, yield* report], [null, null])
      yield* shown
      yield* fs.remove(databasePath)
      assert.deepStrictEqual([yield* pending, yield* report], [null, null])
      yield* shown
      assert.isFalse(yield* fs.exists(databasePath))
      yield* fs.writeFileString((yield* DataDir).paths.config, "[daemon")
      assert.deepStrictEqual([yield* pending, yield* report], [null, null])
      yield* shown
    }).pipe(Effect.provide(layer())),
  )

  it.effect("names what the daemon is set to: whether it checks, and which registry it asks", () =>
    Effect.gen(function* () {
      yield* set("latest_version", "2.1.0")
      yield* set("version_registry", "http://a.test/")
      const found = yield* report
      assert.deepStrictEqual([found?.checking, found?.registry], [false, "http://b.test/"])
      assert.isNull(yield* pending, "it is another registry's")
    }).pipe(
      Effect.provide(
        layer({ configToml: '[daemon]\nupdate_check = false\nupdate_registry = "http://b.test/"\n' }),
      ),
    ),
  )
})

describe("that a notice was shown", () => {
  const posts = Effect.map(TestHttp, ({ requests }) =>
    requests
      .filter(({ method }) => method === "POST")
      .map(({ url, headers }) => [url, headers.authorization]),
  )

  it.effect("is written under the data lock where nobody has that, with its time", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_770_000_000_900)
      yield* shown
      const now = 1_770_000_000
      assert.deepStrictEqual(yield* stored, [
        ["version_notified", "2.1.0", now],
        ["version_notified_at", String(now), now],
      ])
      yield* TestClock.adjust("1 day")
      yield* shown
      assert.deepStrictEqual((yield* stored)[1], ["version_notified_at", String(now + 86_400), now + 86_400])
      assert.deepStrictEqual(yield* posts, [])
      const { paths } = yield* DataDir
      assert.isFalse(yield* (yield* ExclusiveLock).isHeld(paths.dataLock), "given back")
    }).pipe(Effect.provide(layer())),
  )

  it.effect("is the daemon's to write where one runs, which is sent the token", () =>
    Effect.gen(function* () {
      yield* (yield* SimulatedInstall).startDaemon
      yield* shown
      assert.deepStrictEqual(yield* posts, [
        ["http://127.0.0.1:3100/v1/version/notified", `Bearer ${"5".repeat(64)}`],
      ])
      assert.deepStrictEqual(yield* stored, [])
    }).pipe(Effect.provide(layer())),
  )

  it.scoped("is written nowhere while somebody else has the data", () =>
    Effect.gen(function* () {
      const { paths } = yield* DataDir
      yield* (yield* ExclusiveLock).acquire({ lock: "data", path: paths.dataLock, what: "a backup" })
      yield* shown
      assert.deepStrictEqual([yield* posts, yield* stored], [[], []])
    }).pipe(Effect.provide(layer())),
  )

  it.effect("is not sent to a daemon that does not answer", () =>
    Effect.gen(function* () {
      yield* (yield* SimulatedInstall).startDaemon
      const http = yield* TestHttp
      http.respond = () => Effect.succeed(null)
      yield* shown
      assert.deepStrictEqual(
        http.requests.map(({ method }) => method),
        ["GET"],
      )
    }).pipe(Effect.provide(layer())),
  )

  it.effect("is looked for in the place of the code that runs", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Environment).version, "2.0.0")
      yield* set("latest_version", "2.0.0")
      assert.isNull(yield* pending)
    }).pipe(Effect.provide(layer())),
  )
})
