/** What an upgrade says, and what its steps verify, with simulated processes over real files and SQLite. */
import { dirname, join } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { hiddenPaths } from "@waiaas/domain/Install"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { layerDatabase } from "@waiaas/services/Database"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { Rollback } from "@waiaas/services/Rollback"
import { KEY_FILE, SimulatedInstall, sealedKeyOf } from "@waiaas/services/testing/SimulatedInstall"
import {
  asVersion,
  Heard,
  layerSimulated,
  layerUpgradeServices,
} from "@waiaas/services/testing/SimulatedUpgrade"
import { agentIdOf } from "@waiaas/services/testing/TestDatabase"
import { Upgrade } from "@waiaas/services/Upgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import { UpgradeObstacle } from "@waiaas/services/UpgradeObstacle"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { layerInstalled, upgrade } from "./simulated.ts"

describe("step 1", () => {
  it.scopedLive("is announced before npm is asked, and says what npm fails with", () =>
    Effect.gen(function* () {
      const heard = yield* Heard
      const runner = yield* ProcessRunner
      const asked: Array<string> = []
      const offline = Layer.succeed(ProcessRunner, {
        ...runner,
        run: (options) =>
          options.args.includes("view")
            ? Effect.zipRight(
                Effect.map(Ref.get(heard), (events) => asked.push(...events.map(({ _tag }) => _tag))),
                Effect.succeed({ exitCode: 1, signal: null, stdout: "", stderr: "npm error code ENOTFOUND" }),
              )
            : runner.run(options),
      })
      const failed = yield* Effect.flip(
        upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), offline))),
      )
      assert.strictEqual(failed._tag, "NpmFailed")
      assert.deepStrictEqual(asked, ["PhaseStarted"])
      assert.deepStrictEqual(
        (yield* Ref.get(heard)).map(({ _tag }) => _tag),
        ["PhaseStarted", "PhaseFailed"],
      )
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("says what the rehearsal measured: to the operator, in the report and in the journal", () =>
    Effect.gen(function* () {
      const report = yield* upgrade({ dryRun: true })
      const estimate = report._tag === "Rehearsed" ? report.estimate : null
      assert.isAbove(estimate?.bytes ?? 0, 4096)
      // A second for the stop and the start, and what was measured, in tenths of one.
      assert.isAtLeast(estimate?.downtime ?? 0, 1)
      assert.isBelow(estimate?.downtime ?? 0, 15)
      const run = Option.getOrThrow(yield* (yield* UpgradeJournal).latest)
      assert.deepStrictEqual(run.facts.estimate, estimate)
      const heard = yield* Ref.get(yield* Heard)
      const done = heard.find((event) => event._tag === "PhaseDone" && event.phase === "check")
      assert.match(
        done?._tag === "PhaseDone" ? done.result : "",
        /^schema 4 -> 5 rehearsed, expected downtime about \d+\.\d s, \d+ kB of data$/,
      )
    }).pipe(Effect.provide(layerInstalled())),
  )
})

describe("a dry run", () => {
  it.scopedLive("leaves nothing of itself beside the package, and what was there before as it was", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { packageDir } = yield* Environment
      const hidden = hiddenPaths(join(dirname(dirname(packageDir)), ".waiaas"))
      yield* upgrade({ dryRun: true })
      assert.isFalse(yield* fs.exists(hidden.retainedAll))
      yield* fs.makeDirectory(hidden.retained("2.0.0"), { recursive: true })
      yield* upgrade({ dryRun: true })
      assert.deepStrictEqual(yield* fs.readDirectory(hidden.retainedAll), ["2.0.0"])
      assert.deepStrictEqual(yield* fs.readDirectory(hidden.retained("2.0.0")), [])
      const left = (yield* fs.readDirectory(dirname(hidden.retainedAll))).filter(
        (name) => !name.startsWith("install."),
      )
      assert.deepStrictEqual(left, ["retained"])
    }).pipe(Effect.provide(layerInstalled())),
  )
})

