import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { closeSync } from "node:fs"
import { createInterface } from "node:readline"
import type { FileFailed } from "@waiaas/domain/DataErrors"
import { NO_DEBUGGER } from "@waiaas/domain/NodeRange"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import { openOutputLog } from "./OutputLog.ts"
import { type Identity, Privilege } from "./Privilege.ts"
import { processStart } from "./Processes.ts"
import { type ProcessAbout, processAbout } from "./ProcessTable.ts"

/** A child that could not be started, or did not end in time. Internal: callers map it. */
export class ProcessFailed extends Data.TaggedError("ProcessFailed")<{
  readonly command: string
  readonly reason: "not-found" | "not-allowed" | "timeout" | "other"
  readonly output: string
  /** The system's, where it did not start the child. */
  readonly code?: string | undefined
}> {}

export interface ProcessResult {
  /** `null` when a signal ended it. */
  readonly exitCode: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

/** What a child's output may take in memory; more is cut at the front. */
const OUTPUT_LIMIT = 8 * 1024 * 1024

/** Children: argv arrays only, never a shell; each in a process group of its own. */
export class ProcessRunner extends Context.Tag("@waiaas/services/ProcessRunner")<
  ProcessRunner,
  {
    /** Runs to the end with both outputs drained. Interruption and the time limit end the whole group. */
    readonly run: (options: {
      readonly command: string
      readonly args: ReadonlyArray<string>
      readonly cwd?: string
      readonly env?: Readonly<Record<string, string | undefined>>
      readonly input?: string
      readonly timeout: Duration.DurationInput
      readonly onLine?: (line: string) => void
      /** For npm: with the rights over the package, not the data owner's. */
      readonly asInstaller?: boolean
    }) => Effect.Effect<ProcessResult, ProcessFailed>
    /** Starts a process that outlives this one, its output in `log`, where that can be written. Gives its pid. */
    readonly detach: (options: {
      readonly command: string
      readonly args: ReadonlyArray<string>
      readonly cwd: string
      readonly env: Readonly<Record<string, string | undefined>>
      readonly log: string
    }) => Effect.Effect<number, ProcessFailed | FileFailed>
    /** Start time of a live process as the system counts it; none when there is no such process. */
    readonly identity: (pid: number) => Effect.Effect<Option.Option<string>>
    /** What the system says of a live process; none when there is no such process. */
    readonly about: (pid: number) => Effect.Effect<Option.Option<ProcessAbout>>
    /** Sends a signal; false when there is no such process or it may not be signalled. */
    readonly signal: (pid: number, signal: "SIGTERM" | "SIGKILL") => Effect.Effect<boolean>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Privilege, (rights) => makeRunner(rights)),
  )
}

/** A Node that is started here blocks SIGUSR1 from its first instant: no signal opens its debugger. */
const withoutDebugger = (command: string, args: ReadonlyArray<string>): Array<string> =>
  command === process.execPath ? [NO_DEBUGGER, ...args] : [...args]

