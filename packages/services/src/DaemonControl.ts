import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { DaemonFacts, INSTANCE_HEADER } from "@waiaas/domain/DaemonFacts"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { addressOf, Health, HealthError, isServing } from "@waiaas/domain/Health"
import { packagePaths } from "@waiaas/domain/Install"
import { DaemonStartFailed, DaemonStopTimeout, DaemonUnreachable } from "@waiaas/domain/RunErrors"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { ConfigFile } from "./ConfigFile.ts"
import { unnamedDaemon } from "./platform/DatabaseReaders.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile, readJsonIfValid } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { ExclusiveLock } from "./platform/ExclusiveLock.ts"
import { ProcessRunner } from "./platform/ProcessRunner.ts"
import { shortageAt } from "./platform/Shortage.ts"
import { readToken } from "./TokenFile.ts"

type Answer = Health | HealthError
const decodeAnswer = Schema.decodeUnknown(Schema.Union(Health, HealthError))

/** Who has the data, by the data lock and `daemon.json`. */
export type DaemonState =
  | { readonly _tag: "Stopped" }
  /** The process that `daemon.json` names is proven by its start time, and the data lock is held. */
  | { readonly _tag: "Running"; readonly facts: DaemonFacts; readonly health: Option.Option<Answer> }
  /** Somebody holds the data lock, but it is no daemon that can be proven. */
  | { readonly _tag: "Busy"; readonly holder: string }

/** A process that `spawn` started; its pid may be another's once it has ended. */
export interface SpawnedDaemon {
  readonly pid: number
  /** None where it had ended at once. */
  readonly processStart: Option.Option<string>
}

/** How long beyond its own limit a daemon is waited for before anything harsher is thought of. */
const STOP_MARGIN = Duration.seconds(5)
const PROBE_LIMIT = Duration.seconds(1)
const LOOK_EVERY = Duration.millis(25)
/** Milliseconds in which nobody has the data: a start that gives the lock back for a moment is no end. */
const FREE_FOR = 1000
/** Of what a start does whatever the size of its data; who starts one that looks at the database adds to it. */
export const START_LIMIT = Duration.seconds(90)

/** What systemd, pm2, supervisord and s6 give to what they start, and what everything below them inherits. */
const ofSupervisor =
  /^(INVOCATION_ID|SYSTEMD_EXEC_PID|JOURNAL_STREAM|NOTIFY_SOCKET|MAINPID|WATCHDOG_(PID|USEC)|LISTEN_(PID|FDS|FDNAMES)|pm_.+|PM2_.+|NODE_APP_INSTANCE|SUPERVISOR_.+|S6_.+)$/

/** The variables without a supervisor's: a daemon that this process starts is nobody's, whoever adopts it later. */
export const unsupervised = (variables: Environment["Type"]["variables"]): Environment["Type"]["variables"] =>
  Object.fromEntries(Object.entries(variables).filter(([name]) => !ofSupervisor.test(name)))