describe("the downtime", () => {
  it.scopedLive("is measured, also where the time of day is set meanwhile", () =>
    Effect.gen(function* () {
      yield* (yield* SimulatedInstall).startDaemon
      const environment = yield* Environment
      let looks = 0
      const backwards = Layer.succeed(Environment, {
        ...environment,
        now: Effect.sync(() => 1_800_000_000_000 - 3_600_000 * looks++),
      })
      const report = yield* upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), backwards)))
      const downtime = report._tag === "Upgraded" ? report.downtime : null
      assert.isAbove(downtime ?? -1, 0)
      assert.isBelow(downtime ?? -1, 60)
    }).pipe(Effect.provide(layerInstalled())),
  )
})

type Asked = ReturnType<ProcessRunner["Type"]["run"]>

describe("a daemon that is not to be started again", () => {
  it.scopedLive("is missed by nobody: there is no downtime to report", () =>
    Effect.gen(function* () {
      yield* (yield* SimulatedInstall).startDaemon
      const { run } = yield* Upgrade
      const report = yield* run({ to: Option.none(), from: Option.none(), restart: false, dryRun: false })
      assert.deepInclude(report, { _tag: "Upgraded", downtime: null, running: false })
    }).pipe(Effect.provide(layerInstalled())),
  )
})

