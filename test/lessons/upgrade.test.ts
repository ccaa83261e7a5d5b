/** Lessons of others about the upgrade itself; each test is named after its lesson. */
import { strict as assert } from "node:assert"
import { existsSync } from "node:fs"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { layerDatabase } from "@waiaas/services/Database"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { Rollback } from "@waiaas/services/Rollback"
import { RunFailed } from "@waiaas/services/RunEngine"
import { SimulatedInstall, type SimulatedRelease } from "@waiaas/services/testing/SimulatedInstall"
import { asVersion, contentOf } from "@waiaas/services/testing/SimulatedUpgrade"
import { insertAgent } from "@waiaas/services/testing/TestDatabase"
import { TestHttp } from "@waiaas/services/testing/TestHttp"
import { Upgrade } from "@waiaas/services/Upgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { repeatUntil } from "../support/daemon.mts"
import { layerInstallation } from "../support/layers.mts"

const r200: SimulatedRelease = { version: "2.0.0", schema: 4 }
const upgradeTo = (to?: string) =>
  Effect.flatMap(Upgrade, ({ run }) =>
    run({ to: Option.fromNullable(to), from: Option.none(), restart: true, dryRun: false }),
  )
const content = Effect.flatMap(
  Effect.flatMap(ConfigFile, ({ load }) => load),
  ({ databasePath }) => contentOf(databasePath),
)
/** The old version serves its own data, as if nothing had been tried. */
const expectOld = Effect.gen(function* () {
  const install = yield* SimulatedInstall
  assert.equal(install.running(), "2.0.0")
  assert.equal(yield* install.installed, "2.0.0")
  assert.deepEqual(yield* content, { names: ["alice"], schema: 4 })
})
const runFailed = (error: unknown): RunFailed => {
  assert.ok(error instanceof RunFailed, String(error))
  return error
}

it.effect("SIGTERM without waiting", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    const http = yield* TestHttp
    yield* install.startDaemon
    const state = yield* (yield* DaemonControl).state
    assert.ok(state._tag === "Running")
    // Its API does not answer, and it takes 3 s to end after the signal.
    http.respond = () => Effect.succeed(null)
    const signals: Array<string> = []
    const runner = yield* ProcessRunner
    const slow = Layer.succeed(ProcessRunner, {
      ...runner,
      signal: (pid, signal) => {
        signals.push(signal)
        return Effect.as(Effect.forkDaemon(Effect.delay(runner.signal(pid, signal), "3 seconds")), true)
      },
    })
    const stop = Effect.flatMap(DaemonControl, (control) => control.stop(state.facts))
    const stopping = yield* Effect.fork(stop.pipe(Effect.provide(DaemonControl.layer), Effect.provide(slow)))
    yield* repeatUntil(Effect.sync(() => signals.length > 0))
    yield* TestClock.adjust("2900 millis")
    assert.equal(stopping.unsafePoll(), null, "it waits while the process lives")
    yield* TestClock.adjust("200 millis")
    yield* Fiber.join(stopping)
    assert.deepEqual(signals, ["SIGTERM"])
    assert.equal(install.running(), null)
  }).pipe(Effect.provide(layerInstallation())),
)

it.scopedLive("registry older than installed downgrades silently", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    yield* install.startDaemon
    assert.deepEqual(yield* upgradeTo(), { _tag: "UpToDate", installed: "2.0.0", newest: "1.9.0" })
    // Asked for by name it is refused aloud, with the way back that exists.
    const refusal = yield* Effect.flip(upgradeTo("1.9.0"))
    assert.equal(refusal._tag, "CandidateRefused")
    assert.match((refusal as Error).message, /2\.0\.0 is installed and is newer/)
    assert.ok(!install.acts.some((act) => act.startsWith("npm install")), install.acts.join("; "))
    yield* expectOld
  }).pipe(Effect.provide(layerInstallation({ releases: [r200, { version: "1.9.0", schema: 4 }] }))),
)

it.scopedLive("`--to` accepts anything", () =>
  Effect.gen(function* () {
    const { acts } = yield* SimulatedInstall
    for (const bad of [
      "",
      " ",
      "2",
      "2.x",
      "^2.1.0",
      ">=2",
      "v2.1.0",
      "../evil",
      "-g",
      "a b",
      "x;rm -rf ~",
      "git+ssh://x",
      "2.1.0 ",
    ]) {
      const refusal = yield* Effect.flip(upgradeTo(bad))
      assert.equal(refusal._tag, "BadTarget", JSON.stringify(bad))
      assert.equal((refusal as { readonly exitCode?: number }).exitCode, 2)
    }
    assert.deepEqual(acts, [], "npm never sees it")
    const unknown = yield* Effect.flip(upgradeTo("9.9.9"))
    assert.equal(unknown._tag, "NpmFailed")
    assert.match(unknown.message, /http:\/\/registry\.test\/ has no 9\.9\.9; its newest is 2\.1\.0/)
    assert.deepEqual(acts, ["npm view 9.9.9", "npm view @waiaas/cli"])
  }).pipe(Effect.provide(layerInstallation())),
)