/** Starts, stops and inspects the daemon of a data directory; signals only a process proven to be it. */
export class DaemonControl extends Context.Tag("@waiaas/services/DaemonControl")<
  DaemonControl,
  {
    /** Never hangs: at most about a second. */
    readonly state: Effect.Effect<DaemonState, FileFailed>
    /** Whether that very process lives. */
    readonly isAlive: (facts: DaemonFacts) => Effect.Effect<boolean>
    /** One request to `/health`, at most a second. Nobody but the daemon of these facts can answer it. */
    readonly health: (facts: DaemonFacts) => Effect.Effect<Answer, DaemonUnreachable>
    /**
     * Asks through the API, then by SIGTERM, and waits for the process to end. It is killed only after
     * its own limit and a margin, and only if pid, start time and lock all agree.
     */
    readonly stop: (facts: DaemonFacts) => Effect.Effect<void, DaemonStopTimeout | FileFailed>
    /** Starts a package's daemon so that it outlives this process. */
    readonly spawn: (packageDir: string, version: string) => Effect.Effect<SpawnedDaemon, DaemonStartFailed>
    /** Ends a daemon that `spawn` gave and that is wanted no more: it has accepted nothing yet. */
    readonly abandon: (daemon: SpawnedDaemon) => Effect.Effect<void>
    /**
     * Waits until the daemon of this data directory answers with the version (and schema). Ends early when the
     * process `pid` dies; where that is null, since a supervisor has started it, when nobody has the data any more.
     */
    readonly waitHealthy: (options: {
      readonly version: string
      readonly schema: number | null
      readonly status: "held" | "ok"
      readonly pid: number | null
      /** How long; by default what a start may take that neither backs up nor migrates. */
      readonly limit?: Duration.Duration
    }) => Effect.Effect<DaemonFacts, DaemonStartFailed | FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const { paths } = yield* DataDir
      const files = yield* DurableFile
      const context = yield* Effect.context<DataDir | DurableFile>()
      const lock = yield* ExclusiveLock
      const config = yield* ConfigFile
      const runner = yield* ProcessRunner
      const environment = yield* Environment
      const client = yield* HttpClient.HttpClient

      const readFacts = readJsonIfValid(DaemonFacts, paths.facts).pipe(
        Effect.provideService(DurableFile, files),
      )
      const isProven = (facts: DaemonFacts) =>
        Effect.map(runner.identity(facts.pid), (start) => Option.contains(start, facts.processStart))

      const health = Effect.fn("DaemonControl.health")(function* (facts: DaemonFacts) {
        const base = addressOf(facts.hostname, facts.port)
        const unreachable = (problem: string) => new DaemonUnreachable({ address: base, problem })
        return yield* Effect.gen(function* () {
          const response = yield* client.get(`${base}/health`)
          if (response.headers[INSTANCE_HEADER] !== facts.instance)
            return yield* unreachable("what answers there is not the daemon of this data directory")
          return yield* decodeAnswer(yield* response.json)
        }).pipe(
          // A run is uninterruptible, and a limit on what cannot be interrupted is none.
          Effect.interruptible,
          Effect.timeout(PROBE_LIMIT),
          Effect.catchTags({
            TimeoutException: () => unreachable("no answer within 1 s"),
            ParseError: () => unreachable("its answer is not that of a WAIaaS daemon"),
            RequestError: () => unreachable("no connection"),
            ResponseError: (error) => unreachable(error.reason),
          }),
        )
      })

      /** What its files do not say any more, the system may: it must not be taken for one that has stopped. */
      const unnamed = Effect.flatMap(Effect.option(config.load), (loaded) =>
        Option.match(loaded, {
          onNone: () => Effect.succeed(Option.none<string>()),
          onSome: ({ databasePath: database }) =>
            unnamedDaemon(files, environment, { database, root: paths.root }),
        }),
      )

      const state = Effect.gen(function* () {
        if (!(yield* lock.isHeld(paths.dataLock)))
          return Option.match(yield* unnamed, {
            onNone: () => ({ _tag: "Stopped" }) as const,
            onSome: (holder) => ({ _tag: "Busy", holder }) as const,
          })
        const facts = yield* readFacts
        if (Option.isSome(facts) && (yield* isProven(facts.value))) {
          const answer = yield* Effect.option(health(facts.value))
          // Its port is its own for as long as it lives: alive after the answer, it was the one that gave it.
          if (yield* isProven(facts.value))
            return { _tag: "Running", facts: facts.value, health: answer } as const
          return { _tag: "Stopped" } as const
        }
        const holder = yield* lock.holder(paths.dataLock)
        return {
          _tag: "Busy",
          holder: Option.match(holder, {
            onNone: () => "an unknown process",
            onSome: ({ what, pid }) => `${what}, process ${pid}`,
          }),
        } as const
      })

      const askToStop = (facts: DaemonFacts) =>
        Effect.gen(function* () {
          yield* health(facts)
          // Alive after the answer, it was the one that gave it: the port was its own until then.
          if (!(yield* isProven(facts))) return false
          // A damaged file is no reason not to stop: then a signal asks.
          const token = yield* Effect.provide(readToken, context)
          const response = yield* client.execute(
            HttpClientRequest.post(`${addressOf(facts.hostname, facts.port)}/v1/daemon/shutdown`).pipe(
              HttpClientRequest.bearerToken(token),
            ),
          )
          return response.status === 202
        }).pipe(
          Effect.interruptible,
          Effect.timeout("2 seconds"),
          Effect.orElseSucceed(() => false),
        )

      const isGone = (facts: DaemonFacts) => Effect.map(isProven(facts), (alive) => !alive)
      const waitGone = (facts: DaemonFacts, limit: Duration.Duration) =>
        isGone(facts).pipe(
          Effect.repeat({ until: (gone) => gone, schedule: Schedule.spaced("20 millis") }),
          Effect.interruptible,
          Effect.timeoutOption(limit),
          Effect.map(Option.isSome),
        )

      return DaemonControl.of({
        state,
        isAlive: isProven,
        health,
        stop: Effect.fn("DaemonControl.stop")(function* (facts: DaemonFacts) {
          if (yield* isGone(facts)) return
          if (!(yield* askToStop(facts))) {
            // Asking took time: it is proven again right before the signal.
            if (yield* isProven(facts)) yield* runner.signal(facts.pid, "SIGTERM")
          }
          const limit = Duration.sum(Duration.seconds(facts.shutdownTimeout), STOP_MARGIN)
          if (yield* waitGone(facts, limit)) return
          const held = yield* lock.isHeld(paths.dataLock)
          const known = yield* readFacts
          const same = Option.exists(
            known,
            (now) => now.pid === facts.pid && now.processStart === facts.processStart,
          )
          if (held && same && (yield* isProven(facts))) {
            yield* runner.signal(facts.pid, "SIGKILL")
            if (yield* waitGone(facts, STOP_MARGIN)) return
          }
          return yield* new DaemonStopTimeout({
            pid: facts.pid,
            waited: Duration.toSeconds(limit),
            why: held
              ? "it could not be proven to be the daemon, or did not die"
              : "it no longer holds the data lock",
          })
        }),
        spawn: Effect.fn("DaemonControl.spawn")(function* (packageDir: string, version: string) {
          const log = `${paths.logs}/daemon.out.log`
          const pid = yield* runner
            .detach({
              command: environment.node,
              args: [packagePaths(packageDir).daemon, "serve", "--data-dir", paths.root, "--background"],
              cwd: paths.root,
              env: unsupervised(environment.variables),
              log,
            })
            .pipe(
              Effect.mapError((error) => {
                const base = { version, logFile: log }
                if (error._tag === "ProcessFailed" && error.code === undefined)
                  return new DaemonStartFailed({ ...base, problem: error.output })
                // Nothing was started: the log has nothing to say of it.
                const known =
                  error._tag === "FileFailed"
                    ? error
                    : new FileFailed({
                        operation: "run",
                        path: error.command,
                        code: error.code ?? "",
                      })
                return new DaemonStartFailed({ ...base, problem: known.message, instead: known.next })
              }),
            )
          return { pid, processStart: yield* runner.identity(pid) }
        }),
        abandon: Effect.fn("DaemonControl.abandon")(function* ({ pid, processStart }: SpawnedDaemon) {
          const isSame = Effect.map(
            runner.identity(pid),
            (now) => Option.isSome(now) && now.value === Option.getOrNull(processStart),
          )
          for (const signal of ["SIGTERM", "SIGKILL"] as const) {
            if (!(yield* isSame)) return
            yield* runner.signal(pid, signal)
            for (let waited = 0; waited < 100 && (yield* isSame); waited++) yield* Effect.sleep("20 millis")
          }
        }),
        waitHealthy: Effect.fn("DaemonControl.waitHealthy")(function* ({
          version,
          schema,
          status,
          pid,
          limit = START_LIMIT,
        }) {
          const log = `${paths.logs}/daemon.out.log`
          const failed = (problem: string) => new DaemonStartFailed({ version, problem, logFile: log })
          let freeSince: number | null = null
          const look = Effect.gen(function* () {
            const facts = yield* readFacts
            if (Option.isSome(facts) && (yield* isProven(facts.value))) {
              const answer = yield* Effect.option(health(facts.value))
              if (Option.isNone(answer) || !isServing(answer.value)) return Option.none()
              const mine = pid === null || facts.value.pid === pid
              if (answer.value.version !== version)
                return mine && pid !== null
                  ? yield* failed(`it says to be version ${answer.value.version}`)
                  : Option.none()
              if (schema !== null && answer.value.schemaVersion !== schema)
                return yield* failed(`its schema is ${answer.value.schemaVersion}, not ${schema}`)
              return answer.value.status === status ? facts : Option.none()
            }
            // Another start may have been faster than ours: then ours ends, and the lock shows it.
            const isOver =
              (pid === null || Option.isNone(yield* runner.identity(pid))) &&
              !(yield* lock.isHeld(paths.dataLock))
            const now = yield* Clock.currentTimeMillis
            freeSince = isOver ? (freeSince ?? now) : null
            if (freeSince === null || (pid === null && now - freeSince < FREE_FOR)) return Option.none()
            if (pid === null)
              return yield* new DaemonStartFailed({
                version,
                problem: "it ended before it was healthy",
                logFile: `${paths.logs}/daemon.log`,
              })
            return yield* lastWords(
              version,
              log,
              // One that it has filled without an end says nothing of its end.
              yield* files.readAnyTextIfThere(log).pipe(
                Effect.map(Option.getOrElse(() => "")),
                Effect.orElseSucceed(() => ""),
              ),
            )
          })
          return yield* untilSome(look, LOOK_EVERY).pipe(
            Effect.interruptible,
            Effect.timeoutFail({
              duration: limit,
              onTimeout: () => failed(`no healthy answer within ${Duration.toSeconds(limit)} s`),
            }),
          )
        }),
      })
    }),
  )
}

