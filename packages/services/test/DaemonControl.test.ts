/** A signal reaches the process that it is meant for, or nobody. */

import * as FileSystem from "@effect/platform/FileSystem"
import { assert, it } from "@effect/vitest"
import { INSTANCE_HEADER } from "@waiaas/domain/DaemonFacts"
import { installOf } from "@waiaas/domain/Install"
import { DaemonControl, unsupervised } from "@waiaas/services/DaemonControl"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { RunLocks } from "@waiaas/services/RunLocks"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { TestHttp } from "@waiaas/services/testing/TestHttp"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerInstalled } from "./simulated.ts"

it("a daemon that a command starts has nothing of the supervisor that the command was below", () => {
  const kept = { PATH: "/bin", WAIAAS_DATA_DIR: "/data", LISTEN_ADDRESS: "x", pm: "x" }
  const inherited = {
    INVOCATION_ID: "a",
    SYSTEMD_EXEC_PID: "7",
    JOURNAL_STREAM: "8:9",
    NOTIFY_SOCKET: "/run/systemd/notify",
    WATCHDOG_USEC: "1",
    LISTEN_FDS: "1",
    pm_id: "0",
    PM2_HOME: "/root/.pm2",
    SUPERVISOR_ENABLED: "1",
    SUPERVISOR_PROCESS_NAME: "agent",
  }
  assert.deepStrictEqual(unsupervised({ ...inherited, ...kept }), kept)
})

it.scopedLive("that is what its process is started with", () =>
  Effect.gen(function* () {
    let given: Readonly<Record<string, string | undefined>> = { pm_id: "none was started" }
    const fake = Layer.succeed(ProcessRunner, {
      ...(yield* ProcessRunner),
      detach: ({ env }) =>
        Effect.sync(() => {
          given = env
          return 7
        }),
    })
    const environment = yield* Environment
    const below = Layer.succeed(Environment, {
      ...environment,
      variables: { ...environment.variables, pm_id: "0", SUPERVISOR_ENABLED: "1" },
    })
    yield* Effect.flatMap(DaemonControl, (daemon) => daemon.spawn("/package", "2.1.0")).pipe(
      Effect.provide(Layer.provide(DaemonControl.layer, [fake, below])),
    )
    assert.deepStrictEqual(given, { ...environment.variables })
  }).pipe(Effect.provide(layerInstalled())),
)

for (const isRecycled of [true, false])
  it.scopedLive(
    isRecycled
      ? "a daemon that is abandoned after its pid went to another process is not signalled"
      : "a daemon that is abandoned is ended",
    () =>
      Effect.gen(function* () {
        const signals: Array<string> = []
        let start: string | null = "its own"
        const runner = yield* ProcessRunner
        const fake = Layer.succeed(ProcessRunner, {
          ...runner,
          detach: () => Effect.succeed(7),
          identity: () => Effect.sync(() => Option.fromNullable(start)),
          signal: (pid, name) =>
            Effect.sync(() => {
              signals.push(`${name} ${pid}`)
              start = null
              return true
            }),
        })
        yield* Effect.gen(function* () {
          const daemon = yield* DaemonControl
          const spawned = yield* daemon.spawn("/package", "2.1.0")
          if (isRecycled) start = "another's"
          yield* daemon.abandon(spawned)
        }).pipe(Effect.provide(Layer.provide(DaemonControl.layer, fake)))
        assert.deepStrictEqual(signals, isRecycled ? [] : ["SIGTERM 7"])
      }).pipe(Effect.provide(layerInstalled())),
  )

it.scopedLive("a daemon of the same version that is another instance is not believed", () =>
  Effect.gen(function* () {
    const control = yield* DaemonControl
    const http = yield* TestHttp
    yield* (yield* SimulatedInstall).startDaemon
    const state = yield* control.state
    assert.ok(state._tag === "Running" && Option.isSome(state.health))
    const { facts } = state
    const { respond } = http
    let instance = facts.instance
    // The same answer to everything, but for whose it is.
    http.respond = (asked) =>
      Effect.map(respond(asked), (answer) =>
        answer === null ? null : { ...answer, headers: { ...answer.headers, [INSTANCE_HEADER]: instance } },
      )
    const healthy = control.waitHealthy({
      version: facts.version,
      schema: null,
      status: "ok",
      pid: null,
      limit: Duration.millis(300),
    })
    assert.strictEqual((yield* healthy).pid, facts.pid)
    instance = "f".repeat(32)
    const error = yield* Effect.flip(control.health(facts))
    assert.match(error.message, /is not the daemon of this data directory/)
    assert.match((yield* Effect.flip(healthy)).message, /no healthy answer within 0.3 s/)
  }).pipe(Effect.provide(layerInstalled())),
)

it.scopedLive("a run has the data only once no tool of a killed run works on it any more", () =>
  Effect.gen(function* () {
    const lock = yield* ExclusiveLock
    const { paths } = yield* DataDir
    const { packageDir } = yield* Environment
    const install = yield* Effect.fromNullable(installOf(packageDir, "/node"))
    const ended = yield* Deferred.make<void>()
    yield* (yield* FileSystem.FileSystem).writeFileString(paths.toolLock, "")
    const busy = Layer.succeed(ExclusiveLock, {
      ...lock,
      drain: (path) => (path === paths.toolLock ? Deferred.await(ended) : Effect.void),
    })
    yield* Effect.gen(function* () {
      const lease = yield* (yield* RunLocks).acquire(install, "a test")
      yield* Deferred.succeed(ended, undefined).pipe(Effect.delay("300 millis"), Effect.forkScoped)
      const [took] = yield* Effect.timed(lease.take("1 second", `${paths.data}/waiaas.db`))
      assert.isAtLeast(Duration.toMillis(took), 200)
    }).pipe(Effect.provide(Layer.provide(RunLocks.layer, busy)))
  }).pipe(Effect.provide(layerInstalled())),
)

it.scopedLive(
  "a daemon that a supervisor has started is not waited for once nobody has the data any more",
  () =>
    Effect.gen(function* () {
      const daemon = yield* DaemonControl
      const options = { version: "2.0.0", schema: null, status: "ok", pid: null } as const
      const [took, failed] = yield* Effect.timed(Effect.flip(daemon.waitHealthy(options)))
      assert.include(failed.message, "ended before it was healthy")
      assert.isBelow(Duration.toSeconds(took), 10)
    }).pipe(Effect.provide(layerInstalled())),
)
