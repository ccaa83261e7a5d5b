/** Which process is asked, signalled, killed and waited for, and for how long: on a machine without a real one. */
import { assert, describe, it } from "@effect/vitest"
import { DaemonFacts, INSTANCE_HEADER } from "@waiaas/domain/DaemonFacts"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile, type EffectiveConfig } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { ProcessFailed, ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import { type Answer, json, TestHttp } from "@waiaas/services/testing/TestHttp"
import { layerFiles } from "@waiaas/services/testing/TestVersionCheck"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

const facts: DaemonFacts = {
  format: 1,
  pid: 7,
  processStart: "its own",
  instance: "a".repeat(32),
  version: makeVersion("2.0.0"),
  hostname: "127.0.0.1",
  port: 3100,
  supervisor: null,
  packageDir: "/p",
  configDigest: "",
  shutdownTimeout: 30,
  startedAt: 0,
}
const token = "5".repeat(64)
const [factsFile, tokenFile, log] = ["/data/daemon.json", "/data/api.token", "/data/logs/daemon.out.log"]
const healthOf = (more: object = {}) => ({
  status: "ok",
  version: "2.0.0",
  latestVersion: null,
  updateAvailable: false,
  schemaVersion: 4,
  uptime: 1,
  timestamp: 1,
  ...more,
})
const healthy = (more: object = {}, instance = facts.instance) =>
  json(healthOf(more), { [INSTANCE_HEADER]: instance })

/** A clock that begins at 0, and is at the next sleeper's time as soon as nobody else is at work. */
const virtualClock = Effect.clockWith((real) =>
  Effect.sync((): Clock.Clock => {
    let now = 0
    let sleepers: Array<{ readonly at: number; readonly wake: () => void }> = []
    let turns = 0
    const turn = () => {
      // Enough turns of the loop for whatever is under way, such as the body of an answer.
      if (++turns < 4) return void setImmediate(turn)
      turns = 0
      const [next] = sleepers.toSorted((one, other) => one.at - other.at)
      if (next === undefined) return
      sleepers = sleepers.filter((each) => each !== next)
      now = next.at
      next.wake()
      if (sleepers.length > 0) setImmediate(turn)
    }
    const sleep = (time: Duration.Duration) =>
      Effect.async<void>((resume) => {
        const sleeper = { at: now + Duration.toMillis(time), wake: () => resume(Effect.void) }
        if (sleepers.length === 0) setImmediate(turn)
        sleepers = [...sleepers, sleeper]
        return Effect.sync(() => {
          sleepers = sleepers.filter((each) => each !== sleeper)
        })
      })
    return Object.create(real, {
      sleep: { value: sleep },
      currentTimeMillis: { value: Effect.sync(() => now) },
      unsafeCurrentTimeMillis: { value: () => now },
    })
  }),
)

type Health = Answer | null | "never"

/** A machine whose daemon has the data; a test changes it before and while something is done. */
class Machine {
  files = new Map([
    [factsFile, JSON.stringify(Schema.encodeSync(DaemonFacts)(facts))],
    [tokenFile, `${token}\n`],
  ])
  /** Start times of the processes that live. */
  processes = new Map([[7, "its own"]])
  locked = true
  health: Health = healthy()
  /** The status of its answer to a stop, and what it does then. */
  shutdown: { status: number; act?: () => void } = { status: 202, act: () => this.processes.delete(7) }
  whenAskedForHealth: () => void = () => {}
  whenSignalled: (signal: string) => void = () => {}
  /** Whole seconds since the start, and what was done. */
  acts: Array<string> = []
  detached: Array<unknown> = []
  detach: number | string | FileFailed = 8

  note(act: string) {
    return Effect.map(
      Clock.currentTimeMillis,
      (now) => void this.acts.push(`${Math.round(now / 1000)} ${act}`),
    )
  }
  factsAre(more: Partial<DaemonFacts>) {
    this.files.set(factsFile, JSON.stringify({ ...facts, ...more }))
  }

  get layer() {
    const answer = (asked: { method: string; url: string; headers: Readonly<Record<string, string>> }) =>
      Effect.gen(this, function* () {
        if (asked.method === "GET") {
          this.whenAskedForHealth()
          return this.health === "never" ? yield* Effect.never : this.health
        }
        const path = new URL(asked.url).pathname
        yield* this.note(`${path} ${asked.headers.authorization === `Bearer ${token}`}`)
        this.shutdown.act?.()
        return { status: this.shutdown.status }
      })
    return DaemonControl.layer.pipe(
      Layer.provideMerge(DataDir.layer(Option.some("/data"))),
      Layer.provide(
        Layer.mergeAll(
          Layer.succeed(ExclusiveLock, {
            isHeld: (path: string) => Effect.sync(() => path === "/data/upgrade/data.lock" && this.locked),
            holder: () => Effect.succeed(Option.some({ what: "a backup", pid: 9, since: 0 })),
          } as unknown as ExclusiveLock["Type"]),
          Layer.succeed(ProcessRunner, {
            identity: (pid) => Effect.sync(() => Option.fromNullable(this.processes.get(pid))),
            signal: (pid, signal) =>
              Effect.tap(Effect.succeed(true), () =>
                Effect.map(this.note(`${signal} ${pid}`), () => this.whenSignalled(signal)),
              ),
            detach: (options) => {
              this.detached.push(options)
              return typeof this.detach === "number"
                ? Effect.succeed(this.detach)
                : typeof this.detach === "string"
                  ? new ProcessFailed({ command: options.command, reason: "other", output: this.detach })
                  : this.detach
            },
            run: () => Effect.die("nothing is run"),
            about: () => Effect.die("nothing is asked"),
          }),
          Layer.succeed(ConfigFile, {
            load: Effect.succeed({ databasePath: "/data/data/waiaas.db" } as EffectiveConfig),
          }),
          Layer.fresh(TestHttp.layer(answer)),
        ),
      ),
      Layer.provideMerge(
        Layer.effect(
          DurableFile,
          Effect.map(DurableFile, (real) => ({
            ...real,
            readTextIfThere: (path: string) => Effect.sync(() => Option.fromNullable(this.files.get(path))),
            readAnyTextIfThere: (path: string) =>
              Effect.sync(() => Option.fromNullable(this.files.get(path))),
          })),
        ),
      ),
      Layer.provideMerge(DurableFile.layer),
      Layer.provideMerge(
        Layer.merge(layerFiles({}), layerEnvironment({ node: "/node", variables: { HOME: "/home/op" } })),
      ),
    )
  }

  /** Does it, with a clock that moves on whenever there is nothing else to do; gives the seconds, too. */
  run<A, E>(act: (control: DaemonControl["Type"]) => Effect.Effect<A, E>) {
    return Effect.gen(this, function* () {
      const clock = yield* virtualClock
      const result = yield* Effect.either(Effect.flatMap(DaemonControl, act)).pipe(Effect.withClock(clock))
      return { result, seconds: clock.unsafeCurrentTimeMillis() / 1000 }
    }).pipe(Effect.provide(this.layer))
  }
}
const failureOf = <A, E>(
  result: { readonly _tag: "Left"; left: E } | { readonly _tag: "Right"; right: A },
) => (result._tag === "Left" ? result.left : assert.fail("it succeeded"))

describe("a stop", () => {
  const stopped = (machine: Machine) => machine.run((control) => control.stop(facts))

  it.live("asks the daemon with its token, and signals nobody that ends of it", () =>
    Effect.gen(function* () {
      const machine = new Machine()
      assert.strictEqual((yield* stopped(machine)).result._tag, "Right")
      assert.deepStrictEqual(machine.acts, ["0 /v1/daemon/shutdown true"])
      const gone = new Machine()
      gone.processes.clear()
      assert.strictEqual((yield* stopped(gone)).result._tag, "Right")
      assert.deepStrictEqual(gone.acts, [])
    }),
  )

  it.live("signals where the request is refused, or the token is none", () =>
    Effect.gen(function* () {
      const refused = new Machine()
      refused.shutdown = { status: 500 }
      refused.whenSignalled = () => refused.processes.clear()
      yield* stopped(refused)
      assert.deepStrictEqual(refused.acts, ["0 /v1/daemon/shutdown true", "0 SIGTERM 7"])
      const damaged = new Machine()
      damaged.files.set(tokenFile, "no token")
      damaged.whenSignalled = () => damaged.processes.clear()
      yield* stopped(damaged)
      assert.deepStrictEqual(damaged.acts, ["0 SIGTERM 7"])
    }),
  )

  it.live("sends a stranger on its port nothing, and the daemon a signal", () =>
    Effect.gen(function* () {
      for (const health of [healthy({}, "b".repeat(32)), json(healthOf()), { status: 404 }, null] as const) {
        const machine = new Machine()
        machine.health = health
        machine.whenSignalled = () => machine.processes.clear()
        yield* stopped(machine)
        assert.deepStrictEqual(machine.acts, ["0 SIGTERM 7"])
      }
    }),
  )

  it.live("neither asks nor signals a process that got the pid while it asked", () =>
    Effect.gen(function* () {
      const machine = new Machine()
      machine.whenAskedForHealth = () => machine.processes.set(7, "another's")
      assert.strictEqual((yield* stopped(machine)).result._tag, "Right")
      assert.deepStrictEqual(machine.acts, [])
    }),
  )

  it.live("kills the daemon after its own limit and five seconds, and gives up five seconds later", () =>
    Effect.gen(function* () {
      const stubborn = new Machine()
      stubborn.shutdown = { status: 202 }
      stubborn.whenSignalled = () => stubborn.processes.clear()
      assert.strictEqual((yield* stopped(stubborn)).result._tag, "Right")
      assert.strictEqual(stubborn.acts.length, 2)
      const [at, signal] = (stubborn.acts[1] ?? "").split(" ")
      assert.strictEqual(signal, "SIGKILL")
      assert.closeTo(Number(at), 35, 0.1)
      const immortal = new Machine()
      immortal.shutdown = { status: 202 }
      const { result, seconds } = yield* stopped(immortal)
      const failed = failureOf(result)
      assert.ok(failed._tag === "DaemonStopTimeout")
      assert.strictEqual(failed.waited, 35)
      assert.include(failed.message, "did not die")
      assert.closeTo(seconds, 40, 0.1)
    }),
  )

  it.live("kills nobody that is not proven to be the daemon, by lock, pid and start", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [string, (machine: Machine) => void, string]> = [
        ["without the lock", (machine) => (machine.locked = false), "no longer holds the data lock"],
        ["of another pid", (machine) => machine.factsAre({ pid: 8 }), "could not be proven"],
        ["of another start", (machine) => machine.factsAre({ processStart: "x" }), "could not be proven"],
        ["without facts", (machine) => machine.files.delete(factsFile), "could not be proven"],
      ]
      for (const [name, change, why] of cases) {
        const machine = new Machine()
        machine.shutdown = { status: 202, act: () => change(machine) }
        const { result } = yield* stopped(machine)
        assert.include(String(failureOf(result)), why, name)
        assert.deepStrictEqual(machine.acts, ["0 /v1/daemon/shutdown true"], name)
      }
    }),
  )
})