/** Looks again and again until there is something. */
const untilSome = <A, E, R>(
  look: Effect.Effect<Option.Option<A>, E, R>,
  interval: Duration.DurationInput,
): Effect.Effect<A, E, R> =>
  Effect.flatMap(look, (found) =>
    Option.isSome(found)
      ? Effect.succeed(found.value)
      : Effect.delay(
          Effect.suspend(() => untilSome(look, interval)),
          interval,
        ),
  )

/** Why a daemon did not start, from what it wrote before it ended: `Failure` in the daemon writes these lines. */
const lastWords = (version: string, logFile: string, text: string): DaemonStartFailed => {
  const said = /^error: ([\s\S]*?)(?:\n *next: (.*))?\n *exit code: (\d+)$/m.exec(text)
  const [, problem, instead, code] = said ?? []
  const tail = text.trim().split("\n").slice(-3).join("\n  | ")
  // A full disk takes its words as well.
  const shortage = said === null ? shortageAt(logFile) : undefined
  if (shortage !== undefined)
    return new DaemonStartFailed({ version, logFile, problem: shortage.problem, instead: shortage.remedy })
  return new DaemonStartFailed({
    version,
    logFile,
    problem:
      problem ??
      (tail === "" ? "its process ended without a word" : `its process ended. It said:\n  | ${tail}`),
    ...(instead === undefined ? {} : { instead }),
    ...(code === undefined ? {} : { code: Number(code) }),
  })
}
