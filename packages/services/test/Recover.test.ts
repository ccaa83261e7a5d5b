/** One test per recovery action: what it finds, what it leaves. Their crashes are the simulation's matter. */
import { assert, describe, test } from "@effect/vitest"
import { RecoveryAction } from "@waiaas/domain/UpgradePhase"
import { Backup } from "@waiaas/services/Backup"
import { Recover } from "@waiaas/services/Recover"
import { resumeDaemon } from "@waiaas/services/testing/SimulatedDaemon"
import { readDocument } from "@waiaas/services/testing/SimulatedDatabase"
import { takesSpace } from "@waiaas/services/testing/SimulatedFileSystem"
import {
  codeIn,
  commandIn,
  database,
  dataDir,
  hidden,
  install,
  NEW,
  OLD,
  writeFile,
} from "@waiaas/services/testing/SimulatedPackage"
import { SimulatedProcess } from "@waiaas/services/testing/SimulatedWorld"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import {
  cutOff,
  facts,
  from,
  machine,
  mustRun,
  outcomeOf,
  recover,
  swapped,
  to,
  writePackage,
} from "./machine.ts"

const tested: Partial<Record<RecoveryAction, true>> = {}
const action = (name: RecoveryAction, says: string, act: () => void) => {
  tested[name] = true
  test(`${name}: ${says}`, act)
}