describe("who has the data", () => {
  const stateOf = (machine: Machine) => machine.run((control) => control.state)
  const tagOf = (machine: Machine) =>
    Effect.map(stateOf(machine), ({ result }) =>
      result._tag === "Right" ? result.right : assert.fail("failed"),
    )

  it.live("is the daemon that its facts name, with the answer that it alone can give", () =>
    Effect.gen(function* () {
      const running = yield* tagOf(new Machine())
      assert.ok(running._tag === "Running" && Option.isSome(running.health))
      assert.deepStrictEqual(running.facts, facts)
      const silent = new Machine()
      silent.health = "never"
      const { result, seconds } = yield* stateOf(silent)
      assert.ok(result._tag === "Right" && result.right._tag === "Running")
      assert.isTrue(Option.isNone(result.right.health))
      assert.closeTo(seconds, 1, 0.05)
      const gone = new Machine()
      gone.whenAskedForHealth = () => gone.processes.clear()
      assert.strictEqual((yield* tagOf(gone))._tag, "Stopped")
      const free = new Machine()
      free.locked = false
      assert.strictEqual((yield* tagOf(free))._tag, "Stopped")
    }),
  )

  it.live("is somebody else where the facts are of no process that lives", () =>
    Effect.gen(function* () {
      for (const change of [
        (machine: Machine) => machine.processes.clear(),
        (machine: Machine) => machine.processes.set(7, "another's"),
        (machine: Machine) => machine.files.delete(factsFile),
      ]) {
        const machine = new Machine()
        change(machine)
        assert.deepStrictEqual<unknown>(yield* tagOf(machine), {
          _tag: "Busy",
          holder: "a backup, process 9",
        })
      }
    }),
  )

  it.live("an answer that is none says why", () =>
    Effect.gen(function* () {
      for (const [health, why] of [
        [healthy({}, "b".repeat(32)), /is not the daemon of this data directory/],
        [{ ...healthy(), body: "{" }, /Decode|its answer is none/],
        [healthy({ status: "odd" }), /its answer is not that of a WAIaaS daemon/],
        [null, /no connection/],
        ["never", /no answer within 1 s/],
      ] as ReadonlyArray<readonly [Health, RegExp]>) {
        const machine = new Machine()
        machine.health = health
        assert.match(String(failureOf((yield* machine.run((control) => control.health(facts))).result)), why)
      }
    }),
  )
})