const makeRunner = ({
  asOwner,
}: Context.Tag.Service<typeof Privilege>): Context.Tag.Service<typeof ProcessRunner> => ({
  run: ({ command, args, cwd, env, input, timeout, onLine, asInstaller = false }) =>
    Effect.suspend(() => {
      let output = ""
      return Effect.acquireUseRelease(
        starting(command, () => {
          const start = (identity?: Identity) =>
            spawn(command, withoutDebugger(command, args), {
              ...identity,
              cwd,
              env: env ?? process.env,
              detached: true,
              stdio: ["pipe", "pipe", "pipe"],
            })
          return asInstaller ? start() : asOwner(start)
        }),
        (child) =>
          Effect.async<ProcessResult, ProcessFailed>((resume) => {
            let stdout = ""
            let stderr = ""
            child.on("error", (cause: NodeJS.ErrnoException) =>
              resume(Effect.fail(startFailure(command, cause))),
            )
            // Nothing has begun, and where files are short there are not even pipes: that event is on its way.
            if (child.pid === undefined) return
            child.stdout.setEncoding("utf8").on("data", (text: string) => {
              stdout = (stdout + text).slice(-OUTPUT_LIMIT)
              output = (output + text).slice(-OUTPUT_LIMIT)
            })
            child.stderr.setEncoding("utf8").on("data", (text: string) => {
              stderr = (stderr + text).slice(-OUTPUT_LIMIT)
              output = (output + text).slice(-OUTPUT_LIMIT)
            })
            if (onLine) createInterface({ input: child.stdout }).on("line", onLine)
            // A child that ends without reading its input closes the pipe: its exit code says why, not this.
            child.stdin.on("error", () => {})
            child.stdin.end(input ?? "")
            child.on("close", (exitCode, signal) =>
              resume(Effect.succeed({ exitCode, signal, stdout, stderr })),
            )
            // What it has started and left behind may keep the pipes for ever: its own output is there already.
            child.on("exit", (exitCode, signal) => {
              setTimeout(
                () => resume(Effect.succeed({ exitCode, signal, stdout, stderr })),
                PIPES_LIMIT_MS,
              ).unref()
            })
          }).pipe(
            // Inside a run that is uninterruptible too the limit must end it.
            Effect.interruptible,
            Effect.timeoutFail({
              duration: timeout,
              onTimeout: () => new ProcessFailed({ command, reason: "timeout", output }),
            }),
          ),
        endGroup,
      )
    }),
  detach: ({ command, args, cwd, env, log }) =>
    Effect.flatMap(openOutputLog(log), (fd) =>
      starting(command, () =>
        asOwner((identity) =>
          spawn(command, withoutDebugger(command, args), {
            ...identity,
            cwd,
            env,
            detached: true,
            stdio: ["ignore", fd, fd],
          }),
        ),
      ).pipe(
        Effect.ensuring(Effect.sync(() => closeSync(fd))),
        Effect.flatMap((child) =>
          Effect.async<number, ProcessFailed>((resume) => {
            child.on("error", (cause: NodeJS.ErrnoException) =>
              resume(Effect.fail(startFailure(command, cause))),
            )
            child.on("spawn", () => {
              child.unref()
              resume(Effect.succeed(child.pid ?? 0))
            })
          }),
        ),
      ),
    ),
  identity: (pid) => Effect.sync(() => processStart(pid)),
  about: (pid) => Effect.sync(() => processAbout(pid)),
  signal: (pid, signal) =>
    Effect.sync(() => {
      // The pid comes from a file of the data's owner, and a process that was root's may signal anybody: the
      // system is asked with nothing but the owner's rights.
      const asked = asOwner((identity) =>
        identity === undefined ? undefined : spawnSync(process.execPath, kill(pid, signal), identity).status,
      )
      if (asked !== undefined) return asked === 0
      try {
        return process.kill(pid, signal)
      } catch {
        return false
      }
    }),
})

const kill = (pid: number, signal: string): ReadonlyArray<string> => [
  "--eval",
  "process.kill(Number(process.argv[1]), process.argv[2])",
  String(pid),
  signal,
]

/** Node says most of what keeps a child from starting by an event, and the rest at once: too long an argument, no right to be that user. */
const starting = <A>(command: string, start: () => A): Effect.Effect<A, ProcessFailed> =>
  Effect.try({
    try: start,
    catch: (cause) =>
      startFailure(command, cause instanceof Error ? cause : new Error(String(cause), { cause })),
  })

const startFailure = (command: string, cause: NodeJS.ErrnoException): ProcessFailed =>
  new ProcessFailed({
    command,
    reason: cause.code === "ENOENT" ? "not-found" : cause.code === "EACCES" ? "not-allowed" : "other",
    output: cause.message,
    code: cause.code,
  })

const signalGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // The group is gone already.
  }
}

/** After its end, milliseconds until the last of a child's output is read. */
const PIPES_LIMIT_MS = 2000
/** Milliseconds that a child has to end after SIGTERM, then after SIGKILL. */
const TERM_LIMIT_MS = 3000
const KILL_LIMIT_MS = 2000

/** Ends what is left of a child's group: politely, then for good. Takes five seconds at most, whoever keeps its pipes. */
const endGroup = (child: ChildProcess): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const timers: Array<NodeJS.Timeout> = []
    const done = () => {
      for (const timer of timers) clearTimeout(timer)
      signalGroup(child, "SIGKILL")
      for (const pipe of child.stdio ?? []) pipe?.destroy()
      child.unref()
      resume(Effect.void)
    }
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return done()
    child.once("exit", done)
    timers.push(setTimeout(() => signalGroup(child, "SIGKILL"), TERM_LIMIT_MS))
    // Where the system does not let it end: a disk or a network file system that is gone.
    timers.push(setTimeout(done, TERM_LIMIT_MS + KILL_LIMIT_MS))
    signalGroup(child, "SIGTERM")
  })
