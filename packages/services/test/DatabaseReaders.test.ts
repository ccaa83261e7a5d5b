/** Programs elsewhere that have a transaction of the database open: seen by name while the daemon serves, waited for by nobody. */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { layerDatabase } from "@waiaas/services/Database"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { expectAlone, readersOf } from "@waiaas/services/platform/DatabaseReaders"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { Rollback } from "@waiaas/services/Rollback"
import { RunLocks } from "@waiaas/services/RunLocks"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { asVersion, Heard, layerUpgradeServices } from "@waiaas/services/testing/SimulatedUpgrade"
import { UpgradeObstacle } from "@waiaas/services/UpgradeObstacle"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { layerInstalled, upgrade } from "./simulated.ts"

const sqlite = createRequire(import.meta.url).resolve("better-sqlite3")

const end = (pid: number) => Effect.ignore(Effect.try(() => process.kill(pid, "SIGKILL")))

/** Another process that opens the database and runs `statements` before it says so; it lives as long as the scope. */
const elsewhere = (database: string, statements: string) =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      const code = `const db = new (require(${JSON.stringify(sqlite)}))(${JSON.stringify(database)})
        for (const each of ${JSON.stringify(statements)}.split(";")) { const it = db.prepare(each); it.reader ? it.all() : it.run() }
        console.log("ready"); setInterval(() => {}, 1000)`
      const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] })
      child.stdout.once("data", () => resume(Effect.succeed(child.pid ?? 0)))
    }),
    (pid) => end(pid),
  )
const READING = "BEGIN; SELECT * FROM agents"

const place = Effect.gen(function* () {
  const { databasePath } = yield* (yield* ConfigFile).load
  return { databasePath, install: yield* SimulatedInstall, files: yield* DurableFile }
})
/** As a daemon is started for a data directory, without the files in which it says so. */
const daemonFor = (root: string, database: string) =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      const code = `const db = new (require(${JSON.stringify(sqlite)}))(${JSON.stringify(database)})
        db.prepare("SELECT count(*) FROM agents").get(); console.log("ready"); setInterval(() => db, 1000)`
      const child = spawn(process.execPath, ["-e", code, "serve", "--data-dir", root], {
        stdio: ["ignore", "pipe", "inherit"],
      })
      child.stdout.once("data", () => resume(Effect.succeed(child.pid ?? 0)))
    }),
    (pid) => end(pid),
  )