describe("a start", () => {
  it.live("is of that package's daemon, in the data directory, with this environment", () =>
    Effect.gen(function* () {
      const machine = new Machine()
      machine.processes.set(8, "new")
      const { result } = yield* machine.run((control) => control.spawn("/pkg", "2.1.0"))
      assert.deepStrictEqual<unknown>(result._tag === "Right" ? result.right : null, {
        pid: 8,
        processStart: Option.some("new"),
      })
      assert.deepStrictEqual(machine.detached, [
        {
          command: "/node",
          args: ["/pkg/dist/daemon.js", "serve", "--data-dir", "/data", "--background"],
          cwd: "/data",
          env: { HOME: "/home/op" },
          log,
        },
      ])
      machine.detach = "no memory"
      const failed = failureOf((yield* machine.run((control) => control.spawn("/pkg", "2.1.0"))).result)
      assert.deepStrictEqual([failed.version, failed.problem, failed.logFile], ["2.1.0", "no memory", log])
      // Where nothing was started, its log is not what helps.
      machine.detach = new FileFailed({ operation: "write", path: log, code: "EACCES" })
      const unlogged = failureOf((yield* machine.run((control) => control.spawn("/pkg", "2.1.0"))).result)
      assert.deepStrictEqual(
        [unlogged.message, unlogged.next],
        [
          `WAIaaS 2.1.0 did not start: Could not write ${log}: permission denied (EACCES).`,
          `Give yourself access to ${log}, then run the command again.`,
        ],
      )
    }),
  )

  it.live("that is given up is ended within two seconds, or killed; a pid of nobody is left alone", () =>
    Effect.gen(function* () {
      const spawned = { pid: 8, processStart: Option.some("new") }
      const machine = new Machine()
      machine.processes.set(8, "new")
      machine.whenSignalled = (signal) => signal === "SIGKILL" && machine.processes.delete(8)
      const { seconds } = yield* machine.run((control) => control.abandon(spawned))
      assert.deepStrictEqual(machine.acts, ["0 SIGTERM 8", "2 SIGKILL 8"])
      assert.closeTo(seconds, 2, 0.05)
      const polite = new Machine()
      polite.processes.set(8, "new")
      polite.whenSignalled = () => polite.processes.delete(8)
      assert.isBelow((yield* polite.run((control) => control.abandon(spawned))).seconds, 0.1)
      assert.deepStrictEqual(polite.acts, ["0 SIGTERM 8"])
      for (const [start, now] of [
        [Option.none(), "new"],
        [Option.some("new"), "another's"],
        [Option.none(), undefined],
      ] as const) {
        const other = new Machine()
        if (now !== undefined) other.processes.set(8, now)
        yield* other.run((control) => control.abandon({ pid: 8, processStart: start }))
        assert.deepStrictEqual(other.acts, [])
      }
    }),
  )
})