describe("the sealed keys", () => {
  const damage = Effect.gen(function* () {
    const { paths } = yield* DataDir
    const path = join(paths.keystore, KEY_FILE)
    yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.writeFileString(path, "seaied"))
    return path
  })

  it.scopedLive("are opened by the running, by the staged and by the installed code, and counted", () =>
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const { packageDir } = yield* Environment
      const opened: Array<string> = []
      const seen = Layer.succeed(ProcessRunner, {
        ...runner,
        run: (options) => {
          if (options.input?.includes("dataDir"))
            opened.push(options.args[0]?.startsWith(packageDir) ? "in place" : "staged")
          else if (options.args.includes("install")) opened.push("npm")
          return runner.run(options)
        },
      })
      yield* upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), seen)))
      assert.deepStrictEqual(opened, ["in place", "npm", "staged", "in place"])
      const done = (yield* Ref.get(yield* Heard)).find(
        (event) => event._tag === "PhaseDone" && event.phase === "verify",
      )
      assert.strictEqual(done?._tag === "PhaseDone" ? done.result : "", "1 agent, 1 key open")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive(
    "that agents lack are named by name in step 1, in step 6 and by --check, also where there are keys of no agent",
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const { paths } = yield* DataDir
        const { databasePath } = yield* (yield* ConfigFile).load
        const obstacles = yield* UpgradeObstacle
        const orphan = join(paths.keystore, `${agentIdOf("nobody")}.json`)
        yield* fs.writeFileString(orphan, sealedKeyOf("nobody"))
        assert.strictEqual(yield* obstacles.agentsWithoutKey(databasePath), null)
        yield* fs.remove(join(paths.keystore, `${agentIdOf("bob")}.json`))
        const words = "1 of 3 agents cannot sign, its sealed key is missing or damaged (bob)"
        const advice = `${words}: put ${paths.keystore} back from your own copy`
        assert.strictEqual(yield* obstacles.agentsWithoutKey(databasePath), advice)
        yield* upgrade()
        const heard = yield* Ref.get(yield* Heard)
        assert.deepInclude(heard, { _tag: "Warning", text: advice })
        const done = heard.find((event) => event._tag === "PhaseDone" && event.phase === "verify")
        assert.strictEqual(
          done?._tag === "PhaseDone" ? done.result : "",
          `3 agents, 2 keys open, 1 key of no agent, ${words}`,
        )
      }).pipe(Effect.provide(layerInstalled({ agents: ["alice", "bob", "carol"] }))),
  )

  it.scopedLive("that are damaged already are named and keep no upgrade from its end, nor a rollback", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { paths } = yield* DataDir
      yield* damage
      // Of no agent.
      const nobody = agentIdOf("nobody")
      yield* fs.writeFileString(join(paths.keystore, `${nobody}.json`), "seaied")
      yield* upgrade()
      const heard = yield* Ref.get(yield* Heard)
      const silent = "1 of 1 agent cannot sign, its sealed key is missing or damaged (alice)"
      assert.deepInclude(heard, {
        _tag: "Warning",
        text: `${silent}; 1 sealed key of no agent is damaged (${nobody}): put ${paths.keystore} back from your own copy`,
      })
      const done = heard.find((event) => event._tag === "PhaseDone" && event.phase === "verify")
      assert.strictEqual(done?._tag === "PhaseDone" ? done.result : "", `1 agent, 0 keys open, ${silent}`)
      const { ofBackup } = yield* asVersion(
        "2.1.0",
        Effect.flatMap(Rollback, (rollback) => rollback.plan(Option.none())),
      )
      assert.deepStrictEqual(
        ofBackup?.keyless.agents.map(({ name }) => name),
        ["alice"],
      )
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("of another public key than the agent's are named as those of agents that cannot sign", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { paths } = yield* DataDir
      const { databasePath } = yield* (yield* ConfigFile).load
      yield* fs.writeFileString(join(paths.keystore, KEY_FILE), sealedKeyOf("somebody else"))
      assert.include(
        yield* (yield* UpgradeObstacle).agentsWithoutKey(databasePath),
        "1 of 1 agent cannot sign, its sealed key is missing or damaged (alice)",
      )
      yield* upgrade()
      const done = (yield* Ref.get(yield* Heard)).find(
        (event) => event._tag === "PhaseDone" && event.phase === "verify",
      )
      assert.include(done?._tag === "PhaseDone" ? done.result : "", "0 keys open, 1 key of no agent")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("that the staged version cannot open are a reason to refuse it in step 1", () =>
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const fewer = Layer.succeed(ProcessRunner, {
        ...runner,
        run: (options) =>
          options.input?.includes("Describe")
            ? Effect.map(runner.run(options), (result) => ({
                ...result,
                stdout: result.stdout.replace('"keys":1', '"keys":0'),
              }))
            : runner.run(options),
      })
      const failed = yield* Effect.flip(
        upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), fewer))),
      )
      const cause = failed._tag === "RunFailed" ? failed.cause : failed
      assert.strictEqual(cause._tag, "CandidateBroken")
      assert.include(cause.message, "it opens 0 of the 1 sealed keys that 2.0.0 opens")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("are given the more time the more there are", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const { paths } = yield* DataDir
      const runner = yield* ProcessRunner
      for (let n = 100; n < 300; n++)
        yield* fs.writeFileString(
          join(paths.keystore, KEY_FILE.replace(/.{12}\.json$/, `000000000${n}.json`)),
          sealedKeyOf("nobody"),
        )
      const limits: Array<number> = []
      const timed = Layer.succeed(ProcessRunner, {
        ...runner,
        run: (options) => {
          if (options.input?.includes("dataDir")) limits.push(Duration.toSeconds(options.timeout))
          return runner.run(options)
        },
      })
      yield* upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), timed)))
      // By the old code, by the staged one and by the one in place: 60 s, and 30 ms for each of the 201.
      assert.strictEqual(limits.length, 3)
      for (const limit of limits) assert.isAtLeast(limit, 66)
    }).pipe(Effect.provide(layerInstalled())),
  )

  /** Another runner, as soon as the new code in place is asked. */
  const whenVerified = (change: (asked: Asked) => Asked) =>
    Effect.map(ProcessRunner, (runner) =>
      Layer.succeed(ProcessRunner, {
        ...runner,
        run: (options) =>
          options.input?.includes("dataDir") && options.input.includes("Examine")
            ? change(runner.run(options))
            : runner.run(options),
      }),
    )

  it.scopedLive("that the new code passes over make an upgrade go back", () =>
    Effect.gen(function* () {
      const fewer = yield* whenVerified(
        Effect.map((result) => ({ ...result, stdout: result.stdout.replace('"open":1', '"open":0') })),
      )
      const failed = yield* Effect.flip(
        upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), fewer))),
      )
      assert.include(
        failed._tag === "RunFailed" ? failed.cause.message : failed.message,
        "the number of sealed keys that open should be 1 but is 0",
      )
      assert.strictEqual(yield* (yield* SimulatedInstall).installed, "2.0.0")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("that the new code cannot open make an upgrade go back", () =>
    Effect.gen(function* () {
      const context = yield* Effect.context<DataDir | FileSystem.FileSystem>()
      let looks = 0
      // Between the hash of step 3 and the look of step 6, which is the second one.
      const damaging = yield* whenVerified((asked) =>
        Effect.zipRight(
          Effect.suspend(() => (++looks === 2 ? Effect.orDie(Effect.provide(damage, context)) : Effect.void)),
          asked,
        ),
      )
      const failed = yield* Effect.flip(
        upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), damaging))),
      )
      assert.strictEqual(failed._tag === "RunFailed" ? failed.cause._tag : "", "VerificationFailed")
      assert.strictEqual(yield* (yield* SimulatedInstall).installed, "2.0.0")
    }).pipe(Effect.provide(layerInstalled())),
  )
})