describe("Recover", () => {
  action("remove-staging", "nothing was touched, nothing is left", () => {
    const world = machine()
    mustRun(world, cutOff({ phase: "check" }))
    writePackage(world.disk, hidden.stagedPackage(1), NEW)
    writeFile(world.disk, `${dataDir}/upgrade/reserve`, "0", 0o600)
    writeFile(world.disk, `${dataDir}/upgrade/rehearsal-1/rehearsal.db`, "{}", 0o600)
    writeFile(world.disk, hidden.pointer, "{}", 0o644)
    assert.deepStrictEqual(outcomeOf(mustRun(world, recover())), {
      undone: ["remove-staging"],
      outcome: "untouched",
    })
    for (const path of [
      hidden.staging(1),
      hidden.pointer,
      `${dataDir}/upgrade/reserve`,
      `${dataDir}/upgrade/rehearsal-1`,
    ])
      assert.isNull(world.disk.node(path), path)
  })

  action("start-old-daemon", "the old version serves again", () => {
    const world = machine()
    mustRun(world, cutOff({ phase: "stop", daemon: facts }))
    assert.deepStrictEqual(outcomeOf(mustRun(world, recover())), {
      undone: ["start-old-daemon", "remove-staging"],
      outcome: "old",
    })
    assert.deepStrictEqual(
      world.daemons().map(({ version, serving }) => ({ version, serving })),
      [{ version: OLD, serving: "ok" }],
    )
  })

  test("start-old-daemon: not where the caller becomes the daemon itself", () => {
    const world = machine()
    mustRun(world, cutOff({ phase: "stop", daemon: facts }))
    mustRun(world, recover(false))
    assert.lengthOf(world.daemons(), 0)
  })

  action("remove-partial-backup", "the unfinished one goes, the whole ones stay", () => {
    const world = machine()
    mustRun(world, cutOff({ phase: "backup" }))
    writeFile(world.disk, `${dataDir}/backups/.partial-x/waiaas.db`, "{}", 0o600)
    writeFile(world.disk, `${dataDir}/backups/manual-x/waiaas.db`, "{}", 0o600)
    assert.include(mustRun(world, recover()).undone, "remove-partial-backup")
    assert.deepStrictEqual(world.disk.list(`${dataDir}/backups`), ["manual-x"])
  })

  action("put-old-package-back", "the package and the command are the old ones again", () => {
    const world = machine()
    mustRun(world, Effect.zipRight(cutOff({ phase: "update" }), swapped(world)))
    assert.strictEqual(codeIn(world.disk, install.packageDir)?.version, NEW)
    assert.include(mustRun(world, recover()).undone, "put-old-package-back")
    assert.deepStrictEqual(commandIn(world.disk), { version: OLD, packageDir: install.packageDir })
  })

  action("restore-data", "the backup's own copy is in place, without the newer log", () => {
    const world = machine()
    const created = Effect.flatMap(Backup, (backup) =>
      backup.create({
        kind: "pre-upgrade",
        source: "closed",
        database,
        from,
        to,
        packageDir: install.packageDir,
      }),
    )
    const { name } = mustRun(world, created)
    mustRun(world, cutOff({ phase: "migrate", facts: { backup: name, schemaFrom: 4, schemaTo: 5 } }))
    mustRun(world, swapped(world))
    writeFile(world.disk, `${database}-wal`, `${JSON.stringify({ schema: 5, rows: [] })}\n`, 0o600)
    assert.include(mustRun(world, recover()).undone, "restore-data")
    assert.deepStrictEqual(readDocument(world.disk, database), { schema: 4, rows: ["row"] })
    assert.isNull(world.disk.node(`${database}-wal`))
    const [entry] = mustRun(
      world,
      Effect.flatMap(Backup, ({ list }) => list),
    )
    assert.match(entry?.problem ?? "", /used up/)
  })

  action("stop-new-daemon", "the new version is stopped before its data goes", () => {
    const world = machine()
    mustRun(world, cutOff({ phase: "restart" }))
    writeFile(world.disk, `${dataDir}/upgrade/data.lock`, "", 0o600)
    resumeDaemon(world, {
      pid: 300,
      version: NEW,
      packageDir: install.packageDir,
      serving: "ok",
      schema: 5,
      run: null,
    })
    writeFile(world.disk, `${dataDir}/daemon.json`, JSON.stringify({ ...facts, version: NEW }), 0o600)
    assert.include(mustRun(world, recover()).undone, "stop-new-daemon")
    assert.lengthOf(world.daemons(), 0)
  })

  action("finish-commit", "what is committed goes forward: command, daemon, no leftovers", () => {
    const world = machine()
    mustRun(
      world,
      Effect.zipRight(cutOff({ phase: "restart", daemon: facts, committed: true }), swapped(world)),
    )
    writeFile(world.disk, database, JSON.stringify({ schema: 5, rows: ["row"] }), 0o600)
    assert.deepStrictEqual(outcomeOf(mustRun(world, recover())), {
      undone: ["finish-commit"],
      outcome: "new",
    })
    assert.deepStrictEqual(commandIn(world.disk), { version: NEW, packageDir: install.packageDir })
    assert.isNull(world.disk.node(hidden.outgoing(1)))
    assert.deepStrictEqual(
      world.daemons().map(({ version }) => version),
      [NEW],
    )
  })

  action("resume-rollback", "data and code from before the upgrade, together", () => {
    const world = machine()
    writePackage(world.disk, hidden.retained(OLD), OLD)
    for (const directory of [install.packageDir, hidden.retained(NEW)])
      writePackage(world.disk, directory, NEW)
    writePackage(world.disk, hidden.stagedPackage(1), OLD)
    writeFile(world.disk, database, JSON.stringify({ schema: 5, rows: ["row", "later"] }), 0o600)
    writeFile(
      world.disk,
      `${dataDir}/data/.restore-1-waiaas.db`,
      JSON.stringify({ schema: 4, rows: ["row"] }),
      0o600,
    )
    mustRun(
      world,
      cutOff({ kind: "rollback", phase: "aside", facts: { schemaTo: 4 }, daemon: facts, committed: true }),
    )
    assert.deepStrictEqual(outcomeOf(mustRun(world, recover())), {
      undone: ["resume-rollback"],
      outcome: "new",
    })
    assert.deepStrictEqual(commandIn(world.disk), { version: OLD, packageDir: install.packageDir })
    const { schema, rows } = readDocument(world.disk, database)
    assert.strictEqual(schema, 4)
    assert.notInclude(rows, "later")
    assert.deepStrictEqual(
      world.daemons().map(({ version }) => version),
      [OLD],
    )
  })

  test("restore-data: while another process has the data it is a pause, and nothing of it was touched", () => {
    const world = machine()
    const { name } = mustRun(
      world,
      Effect.flatMap(Backup, (backup) =>
        backup.create({
          kind: "pre-upgrade",
          source: "closed",
          database,
          from,
          to,
          packageDir: install.packageDir,
        }),
      ),
    )
    mustRun(world, cutOff({ phase: "migrate", facts: { backup: name, schemaFrom: 4, schemaTo: 5 } }))
    mustRun(world, swapped(world))
    const migrated = JSON.stringify({ schema: 5, rows: ["row", "later"] })
    writeFile(world.disk, database, migrated, 0o600)
    const lock = `${dataDir}/upgrade/data.lock`
    const other = new SimulatedProcess(world, world.newPid(), "command", {
      version: OLD,
      packageDir: install.packageDir,
    })
    world.processes.push(other)
    writeFile(world.disk, lock, "", 0o600)
    world.locks.set(lock, other)
    const paused = mustRun(world, Effect.flip(recover()))
    assert.strictEqual(paused._tag, "RecoveryPaused")
    assert.strictEqual(world.disk.file(database).content.text, migrated)
    assert.isNotNull(world.disk.node(`${dataDir}/backups/${name}/waiaas.db`))
    world.kill(other)
    assert.include(mustRun(world, recover()).undone, "restore-data")
    assert.deepStrictEqual(readDocument(world.disk, database), { schema: 4, rows: ["row"] })
  })

  describe("what ran before is running at the end of a recovery", () => {
    const instance = "0300".padStart(32, "0")
    const before = { ...facts, instance }
    /** What a daemon that was killed leaves. */
    const killed = (world: ReturnType<typeof machine>, version = OLD) =>
      writeFile(world.disk, `${dataDir}/daemon.json`, JSON.stringify({ ...before, version }), 0o600)
    const versions = (world: ReturnType<typeof machine>) => world.daemons().map(({ version }) => version)

    test("though the run was cut off in step 1, together with its daemon", () => {
      const world = machine()
      killed(world)
      mustRun(world, cutOff({ phase: "check", daemon: before }))
      const recovered = mustRun(world, recover())
      assert.deepStrictEqual([recovered.ended?.outcome, recovered.ended?.daemon], ["untouched", "another"])
      assert.deepStrictEqual(versions(world), [OLD])
    })

    test("though an earlier recovery had started it, and was killed with it", () => {
      const world = machine()
      killed(world)
      mustRun(
        world,
        Effect.flatMap(UpgradeJournal, (journal) =>
          Effect.flatMap(cutOff({ phase: "stop", daemon: before }), (run) =>
            journal.append(run, { _tag: "ActionDone", action: "start-old-daemon" }),
          ),
        ),
      )
      assert.strictEqual(mustRun(world, recover()).ended?.daemon, "another")
      assert.deepStrictEqual(versions(world), [OLD])
    })

    test("though the finish of a commit had started it, and was killed with it", () => {
      const world = machine()
      killed(world, NEW)
      mustRun(
        world,
        Effect.zipRight(cutOff({ phase: "restart", daemon: before, committed: true }), swapped(world)),
      )
      writeFile(world.disk, database, JSON.stringify({ schema: 5, rows: ["row"] }), 0o600)
      const done = Effect.flatMap(UpgradeJournal, (journal) =>
        Effect.flatMap(Effect.map(journal.latest, Option.getOrThrow), (run) =>
          journal.append(run, { _tag: "ActionDone", action: "finish-commit" }),
        ),
      )
      mustRun(world, done)
      assert.strictEqual(mustRun(world, recover()).ended?.daemon, "another")
      assert.deepStrictEqual(versions(world), [NEW])
    })

    test("though the daemon that was asked to stop takes long to end, and still answers", () => {
      const world = machine()
      killed(world)
      writeFile(world.disk, `${dataDir}/upgrade/data.lock`, "", 0o600)
      const survivor = { version: OLD, packageDir: install.packageDir, serving: "ok", schema: 4 } as const
      resumeDaemon(world, { ...survivor, pid: 300, run: null })
      world.run(() => world.daemons()[0]?.onStop != null)
      const [daemon] = world.daemons()
      assert.isDefined(daemon)
      daemon.onStop = () => {
        world.after(3000, () => world.kill(daemon))
        daemon.onStop = () => {}
      }
      mustRun(
        world,
        Effect.flatMap(UpgradeJournal, (journal) =>
          Effect.flatMap(cutOff({ phase: "stop", daemon: before }), (run) =>
            journal.append(run, { _tag: "Stopping", daemon: before }),
          ),
        ),
      )
      daemon.onStop()
      mustRun(world, recover())
      const later = world.time + 10_000
      world.after(10_000, () => {})
      world.run(() => world.time >= later)
      assert.deepStrictEqual(
        world.daemons().map(({ pid, serving }) => [pid === 300, serving]),
        [[false, "ok"]],
      )
    })

    test("unless it was stopped in order: then it is said that none does", () => {
      const world = machine()
      mustRun(world, cutOff({ phase: "check", daemon: before }))
      assert.strictEqual(mustRun(world, recover()).ended?.daemon, "none")
      assert.lengthOf(world.daemons(), 0)
    })

    test("unless it cannot be started: then it is said that none does, and the recovery ends", () => {
      const world = machine()
      killed(world)
      mustRun(world, cutOff({ phase: "check", daemon: before }))
      world.judge = ({ kind }) => (kind === "spawn" ? "dies" : null)
      assert.strictEqual(mustRun(world, recover()).ended?.daemon, "none")
    })
  })

  test("every action has its test", () => {
    assert.deepStrictEqual(Object.keys(tested).sort(), [...RecoveryAction.literals].sort())
  })

  test("a cause that stays is a pause with exit code 7, and once it is gone the recovery ends", () => {
    const world = machine()
    mustRun(world, Effect.zipRight(cutOff({ phase: "update" }), swapped(world)))
    world.judge = ({ kind, what }) =>
      kind === "rename" && what.includes(install.packageDir) ? "EROFS" : null
    const failure = mustRun(world, Effect.flip(recover()))
    assert.strictEqual("exitCode" in failure ? failure.exitCode : null, 7)
    assert.strictEqual("action" in failure ? failure.action : null, "put the old package back")
    world.judge = null
    const newest = Effect.map(
      Effect.flatMap(UpgradeJournal, ({ latest }) => latest),
      Option.getOrThrow,
    )
    const { paused } = mustRun(world, newest)
    assert.strictEqual(paused?.action, "put the old package back")
    assert.match(paused?.cause ?? "", /EROFS/)
    assert.strictEqual(mustRun(world, recover()).ended?.outcome, "old")
    assert.isNull(mustRun(world, newest).paused)
    assert.strictEqual(commandIn(world.disk)?.version, OLD)
  })

  test("a full disk is no cause to pause: the reserve is given back before anything needs space", () => {
    const world = machine()
    mustRun(world, Effect.zipRight(cutOff({ phase: "update", daemon: facts }), swapped(world)))
    const reserve = `${dataDir}/upgrade/reserve`
    for (const path of [hidden.lock, `${dataDir}/upgrade/run.lock`, `${dataDir}/upgrade/data.lock`])
      writeFile(world.disk, path, "", 0o600)
    writeFile(world.disk, reserve, "0", 0o600)
    const refused: Array<string> = []
    world.judge = ({ what }) => {
      if (!takesSpace(world.disk, what) || world.disk.node(reserve) === null) return null
      refused.push(what)
      return "ENOSPC"
    }
    assert.strictEqual(mustRun(world, recover()).ended?.outcome, "old")
    assert.isNotEmpty(refused)
    assert.deepStrictEqual(
      refused.filter((what) => !what.includes(".holder.json")),
      [],
    )
    assert.strictEqual(commandIn(world.disk)?.version, OLD)
    assert.lengthOf(world.daemons(), 1)
  })

  test("what the journal says decides, not what the caller remembers", () => {
    const world = machine()
    const remembered = mustRun(world, cutOff({ phase: "restart" }))
    mustRun(world, swapped(world))
    writeFile(world.disk, database, JSON.stringify({ schema: 5, rows: ["row"] }), 0o600)
    mustRun(
      world,
      Effect.flatMap(UpgradeJournal, (journal) => journal.commit(remembered)),
    )
    const lease = { take: () => Effect.void, release: Effect.void }
    const recovered = mustRun(
      world,
      Effect.flatMap(Recover, (service) => service.execute(remembered, lease, { startDaemon: false })),
    )
    assert.strictEqual(recovered.ended?.outcome, "new")
    assert.strictEqual(commandIn(world.disk)?.version, NEW)
  })
})
