/** What a rollback refuses while the daemon serves, and what it does with data that cannot be read. */
import * as FileSystem from "@effect/platform/FileSystem"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { rollbackPhases } from "@waiaas/domain/UpgradePhase"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { layerDatabase } from "@waiaas/services/Database"
import { migrate } from "@waiaas/services/Migrator"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { Rollback } from "@waiaas/services/Rollback"
import { SimulatedInstall, writePackage } from "@waiaas/services/testing/SimulatedInstall"
import { asVersion, contentOf, Heard } from "@waiaas/services/testing/SimulatedUpgrade"
import { agentIdOf, insertAgent } from "@waiaas/services/testing/TestDatabase"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import { recordWrittenBy } from "@waiaas/services/WrittenBy"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { layerInstalled, upgrade } from "./simulated.ts"

/** Upgraded to 2.1.0; no daemon runs. */
const upgradedAndStopped = Effect.gen(function* () {
  const install = yield* SimulatedInstall
  yield* upgrade()
  const { databasePath } = yield* (yield* ConfigFile).load
  return { install, databasePath, fs: yield* FileSystem.FileSystem }
})

/** Upgraded to 2.1.0, which serves. */
const upgraded = Effect.zipRight(
  Effect.flatMap(SimulatedInstall, ({ startDaemon }) => startDaemon),
  upgradedAndStopped,
)

const rollback = asVersion(
  "2.1.0",
  Effect.flatMap(Rollback, (service) =>
    Effect.flatMap(service.plan(Option.none()), (plan) =>
      service.run(plan, { restart: true, resumeSuspended: false }),
    ),
  ),
)

/** It fails in step 1, and the daemon has never stopped. */
const refused = Effect.gen(function* () {
  const { acts, running } = yield* SimulatedInstall
  const before = acts.length
  const failed = yield* Effect.flip(rollback)
  assert.strictEqual(running(), "2.1.0")
  assert.isFalse(acts.slice(before).some((act) => act.includes("stops")))
  return failed._tag === "RunFailed" ? failed.cause : failed
})

