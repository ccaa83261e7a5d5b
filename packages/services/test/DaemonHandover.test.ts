/** What ran before a run is running at its end, whatever happens to the daemon and to its supervisor meanwhile. */
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { DaemonStartFailed } from "@waiaas/domain/RunErrors"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { DaemonHandover } from "@waiaas/services/DaemonHandover"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { Heard, layerUpgradeServices } from "@waiaas/services/testing/SimulatedUpgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { layerInstalled, upgrade } from "./simulated.ts"

const warnings = Effect.gen(function* () {
  const events = yield* Ref.get(yield* Heard)
  return events.flatMap((event) => (event._tag === "Warning" ? [event.text] : []))
})
const startsOf = (acts: ReadonlyArray<string>) => acts.filter((act) => /^daemon .* starts$/.test(act))

describe("a daemon whose supervisor is to start it", () => {
  const options = Effect.gen(function* () {
    const { databasePath, digest } = yield* (yield* ConfigFile).load
    return {
      packageDir: (yield* Environment).packageDir,
      version: "2.0.0",
      supervisor: "pm2",
      patience: 1,
      schema: 4,
      status: "ok",
      database: databasePath,
      configDigest: digest,
    } as const
  })

  it.scopedLive(
    "is started by us where that start does not come within seconds, and the operator reads so",
    () =>
      Effect.gen(function* () {
        const { acts } = yield* SimulatedInstall
        const [took, started] = yield* Effect.timed(
          Effect.flatMap(DaemonHandover, ({ start }) => Effect.flatMap(options, start)),
        )
        assert.strictEqual(started.version, "2.0.0")
        assert.isBelow(Duration.toSeconds(took), 10)
        assert.deepStrictEqual(startsOf(acts), ["daemon 2.0.0 starts"])
        assert.match(
          (yield* warnings).join("\n"),
          /^pm2 did not start it within 1 s: this command starts it\./,
        )
      }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("is not started by us where its start comes", () =>
    Effect.gen(function* () {
      const install = yield* SimulatedInstall
      yield* Effect.forkScoped(Effect.delay(install.startDaemon, "300 millis"))
      yield* Effect.flatMap(DaemonHandover, ({ start }) => Effect.flatMap(options, start))
      assert.deepStrictEqual(startsOf(install.acts), ["daemon 2.0.0 starts"])
      assert.deepStrictEqual(yield* warnings, [])
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("is not started with another configuration than it had", () =>
    Effect.gen(function* () {
      const given = { ...(yield* options), configDigest: "another" }
      const failed = yield* Effect.flip(Effect.flatMap(DaemonHandover, ({ start }) => start(given)))
      assert.include(failed.message, "another configuration")
      assert.strictEqual(failed.next, "Start it with pm2.")
      assert.deepStrictEqual(startsOf((yield* SimulatedInstall).acts), [])
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("is not waited for once its starts have ended three times before it was healthy", () =>
    Effect.gen(function* () {
      const [lock, daemon] = [yield* ExclusiveLock, yield* DaemonControl]
      const problem = "it ended before it was healthy"
      let looks = 0
      let starts = 0
      // Each start comes, has the data, and is gone when that is asked again.
      const supervised = Layer.mergeAll(
        Layer.succeed(ExclusiveLock, { ...lock, isHeld: () => Effect.sync(() => looks++ % 2 === 0) }),
        Layer.succeed(DaemonControl, {
          ...daemon,
          waitHealthy: ({ version }) =>
            Effect.suspend(() => {
              starts += 1
              return new DaemonStartFailed({ version, problem, logFile: "/log" })
            }),
        }),
      )
      const failed = yield* Effect.flatMap(options, (given) =>
        Effect.flip(Effect.flatMap(DaemonHandover, ({ start }) => start(given))),
      ).pipe(Effect.provide(Layer.provide(DaemonHandover.layer, supervised)))
      assert.include(failed.message, problem)
      assert.strictEqual(starts, 3)
      assert.deepStrictEqual(startsOf((yield* SimulatedInstall).acts), [])
    }).pipe(Effect.provide(layerInstalled())),
  )
})

describe("a held daemon that is killed", () => {
  const moments = ["before the commit", "after the commit", "after the commit's announcement"] as const
  for (const moment of moments)
    it.scopedLive(`${moment} is started again, and the upgrade ends well within seconds`, () =>
      Effect.gen(function* () {
        const install = yield* SimulatedInstall
        yield* install.startDaemon
        const journal = yield* UpgradeJournal
        const killing = Layer.succeed(UpgradeJournal, {
          ...journal,
          commit: (run) =>
            moment === "before the commit"
              ? Effect.zipRight(install.killDaemon, journal.commit(run))
              : moment === "after the commit"
                ? Effect.zipLeft(journal.commit(run), install.killDaemon)
                : journal.commit(run),
          announce: (run) =>
            moment === "after the commit's announcement"
              ? Effect.zipLeft(journal.announce(run), install.killDaemon)
              : journal.announce(run),
        })
        const [took, report] = yield* Effect.timed(
          upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), killing))),
        )
        assert.strictEqual(report._tag === "Upgraded" && report.running, true)
        assert.strictEqual(install.running(), "2.1.0")
        assert.isBelow(Duration.toSeconds(took), 20)
        const starts = ["daemon 2.0.0 starts", "daemon 2.1.0 starts", "daemon 2.1.0 starts"]
        assert.deepStrictEqual(startsOf(install.acts), starts)
      }).pipe(Effect.provide(layerInstalled())),
    )
})

describe("a daemon that ends in step 1", () => {
  /** Something happens while npm stages the new version. */
  const whileStaging = (act: Effect.Effect<unknown>) =>
    Effect.map(ProcessRunner, (runner) =>
      Layer.succeed(ProcessRunner, {
        ...runner,
        run: (options) =>
          options.args.includes("install") ? Effect.zipRight(act, runner.run(options)) : runner.run(options),
      }),
    )
  const upgradeWhile = (act: Effect.Effect<unknown>) =>
    Effect.flatMap(whileStaging(act), (runner) =>
      upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), runner))),
    )

  it.scopedLive(
    "and comes back is stopped in step 2 though it is another process, and the new one runs",
    () =>
      Effect.gen(function* () {
        const install = yield* SimulatedInstall
        yield* install.startDaemon
        const report = yield* upgradeWhile(Effect.zipRight(install.killDaemon, install.startDaemon))
        assert.strictEqual(report._tag === "Upgraded" && report.running, true)
        assert.deepStrictEqual(
          install.acts.filter((act) => act.startsWith("daemon")),
          [
            "daemon 2.0.0 starts",
            "daemon 2.0.0 is killed",
            "daemon 2.0.0 starts",
            "daemon 2.0.0 stops",
            "daemon 2.1.0 starts",
          ],
        )
        const run = Option.getOrThrow(yield* (yield* UpgradeJournal).latest)
        assert.notStrictEqual(run.daemon?.pid, run.started.daemon?.pid)
      }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("and was not there when the run began is stopped in step 2, and the new one runs", () =>
    Effect.gen(function* () {
      const install = yield* SimulatedInstall
      const report = yield* upgradeWhile(install.startDaemon)
      assert.strictEqual(report._tag === "Upgraded" && report.running, true)
      assert.strictEqual(install.running(), "2.1.0")
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("and stays away counts as downtime from its end on; the new one runs", () =>
    Effect.gen(function* () {
      const install = yield* SimulatedInstall
      yield* install.startDaemon
      const report = yield* upgradeWhile(Effect.zipRight(install.killDaemon, Effect.sleep("2 seconds")))
      assert.strictEqual(install.running(), "2.1.0")
      assert.isAbove(report._tag === "Upgraded" ? (report.downtime ?? 0) : 0, 1.7)
    }).pipe(Effect.provide(layerInstalled())),
  )

  const failing = {
    releases: [
      { version: "2.0.0", schema: 4 },
      { version: "2.1.0", schema: 5, fault: "npm" },
    ],
  } as const
  const standingAfter = (act: Effect.Effect<unknown>) =>
    Effect.map(Effect.flip(upgradeWhile(act)), (failed) =>
      failed._tag === "RunFailed" ? failed.standing : failed._tag,
    )

  it.scopedLive("of an upgrade that fails there did serve all along only if it did", () =>
    Effect.gen(function* () {
      const install = yield* SimulatedInstall
      yield* install.startDaemon
      assert.match(yield* standingAfter(Effect.void), /served all along\.$/)
    }).pipe(Effect.provide(layerInstalled(failing))),
  )

  it.scopedLive("of an upgrade that fails there is started again where it was killed", () =>
    Effect.gen(function* () {
      const install = yield* SimulatedInstall
      yield* install.startDaemon
      assert.match(yield* standingAfter(install.killDaemon), /ended meanwhile.*2\.0\.0 serves again\.$/)
      assert.strictEqual(install.running(), "2.0.0")
    }).pipe(Effect.provide(layerInstalled(failing))),
  )

  it.scopedLive(
    "of an upgrade that fails there stays stopped where it was stopped, and the operator reads so",
    () =>
      Effect.gen(function* () {
        const install = yield* SimulatedInstall
        const fs = yield* FileSystem.FileSystem
        const { paths } = yield* DataDir
        yield* install.startDaemon
        const stopped = Effect.zipRight(install.killDaemon, Effect.orDie(fs.remove(paths.facts)))
        assert.match(yield* standingAfter(stopped), /^Nothing was changed\. No daemon runs: /)
        assert.isNull(install.running())
      }).pipe(Effect.provide(layerInstalled(failing))),
  )
})