it.scopedLive("npm failure leaves the daemon stopped", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    yield* install.startDaemon
    const failed = runFailed(yield* Effect.flip(upgradeTo()))
    assert.equal(failed.cause._tag, "NpmFailed")
    assert.equal(failed.phase, "check")
    assert.match(failed.standing, /served all along/)
    assert.ok(!install.acts.some((act) => act.includes("stops")), "it was never stopped")
    yield* expectOld
  }).pipe(
    Effect.provide(layerInstallation({ releases: [r200, { version: "2.1.0", schema: 5, fault: "npm" }] })),
  ),
)

it.scopedLive("a wrong installed version still exits 0", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    yield* install.startDaemon
    const failed = runFailed(yield* Effect.flip(upgradeTo()))
    assert.equal(failed.cause._tag, "CandidateBroken")
    assert.match(failed.cause.message, /npm installed version 9\.9\.9/)
    assert.equal(failed.exitCode, 1)
    yield* expectOld
  }).pipe(
    Effect.provide(
      layerInstallation({ releases: [r200, { version: "2.1.0", schema: 5, fault: "version" }] }),
    ),
  ),
)

it.scopedLive('`--rollback` with the daemon running says "Restored" and restores nothing', () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    const { databasePath } = yield* (yield* ConfigFile).load
    yield* install.startDaemon
    yield* upgradeTo()
    assert.equal(install.running(), "2.1.0")
    yield* insertAgent("later").pipe(Effect.provide(layerDatabase({ path: databasePath, create: false })))
    const before = install.acts.length
    yield* asVersion(
      "2.1.0",
      Effect.gen(function* () {
        const rollback = yield* Rollback
        yield* rollback.run(yield* rollback.plan(Option.none()), { restart: true, resumeSuspended: false })
      }),
    )
    const daemons = install.acts.slice(before).filter((act) => act.startsWith("daemon"))
    assert.deepEqual(daemons, ["daemon 2.1.0 stops", "daemon 2.0.0 starts"])
    yield* expectOld
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("a process that got the daemon's PID is never signalled, even while the data lock is held", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    yield* install.startDaemon
    const state = yield* (yield* DaemonControl).state
    assert.ok(state._tag === "Running")
    const other = { ...state.facts, processStart: "another time" }
    yield* (yield* DaemonControl).stop(other)
    assert.ok(!install.acts.some((act) => act.startsWith("SIG")), install.acts.join("; "))
    assert.equal(install.running(), "2.0.0")
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect(
  "a daemon that cannot be proven is reported before anything is begun, not after the stop has failed",
  () =>
    Effect.gen(function* () {
      const install = yield* SimulatedInstall
      const { paths } = yield* DataDir
      yield* install.startDaemon
      yield* (yield* DurableFile).write(paths.facts, "{")
      const refusal = yield* Effect.flip(upgradeTo())
      assert.ok("_tag" in refusal && refusal._tag === "LockBusy", String(refusal))
      assert.equal(refusal.lock, "data")
      assert.equal(yield* install.installed, "2.0.0")
      assert.ok(Option.isNone(yield* (yield* UpgradeJournal).latest))
    }).pipe(Effect.provide(layerInstallation())),
)

it.scopedLive('another user\'s daemon is "not running"', () =>
  Effect.gen(function* () {
    const environment = yield* Environment
    const { paths } = yield* DataDir
    const mine = process.geteuid?.() ?? 0
    const checkAs = (uid: number) =>
      Effect.flatMap(DataDir, ({ check }) => check).pipe(
        Effect.provide(
          DataDir.layer(Option.some(paths.root)).pipe(
            Layer.provide(DurableFile.layer),
            Layer.provide(NodeFileSystem.layer),
            Layer.provide(Layer.succeed(Environment, { ...environment, uid })),
          ),
        ),
      )
    yield* checkAs(mine)
    const refusal = yield* Effect.flip(checkAs(mine + 1))
    assert.equal(refusal._tag, "OtherOwner")
    assert.match(refusal.message, new RegExp(`belongs to user ${mine}, you are user ${mine + 1}`))
    assert.equal(refusal.exitCode, 4)
  }).pipe(Effect.provide(layerInstallation())),
)

it.scopedLive("the migration's failure shows only after the old code is gone", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    yield* install.startDaemon
    const failed = runFailed(yield* Effect.flip(upgradeTo()))
    assert.deepEqual([failed.cause._tag, failed.phase], ["MigrationFailed", "check"])
    assert.ok(
      !install.acts.some((act) => act.includes("stops")),
      "the rehearsal found it while the daemon served",
    )
    const { paths } = yield* DataDir
    assert.ok(!existsSync(join(paths.upgrade, "rehearsal-1")))
    yield* expectOld
  }).pipe(
    Effect.provide(
      layerInstallation({ releases: [r200, { version: "2.1.0", schema: 5, fault: "migrate" }] }),
    ),
  ),
)

it.scopedLive("a migration that fails on the live data alone brings the old code and the old data back", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    yield* install.startDaemon
    const failed = runFailed(yield* Effect.flip(upgradeTo()))
    assert.deepEqual([failed.cause._tag, failed.phase, failed.exitCode], ["MigrationFailed", "migrate", 6])
    assert.match(failed.standing, /Everything was put back: WAIaaS 2\.0\.0/)
    yield* expectOld
  }).pipe(
    Effect.provide(
      layerInstallation({ releases: [r200, { version: "2.1.0", schema: 5, fault: "migrate-live" }] }),
    ),
  ),
)