describe("a rollback", () => {
  const disk = { free: 1e12 }
  it.scopedLive("without room for its copies is refused while the daemon serves", () =>
    Effect.gen(function* () {
      yield* upgraded
      disk.free = 65 * 1024 * 1024
      assert.strictEqual((yield* refused)._tag, "NoSpace")
      disk.free = 1e12
      assert.strictEqual((yield* rollback).to, "2.0.0")
    }).pipe(Effect.provide(layerInstalled({ available: () => disk.free }))),
  )

  it.scopedLive("journals each of its steps once", () =>
    Effect.gen(function* () {
      yield* upgraded
      yield* rollback
      const run = Option.getOrThrow(yield* (yield* UpgradeJournal).latest)
      assert.deepStrictEqual(
        run.begun,
        rollbackPhases.map(({ name }) => name),
      )
      assert.deepStrictEqual(run.done, run.begun)
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive(
    "of a version that has not started yet is refused where its data would be newer than the backup",
    () =>
      Effect.gen(function* () {
        yield* upgraded
        yield* rollback
        // Of 2.0.0, which has served since; then 2.1.0 was installed by hand.
        const { databasePath } = yield* (yield* ConfigFile).load
        const writing = Effect.provide(layerDatabase({ path: databasePath, create: false }))
        const plan = asVersion(
          "2.1.0",
          Effect.flatMap(Rollback, (service) => service.plan(Option.none())),
        )
        yield* asVersion("2.0.0", recordWrittenBy(databasePath).pipe(writing, Effect.scoped))
        // Nothing was written: the backup is as good as the data.
        assert.strictEqual((yield* plan).backup.manifest.from, "2.0.0")
        yield* insertAgent("late").pipe(writing, Effect.scoped)
        const failed = yield* Effect.flip(plan)
        assert.strictEqual(failed._tag, "DataNotMigrated")
        assert.include(failed.message, "WAIaaS 2.1.0 has not started on these data: they are those of 2.0.0")
        assert.strictEqual(
          failed._tag === "DataNotMigrated" ? failed.next : "",
          "npm install --global @waiaas/cli@2.0.0",
        )
        const { backup } = yield* Effect.flatMap(
          Effect.flatMap(Backup, ({ list }) => list),
          (entries) =>
            asVersion(
              "2.1.0",
              Effect.flatMap(Rollback, (service) => service.plan(Option.fromNullable(entries[0]?.name))),
            ),
        )
        assert.strictEqual(backup.manifest.from, "2.0.0")
      }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("to a backup that is not there is refused by its name", () =>
    Effect.gen(function* () {
      yield* upgraded
      const planned = Effect.flatMap(Rollback, (service) => service.plan(Option.some("nowhere")))
      const failed = yield* Effect.flip(asVersion("2.1.0", planned))
      assert.deepStrictEqual([failed._tag, failed.message], ["NoBackup", "There is no backup named nowhere."])
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("names a newer backup that it passes over since it is damaged", () =>
    Effect.gen(function* () {
      const { fs } = yield* upgraded
      const { list } = yield* Backup
      const [entry] = yield* list
      const path = `${entry?.path}/waiaas.db`
      const bytes = Buffer.from(yield* fs.readFile(path))
      bytes.writeUInt8(bytes.readUInt8(5000) ^ 1, 5000)
      yield* fs.writeFile(path, bytes)
      assert.strictEqual((yield* refused)._tag, "NoBackup")
      const warnings = (yield* Ref.get(yield* Heard)).flatMap((event) =>
        event._tag === "Warning" ? [event.text] : [],
      )
      assert.include(
        warnings.join(),
        `backup ${entry?.name} is damaged (waiaas.db is not what was backed up)`,
      )
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("whose config.toml names another database is refused", () =>
    Effect.gen(function* () {
      const { fs, databasePath } = yield* upgraded
      const { paths } = yield* DataDir
      const moved = databasePath.replace("waiaas.db", "moved.db")
      yield* fs.copyFile(databasePath, moved)
      yield* fs.writeFileString(paths.config, `[database]\npath = ${JSON.stringify(moved)}\n`)
      const cause = yield* refused
      assert.strictEqual(cause._tag, "CandidateRefused")
      assert.include(cause.message, `has the database at ${databasePath}, today's is at ${moved}`)
      assert.include(cause.next, `to ${databasePath}`)
    }).pipe(Effect.provide(layerInstalled())),
  )

  const refusing = (refuses?: string) => [
    { version: "2.0.0", schema: 4, refuses },
    { version: "2.1.0", schema: 5 },
  ]

  it.scopedLive("asks the old code about the config.toml that comes back, not about today's", () =>
    Effect.gen(function* () {
      const { fs } = yield* upgraded
      const { paths } = yield* DataDir
      yield* fs.writeFileString(paths.config, "[daemon]\nport = 3100\nupdate_check = true\n")
      assert.strictEqual((yield* rollback).to, "2.0.0")
      assert.notInclude(yield* fs.readFileString(paths.config), "update_check")
    }).pipe(Effect.provide(layerInstalled({ releases: refusing("update_check") }))),
  )

  it.scopedLive("brings the backup's config.toml back where there is none today", () =>
    Effect.gen(function* () {
      const { fs } = yield* upgraded
      const { paths } = yield* DataDir
      const before = yield* fs.readFileString(paths.config)
      yield* fs.remove(paths.config)
      assert.strictEqual((yield* rollback).to, "2.0.0")
      assert.strictEqual(yield* fs.readFileString(paths.config), before)
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive(
    "is refused while the daemon serves where the old code cannot work with the backup's config.toml",
    () =>
      Effect.gen(function* () {
        const { install } = yield* upgraded
        install.releases = refusing("port")
        const cause = yield* refused
        assert.strictEqual(cause._tag, "CandidateRefused")
        assert.match(cause.message, /config.toml of backup pre-upgrade-\S+: port = x is not allowed/)
        assert.include(cause.next, "waiaas upgrade --rollback --backup")
      }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("to data of the same version is refused where its config.toml is not allowed", () =>
    Effect.gen(function* () {
      const { fs, databasePath } = yield* upgradedAndStopped
      const { paths } = yield* DataDir
      const { packageDir, version } = yield* Environment
      const today = yield* fs.readFileString(paths.config)
      yield* fs.writeFileString(paths.config, "[daemon]\nport = 0\n")
      const backups = yield* Backup
      const made = yield* backups.create({
        kind: "manual",
        source: "closed",
        database: databasePath,
        from: makeVersion("2.1.0"),
        to: version,
        packageDir,
      })
      yield* fs.writeFileString(paths.config, today)
      const failed = yield* asVersion(
        "2.1.0",
        Effect.flatMap(Rollback, (service) =>
          Effect.flatMap(service.plan(Option.some(made.name)), (plan) =>
            Effect.flip(service.run(plan, { restart: true, resumeSuspended: false })),
          ),
        ),
      )
      const cause = failed._tag === "RunFailed" ? failed.cause : failed
      assert.strictEqual(cause._tag, "CandidateRefused")
      assert.include(cause.message, `config.toml of backup ${made.name}: daemon.port = 0`)
    }).pipe(Effect.provide(layerInstalled())),
  )

  /** Overwrites bytes of a file. */
  const spoil = (fs: FileSystem.FileSystem, path: string, begin: number, end?: number) =>
    Effect.gen(function* () {
      const bytes = Buffer.from(yield* fs.readFile(path))
      bytes.fill(0x05, begin, end ?? bytes.length)
      yield* fs.writeFile(path, bytes)
      return bytes
    })

  const damages = [
    ["cannot be read", 4096, undefined, /malformed/],
    // The length of the list of free pages: only SQLite's check looks at it.
    ["can be read, but does not pass the check", 36, 40, null],
  ] as const
  for (const [name, begin, end, unreadable] of damages)
    it.scopedLive(`goes back from a database that ${name}, and keeps its files as they are`, () =>
      Effect.gen(function* () {
        const { fs, databasePath, install } = yield* upgradedAndStopped
        const bytes = yield* spoil(fs, databasePath, begin, end)
        const report = yield* asVersion(
          "2.1.0",
          Effect.gen(function* () {
            const service = yield* Rollback
            const plan = yield* service.plan(Option.none())
            if (unreadable === null) assert.isNull(plan.unreadable)
            else {
              assert.match(plan.unreadable ?? "", unreadable)
              assert.isNull(plan.changes)
            }
            return yield* service.run(plan, { restart: true, resumeSuspended: false })
          }),
        )
        assert.deepStrictEqual(yield* contentOf(databasePath), { names: ["alice"], schema: 4 })
        assert.strictEqual(yield* install.installed, "2.0.0")
        const entry = (yield* (yield* Backup).list).find((each) => each.name === report.aside)
        assert.include(entry?.problem, "not whole")
        assert.deepStrictEqual(Buffer.from(yield* fs.readFile(`${entry?.path}/waiaas.db`)), bytes)
      }).pipe(Effect.provide(layerInstalled())),
    )
})

describe("a rollback after npm itself has installed the new version, whose start migrated", () => {
  /** As `npm install --global` of 2.1.0 and its start leave it. */
  const byNpm = Effect.gen(function* () {
    const install = yield* SimulatedInstall
    const fs = yield* FileSystem.FileSystem
    const { databasePath } = yield* (yield* ConfigFile).load
    const { packageDir } = yield* Environment
    const made = yield* (yield* Backup).create({
      kind: "pre-migrate",
      source: "closed",
      database: databasePath,
      from: makeVersion("1.8.0"),
      to: makeVersion("2.1.0"),
      packageDir,
    })
    yield* fs.remove(packageDir, { recursive: true })
    yield* writePackage(fs, packageDir, { version: "2.1.0", schema: 5 })
    yield* migrate(databasePath).pipe(Effect.provide(layerDatabase({ path: databasePath, create: false })))
    return { install, databasePath, made }
  })
  const record = Effect.flatMap(ConfigFile, ({ load }) => load).pipe(
    Effect.flatMap(({ databasePath: path }) =>
      recordWrittenBy(path).pipe(Effect.provide(layerDatabase({ path, create: false }))),
    ),
  )

  it.scopedLive("brings back the data of that start's backup, and the version that wrote it from npm", () =>
    Effect.gen(function* () {
      yield* record
      const { install, databasePath } = yield* byNpm
      yield* install.startDaemon
      assert.strictEqual((yield* rollback).to, "2.0.0")
      assert.deepStrictEqual(yield* contentOf(databasePath), { names: ["alice"], schema: 4 })
      assert.strictEqual(yield* install.installed, "2.0.0")
      assert.strictEqual(install.running(), "2.0.0")
      assert.include(install.acts, "npm install 2.0.0")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("takes that backup and not an older one of an upgrade to the same version", () =>
    Effect.gen(function* () {
      yield* record
      yield* upgrade()
      yield* rollback
      const { databasePath: path } = yield* (yield* ConfigFile).load
      yield* insertAgent("bob").pipe(Effect.provide(layerDatabase({ path, create: false })))
      const { made } = yield* byNpm
      assert.strictEqual((yield* rollback).backup, made.name)
      assert.deepStrictEqual(yield* contentOf(path), { names: ["alice", "bob"], schema: 4 })
    }).pipe(Effect.provide(layerInstalled())),
  )
})

describe("what a rollback undoes", () => {
  const change = (statement: string) =>
    Effect.flatMap(ConfigFile, ({ load }) => load).pipe(
      Effect.flatMap(({ databasePath: path }) =>
        Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement)).pipe(
          Effect.provide(layerDatabase({ path, create: false })),
          Effect.scoped,
        ),
      ),
    )
  const add = (name: string) =>
    Effect.flatMap(ConfigFile, ({ load }) => load).pipe(
      Effect.flatMap(({ databasePath: path }) =>
        insertAgent(name).pipe(Effect.provide(layerDatabase({ path, create: false }))),
      ),
    )
  const suspend = (name: string) =>
    change(`UPDATE agents SET status = 'suspended', updated_at = 7 WHERE name = '${name}'`)
  const statusOf = (name: string) =>
    Effect.map(
      change(`SELECT status FROM agents WHERE name = '${name}'`),
      ([row]) => Object.values(row ?? {})[0],
    )
  const alice = [{ id: agentIdOf("alice"), name: "alice" }]

  for (const resumeSuspended of [false, true])
    it.scopedLive(
      `names an agent that was suspended since, which ${resumeSuspended ? "signs again where a flag says so" : "stays suspended"}`,
      () =>
        Effect.gen(function* () {
          yield* upgraded
          yield* suspend("alice")
          yield* asVersion(
            "2.1.0",
            Effect.gen(function* () {
              const service = yield* Rollback
              const plan = yield* service.plan(Option.none())
              assert.deepStrictEqual(plan.changes?.suspended, { count: 1, agents: alice })
              const report = yield* service.run(plan, { restart: true, resumeSuspended })
              assert.strictEqual(report.to, "2.0.0")
            }),
          )
          assert.strictEqual(yield* statusOf("alice"), resumeSuspended ? "active" : "suspended")
          const { databasePath } = yield* (yield* ConfigFile).load
          assert.strictEqual((yield* contentOf(databasePath)).schema, 4)
        }).pipe(Effect.provide(layerInstalled())),
    )

  it.scopedLive("is counted again after the question, and an agent suspended meanwhile stays suspended", () =>
    Effect.gen(function* () {
      yield* upgraded
      const report = yield* asVersion(
        "2.1.0",
        Effect.gen(function* () {
          const service = yield* Rollback
          const plan = yield* service.plan(Option.none())
          assert.deepStrictEqual([plan.changes?.added.count, plan.changes?.suspended.count], [0, 0])
          yield* add("bob")
          yield* suspend("alice")
          return yield* service.run(plan, { restart: true, resumeSuspended: false })
        }),
      )
      assert.deepStrictEqual(report.changes?.suspended, { count: 1, agents: alice })
      assert.deepStrictEqual(
        report.changes?.added.agents.map(({ name }) => name),
        ["bob"],
      )
      assert.strictEqual(yield* statusOf("alice"), "suspended")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("is refused where the backup is of another installation, whose agents have no key here", () =>
    Effect.gen(function* () {
      const { install } = yield* upgraded
      const backups = yield* Backup
      const { databasePath } = yield* (yield* ConfigFile).load
      const { packageDir } = yield* Environment
      const made = {
        source: "closed",
        database: databasePath,
        from: makeVersion("2.0.0"),
        packageDir,
      } as const
      // As that installation's database has it: its agent is not here.
      yield* add("stranger")
      yield* change("DELETE FROM agent_events")
      yield* change("DELETE FROM agents WHERE name = 'alice'")
      const { name } = yield* backups.create({ ...made, kind: "manual" })
      yield* change("DELETE FROM agent_events")
      yield* change("DELETE FROM agents")
      yield* add("alice")
      const planned = asVersion(
        "2.1.0",
        Effect.flatMap(Rollback, ({ plan }) => plan(Option.some(name))),
      )
      const failed = yield* Effect.flip(planned)
      assert.strictEqual(failed._tag, "BackupForeign")
      assert.include(failed.message, `Backup ${name} holds 1 agent, whose key is not in`)
      assert.strictEqual(install.running(), "2.1.0")
      // With one of this installation in it, the other one is named.
      yield* add("stranger")
      const mixed = yield* backups.create({ ...made, kind: "manual" })
      const plan = yield* asVersion(
        "2.1.0",
        Effect.flatMap(Rollback, (each) => each.plan(Option.some(mixed.name))),
      )
      assert.deepStrictEqual(
        [plan.ofBackup?.before, plan.ofBackup?.keyless.agents.map((agent) => agent.name)],
        [2, ["stranger"]],
      )
    }).pipe(Effect.provide(layerInstalled())),
  )
})

describe("links that an operator made of config.toml, the database, backups, keystore and upgrade", () => {
  it.scopedLive(
    "are still links after an upgrade, its undo and a rollback, and what they lead to is right",
    () =>
      Effect.gen(function* () {
        const { paths } = yield* DataDir
        const fs = yield* FileSystem.FileSystem
        const install = yield* SimulatedInstall
        const elsewhere = `${paths.root}-elsewhere`
        yield* fs.makeDirectory(elsewhere, { mode: 0o700 })
        const link = (path: string, name: string) =>
          Effect.zipRight(fs.rename(path, `${elsewhere}/${name}`), fs.symlink(`${elsewhere}/${name}`, path))
        const database = `${paths.data}/waiaas.db`
        const links = [paths.config, database, paths.backups, paths.keystore, paths.upgrade]
        for (const path of links) yield* link(path, path.slice(path.lastIndexOf("/") + 1))
        const { databasePath } = yield* (yield* ConfigFile).load
        assert.strictEqual(databasePath, `${elsewhere}/waiaas.db`)
        const areLinks = Effect.forEach(links, (path) => fs.readLink(path))
        const before = yield* fs.readFileString(paths.config)
        const { releases } = install
        install.releases = [
          { version: "2.0.0", schema: 4 },
          { version: "2.1.0", schema: 5, fault: "migrate-live" },
        ]
        yield* Effect.flip(upgrade())
        assert.strictEqual((yield* areLinks).length, 5)
        assert.deepStrictEqual(yield* contentOf(`${elsewhere}/waiaas.db`), { names: ["alice"], schema: 4 })
        install.releases = releases
        yield* upgrade()
        yield* fs.writeFileString(`${elsewhere}/config.toml`, "[daemon]\nport = 3200\n")
        assert.strictEqual((yield* rollback).to, "2.0.0")
        assert.strictEqual((yield* areLinks).length, 5)
        assert.deepStrictEqual(yield* contentOf(`${elsewhere}/waiaas.db`), { names: ["alice"], schema: 4 })
        assert.strictEqual(yield* fs.readFileString(`${elsewhere}/config.toml`), before)
        assert.deepStrictEqual(
          (yield* fs.readDirectory(elsewhere)).filter((name) => name.startsWith(".")),
          [],
        )
      }).pipe(Effect.provide(layerInstalled())),
  )
})

describe("a rollback's last step", () => {
  it.scopedLive(
    "is announced where no daemon is started, too; what a run of the same number put aside stays",
    () =>
      Effect.gen(function* () {
        const { fs, databasePath } = yield* upgradedAndStopped
        const aside = databasePath.replace("waiaas.db", ".failed-2")
        yield* fs.makeDirectory(aside)
        yield* fs.writeFileString(`${aside}/waiaas.db`, "of another run")
        assert.strictEqual((yield* rollback).running, false)
        const steps = (yield* Ref.get(yield* Heard)).flatMap((event) =>
          event._tag === "PhaseDone" ? [`${event.phase}: ${event.result}`] : [],
        )
        assert.strictEqual(steps.at(-1), "restart: not started")
        assert.strictEqual(yield* fs.readFileString(`${aside}-earlier-1/waiaas.db`), "of another run")
        assert.isFalse(yield* fs.exists(aside))
        assert.deepStrictEqual(yield* contentOf(databasePath), { names: ["alice"], schema: 4 })
      }).pipe(Effect.provide(layerInstalled())),
  )
})