describe("a daemon is waited for", () => {
  const options = { version: "2.0.0", schema: 4, status: "ok", pid: 7 } as const
  const waited = (machine: Machine, more: object = {}) =>
    Effect.map(
      machine.run((control) => control.waitHealthy({ ...options, ...more })),
      ({ result, seconds }) => ({
        said: result._tag === "Right" ? `pid ${result.right.pid}` : result.left.message,
        left: result._tag === "Left" ? result.left : null,
        seconds,
      }),
    )
  const limited = { limit: Duration.seconds(3) }

  it.live("until it says that it serves with that version and schema", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* waited(new Machine())).said, "pid 7")
      const wrong = new Machine()
      wrong.health = healthy({ schemaVersion: 5 })
      assert.match((yield* waited(wrong)).said, /its schema is 5, not 4/)
      assert.strictEqual((yield* waited(wrong, { schema: null })).said, "pid 7")
      for (const health of [healthy({ status: "held" }), null, "never"] as ReadonlyArray<Health>) {
        const machine = new Machine()
        machine.health = health
        const { said, seconds } = yield* waited(machine, limited)
        assert.match(said, /no healthy answer within 3 s/)
        assert.closeTo(seconds, 3, 0.1)
      }
      const held = new Machine()
      held.health = healthy({ status: "held" })
      assert.strictEqual((yield* waited(held, { status: "held" })).said, "pid 7")
      const broken = new Machine()
      broken.health = healthy({ status: "error", schemaVersion: null, message: "its database" })
      assert.match((yield* waited(broken, { ...limited, schema: null })).said, /no healthy answer/)
    }),
  )

  it.live("for 90 seconds where nothing else is said", () =>
    Effect.gen(function* () {
      const machine = new Machine()
      machine.health = "never"
      const { said, seconds } = yield* waited(machine)
      assert.match(said, /no healthy answer within 90 s/)
      assert.closeTo(seconds, 90, 0.2)
    }),
  )

  it.live("no longer where the one that was started is of another version; another's is waited out", () =>
    Effect.gen(function* () {
      const machine = new Machine()
      machine.health = healthy({ version: "1.9.0" })
      const own = yield* waited(machine)
      assert.match(own.said, /it says to be version 1\.9\.0/)
      assert.isBelow(own.seconds, 0.1)
      machine.processes.set(8, "new")
      for (const pid of [8, null]) {
        const other = yield* waited(machine, { ...limited, pid })
        assert.match(other.said, /no healthy answer within 3 s/)
      }
    }),
  )

  it.live("by another start that was faster, too", () =>
    Effect.gen(function* () {
      const machine = new Machine()
      machine.processes.set(8, "new")
      assert.strictEqual((yield* waited(machine, { pid: 8 })).said, "pid 7")
      // Ours ended, and somebody has the data: it may be about to say who it is.
      const starting = new Machine()
      starting.files.delete(factsFile)
      const { said } = yield* waited(starting, { ...limited, pid: 9 })
      assert.match(said, /no healthy answer within 3 s/)
    }),
  )

  it.live("only while it lives, or somebody has the data for a second", () =>
    Effect.gen(function* () {
      const dead = new Machine()
      dead.processes.clear()
      dead.locked = false
      const own = yield* waited(dead)
      assert.match(own.said, /its process ended without a word/)
      assert.isBelow(own.seconds, 0.1)
      const alive = new Machine()
      alive.locked = false
      alive.files.delete(factsFile)
      assert.match((yield* waited(alive, limited)).said, /no healthy answer/)
      const supervised = yield* waited(dead, { pid: null })
      assert.match(supervised.said, /it ended before it was healthy/)
      assert.strictEqual(
        supervised.left?._tag === "DaemonStartFailed" && supervised.left.logFile,
        "/data/logs/daemon.log",
      )
      assert.closeTo(supervised.seconds, 1, 0.1)
      // A start that gives the lock back for a moment is no end.
      const busy = new Machine()
      busy.processes.clear()
      busy.files.delete(factsFile)
      let looks = 0
      Object.defineProperty(busy, "locked", { get: () => looks++ % 30 === 0 })
      assert.match((yield* waited(busy, { ...limited, pid: null })).said, /no healthy answer within 3 s/)
    }),
  )

  it.live("and its last words are its operator's", () =>
    Effect.gen(function* () {
      const words = (text: string) => {
        const machine = new Machine()
        machine.processes.clear()
        machine.locked = false
        machine.files.set(log, text)
        return Effect.map(waited(machine), ({ left }) =>
          left?._tag === "DaemonStartFailed" ? [left.problem, left.instead, left.code] : assert.fail("none"),
        )
      }
      assert.deepStrictEqual(
        yield* words("starting\nerror: The port is taken.\n  next: waiaas status\n  exit code: 4\n"),
        ["The port is taken.", "waiaas status", 4],
      )
      assert.deepStrictEqual(yield* words("error: Two\nlines.\nexit code: 1"), ["Two\nlines.", undefined, 1])
      assert.deepStrictEqual(yield* words("a\nb\nc\nd\n"), [
        "its process ended. It said:\n  | b\n  | c\n  | d",
        undefined,
        undefined,
      ])
      assert.deepStrictEqual(yield* words(" \n"), ["its process ended without a word", undefined, undefined])
    }),
  )
})