describe("a migration that sets every agent active and drops its owner, undeclared", () => {
  const statements = ["UPDATE agents SET status = 'active', owner_address = NULL"]
  const releases = (onlyLive: boolean) => [
    { version: "2.0.0", schema: 4 },
    { version: "2.1.0", schema: 5, undeclared: { statements, onlyLive } },
  ]
  /** A suspended agent with an owner, in a database that nobody has open afterwards. */
  const suspended = Effect.gen(function* () {
    const { databasePath } = yield* (yield* ConfigFile).load
    const open = layerDatabase({ path: databasePath, create: false })
    const sql = (text: string) =>
      Effect.flatMap(SqlClient, (client) => client.unsafe(text)).pipe(Effect.provide(open))
    yield* sql("UPDATE agents SET status = 'suspended', owner_address = '0xowner'")
    return sql("SELECT status, owner_address FROM agents")
  })
  const words =
    /should be what it declares and nothing else but is this too: .*agents\.status changed in 1 row \(alice\); agents\.owner_address changed in 1 row \(alice\)/

  for (const [title, onlyLive, phase] of [
    ["is refused by the rehearsal, while the daemon serves", false, "check"],
    ["on the live data alone is undone by the verification", true, "verify"],
  ] as const)
    it.scopedLive(title, () =>
      Effect.gen(function* () {
        const install = yield* SimulatedInstall
        const agents = yield* suspended
        yield* install.startDaemon
        const failed = yield* Effect.flip(upgrade())
        assert.deepStrictEqual(failed._tag === "RunFailed" ? failed.phase : "", phase)
        assert.match(failed._tag === "RunFailed" ? failed.cause.message : failed.message, words)
        assert.deepStrictEqual(yield* agents, [{ status: "suspended", owner_address: "0xowner" }])
        assert.strictEqual(install.running(), "2.0.0")
        assert.strictEqual(install.acts.includes("daemon 2.0.0 stops"), onlyLive)
      }).pipe(Effect.provide(layerInstalled({ releases: releases(onlyLive) }))),
    )
})

describe("a config.toml that is edited while an upgrade runs", () => {
  for (const [when, isMoment, stops] of [
    [
      "during step 1 is refused while the daemon serves",
      (input: string) => input.includes("rehearsal"),
      false,
    ],
    ["after it makes the upgrade go back", (input: string) => input.includes("quick"), true],
  ] as const)
    it.scopedLive(when, () =>
      Effect.gen(function* () {
        const { paths } = yield* DataDir
        const fs = yield* FileSystem.FileSystem
        const install = yield* SimulatedInstall
        yield* install.startDaemon
        const runner = yield* ProcessRunner
        const edit = Effect.orDie(
          fs.writeFileString(paths.config, '[daemon]\nport = 3100\nlog_level = "debug"\n'),
        )
        const editing = Layer.succeed(ProcessRunner, {
          ...runner,
          run: (options) =>
            options.input !== undefined && isMoment(options.input)
              ? Effect.zipLeft(runner.run(options), edit)
              : runner.run(options),
        })
        const failed = yield* Effect.flip(
          upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), editing))),
        )
        assert.strictEqual(failed._tag === "RunFailed" ? failed.cause._tag : failed._tag, "ConfigChanged")
        assert.strictEqual(install.running(), "2.0.0")
        assert.strictEqual(install.acts.includes("daemon 2.0.0 stops"), stops)
      }).pipe(Effect.provide(layerInstalled())),
    )
})