describe.runIf(existsSync("/proc/locks"))("a daemon whose lock, facts and daemon.json were removed", () => {
  it.scopedLive("is seen, and nothing is migrated under it", () =>
    Effect.gen(function* () {
      const { databasePath } = yield* place
      const { paths } = yield* DataDir
      const control = yield* DaemonControl
      const schema = () => {
        const database = new Sqlite(databasePath, { readonly: true })
        const version = database.prepare("SELECT max(version) FROM schema_version").pluck().get()
        database.close()
        return version
      }
      assert.deepStrictEqual(yield* control.state, { _tag: "Stopped" })
      const before = schema()
      const pid = yield* daemonFor(paths.root, databasePath)
      const state = yield* control.state
      assert.include(
        state._tag === "Busy" ? state.holder : state._tag,
        `process ${pid} (to end it: kill ${pid})`,
      )
      const error = yield* Effect.flip(upgrade())
      assert.include(error.message, `process ${pid}`)
      assert.strictEqual(schema(), before)
      // Where it comes into being after step 1 was asked, the data are not taken either.
      const lease = yield* (yield* RunLocks).acquire(yield* (yield* NpmInstaller).install, "upgrade")
      assert.strictEqual((yield* Effect.flip(lease.take(0, databasePath)))._tag, "LockBusy")
      yield* end(pid)
      yield* Effect.sleep("100 millis")
      yield* lease.take("1 second", databasePath)
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("is not confused with a program that reads, or with a start that waits", () =>
    Effect.gen(function* () {
      const { databasePath } = yield* place
      const { paths } = yield* DataDir
      yield* elsewhere(databasePath, "SELECT 1")
      const waiting = spawn(process.execPath, [
        "-e",
        "setInterval(() => {}, 1000)",
        "serve",
        "--data-dir",
        paths.root,
      ])
      yield* Effect.addFinalizer(() => end(waiting.pid ?? 0))
      assert.deepStrictEqual(yield* (yield* DaemonControl).state, { _tag: "Stopped" })
    }).pipe(Effect.provide(layerInstalled())),
  )
})

/** The daemon has the database open: without one there would be no log for a reader to be in. */
const open = (path: string) => Layer.build(layerDatabase({ path, create: false }))

describe.runIf(existsSync("/proc/locks"))("a program that reads the database in a transaction", () => {
  it.scopedLive("is seen with its name and process, and only while it does", () =>
    Effect.gen(function* () {
      const { databasePath, files } = yield* place
      const { paths } = yield* DataDir
      const alone = expectAlone(files, process, { database: databasePath, facts: paths.facts })
      yield* open(databasePath)
      yield* elsewhere(databasePath, "SELECT 1")
      assert.deepStrictEqual(yield* readersOf(files, databasePath, [process.pid]), [])
      const pid = yield* elsewhere(databasePath, READING)
      assert.deepStrictEqual(yield* readersOf(files, databasePath, [process.pid]), [{ pid, name: "node" }])
      const writer = yield* elsewhere(databasePath, "BEGIN IMMEDIATE")
      assert.sameMembers(
        (yield* readersOf(files, databasePath, [process.pid])).map((reader) => reader.pid),
        [pid, writer],
      )
      yield* Effect.all([end(pid), end(writer)])
      yield* alone
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("is warned of where it has it open outside of a transaction, and the upgrade goes on", () =>
    Effect.gen(function* () {
      const { databasePath } = yield* place
      const pid = yield* elsewhere(databasePath, "SELECT count(*) FROM agents")
      yield* upgrade({ dryRun: true })
      const warnings = (yield* Ref.get(yield* Heard)).flatMap((event) =>
        event._tag === "Warning" ? [event.text] : [],
      )
      assert.deepStrictEqual(warnings, [
        `node (process ${pid}) has the database open: what it writes while the upgrade runs is lost if that is undone; close it first`,
      ])
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("is not the daemon, whichever serves by now", () =>
    Effect.gen(function* () {
      const { databasePath, install, files } = yield* place
      const { paths } = yield* DataDir
      yield* install.startDaemon
      yield* open(databasePath)
      const pid = yield* elsewhere(databasePath, READING)
      const alone = expectAlone(files, process, { database: databasePath, facts: paths.facts })
      assert.deepStrictEqual((yield* Effect.flip(alone)).pids, [pid])
      const facts = JSON.parse(yield* files.readText(paths.facts))
      // Its supervisor has started it again while the other one was waited for.
      const restarted = Effect.delay(
        files.write(paths.facts, JSON.stringify({ ...facts, pid })),
        "300 millis",
      )
      yield* Effect.zipRight(alone, restarted, { concurrent: true })
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive(
    "keeps an upgrade and a rollback from beginning while the daemon serves, and --check says so",
    () =>
      Effect.gen(function* () {
        const { databasePath, install } = yield* place
        yield* upgrade()
        yield* Effect.gen(function* () {
          yield* install.startDaemon
          install.releases = [...install.releases, { version: "2.2.0", schema: 5 }]
          yield* open(databasePath)
          const pid = yield* elsewhere(databasePath, READING)
          const service = yield* Rollback
          const plan = yield* service.plan(Option.none())
          const package_ = yield* (yield* NpmInstaller).install
          const attempts = [
            Effect.flip(upgrade()),
            Effect.flip(service.run(plan, { restart: true, resumeSuspended: false })),
            Effect.flip((yield* UpgradeObstacle).expectNone(package_, databasePath)),
          ]
          for (const attempt of attempts) {
            const failed = yield* attempt
            const cause = failed._tag === "RunFailed" ? failed.cause : failed
            assert.strictEqual(cause._tag, "DatabaseInUse")
            assert.include(cause.message, `node (process ${pid})`)
            assert.include(cause.next, `kill ${pid}`)
          }
          assert.strictEqual(install.running(), "2.1.0")
          assert.isFalse(install.acts.includes("daemon 2.1.0 stops"))
        }).pipe((act) => asVersion("2.1.0", act))
      }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("that comes only in step 3 makes the upgrade go back within seconds, and is named", () =>
    Effect.gen(function* () {
      const { databasePath, install } = yield* place
      const scope = yield* Effect.scope
      const runner = yield* ProcessRunner
      yield* install.startDaemon
      yield* open(databasePath)
      let came = 0
      const comes = Effect.gen(function* () {
        if (came > 0) return
        came = yield* elsewhere(databasePath, READING).pipe(Scope.extend(scope))
        // What it does not see is what the checkpoint cannot bring in.
        yield* Effect.flatMap(SqlClient, (sql) => sql`UPDATE agents SET updated_at = 7`).pipe(
          Effect.provide(layerDatabase({ path: databasePath, create: false })),
          Effect.orDie,
        )
      })
      const context = yield* Effect.context<DurableFile>()
      const late = Layer.succeed(ProcessRunner, {
        ...runner,
        run: (options) =>
          options.input?.includes('"Checkpoint"') === true
            ? Effect.zipRight(Effect.provide(comes, context), runner.run(options))
            : runner.run(options),
      })
      const before = performance.now()
      const failed = yield* Effect.flip(
        upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), late))),
      )
      assert.isBelow(performance.now() - before, 10_000)
      assert.strictEqual(failed._tag === "RunFailed" ? failed.phase : "", "backup")
      assert.include(
        failed._tag === "RunFailed" ? failed.cause.message : "",
        `node (process ${came}) has a transaction open in it`,
      )
      assert.strictEqual(install.running(), "2.0.0")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("is named by a checkpoint that cannot end, within seconds", () =>
    Effect.gen(function* () {
      const { databasePath } = yield* place
      const { packageDir } = yield* Environment
      yield* open(databasePath)
      const pid = yield* elsewhere(databasePath, READING)
      yield* Effect.flatMap(SqlClient, (sql) => sql`UPDATE agents SET name = 'later'`).pipe(
        Effect.provide(layerDatabase({ path: databasePath, create: false })),
      )
      const before = performance.now()
      // In this process: the reader excludes the file, whoever asks.
      const error = yield* Effect.flip((yield* DatabaseTool).checkpoint(packageDir, databasePath))
      assert.isBelow(performance.now() - before, 4000)
      assert.include(error.message, `node (process ${pid}) has a transaction open in it`)
    }).pipe(Effect.provide(layerInstalled())),
  )
})