describe("a candidate that", () => {
  /** The answer of the new code to a request, changed. */
  const answering = (isAsked: (input: string) => boolean, change: (asked: Asked) => Asked) =>
    Effect.map(ProcessRunner, (runner) =>
      Layer.succeed(ProcessRunner, {
        ...runner,
        run: (options) =>
          options.input !== undefined && isAsked(options.input)
            ? change(runner.run(options))
            : runner.run(options),
      }),
    )

  it.scopedLive("rewrites a file of the keystore is undone", () =>
    Effect.gen(function* () {
      const { paths } = yield* DataDir
      const fs = yield* FileSystem.FileSystem
      const rewriting = yield* answering(
        (input) => input.includes('"Migrate"') && !input.includes("rehearsal"),
        (asked) =>
          // It opens as before, and every key is there.
          Effect.zipLeft(
            asked,
            Effect.orDie(fs.writeFileString(join(paths.keystore, "master.json"), "sealed")),
          ),
      )
      const failed = yield* Effect.flip(
        upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), rewriting))),
      )
      assert.include(
        failed._tag === "RunFailed" ? failed.cause.message : failed.message,
        "the keystore should be the files from before the upgrade but is changed",
      )
      assert.strictEqual(yield* (yield* SimulatedInstall).installed, "2.0.0")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("declares a change of a kind that this version cannot verify is refused in step 1", () =>
    Effect.gen(function* () {
      const install = yield* SimulatedInstall
      const later = yield* answering(
        (input) => input.includes('"Migrate"'),
        Effect.map((result) => ({
          ...result,
          stdout: result.stdout.replace('"changes":[', '"changes":[{"_tag":"TableSplit","table":"agents"},'),
        })),
      )
      const failed = yield* Effect.flip(
        upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), later))),
      )
      const cause = failed._tag === "RunFailed" ? failed.cause : failed
      assert.strictEqual(cause._tag, "CandidateRefused")
      assert.include(cause.message, "a change of a kind that 2.0.0 cannot verify (TableSplit)")
      assert.isFalse(install.acts.includes("daemon 2.0.0 stops"))
    }).pipe(Effect.provide(layerInstalled())),
  )
})

/** This machine's files, where a package that is moved into place turns out to be 9.9.9. */
const layerOther = (isOther: () => boolean) =>
  layerSimulated().pipe(
    Layer.provideMerge(
      Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (fs) => ({
          ...fs,
          rename: (from, to) =>
            Effect.tap(fs.rename(from, to), () =>
              isOther() && from.includes("/staging-") && to.endsWith("/@waiaas/cli")
                ? fs.writeFileString(`${to}/package.json`, '{"version":"9.9.9"}')
                : Effect.void,
            ),
        })),
      ).pipe(Layer.provide(NodeFileSystem.layer)),
    ),
  )

describe("the version in place", () => {
  it.scopedLive("is verified by an upgrade, which goes back", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.flip(upgrade())
      assert.include(
        failed._tag === "RunFailed" ? failed.cause.message : failed.message,
        "the version of the package in place should be 2.1.0 but is 9.9.9",
      )
      assert.strictEqual(yield* (yield* SimulatedInstall).installed, "2.0.0")
    }).pipe(Effect.provide(layerOther(() => true))),
  )

  let isRollback = false
  it.scopedLive("is verified by a rollback, which pauses", () =>
    Effect.gen(function* () {
      yield* upgrade()
      isRollback = true
      const failed = yield* asVersion(
        "2.1.0",
        Effect.flatMap(Rollback, (service) =>
          Effect.flatMap(service.plan(Option.none()), (plan) =>
            Effect.flip(service.run(plan, { restart: true, resumeSuspended: false })),
          ),
        ),
      )
      assert.include(
        failed._tag === "RunFailed" ? failed.cause.message : failed.message,
        "the version of the package in place should be 2.0.0 but is 9.9.9",
      )
      assert.strictEqual(failed.exitCode, 7)
    }).pipe(Effect.provide(layerOther(() => isRollback))),
  )
})

describe("a new version that does not start", () => {
  const releases = [
    { version: "2.0.0", schema: 4 },
    { version: "2.1.0", schema: 5, fault: "start" },
  ] as const
  it.scopedLive("is undone, and its output is named where the old daemon's start has moved it", () =>
    Effect.gen(function* () {
      yield* (yield* SimulatedInstall).startDaemon
      const failed = yield* Effect.flip(upgrade())
      const { paths } = yield* DataDir
      assert.strictEqual(failed.exitCode, 6)
      assert.strictEqual(failed.next, `Read the end of ${paths.logs}/daemon.out.log.1.`)
    }).pipe(Effect.provide(layerInstalled({ releases }))),
  )
})
