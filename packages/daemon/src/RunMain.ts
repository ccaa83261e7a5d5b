import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { printable } from "@waiaas/domain/Printable"
import { exitFlushed, guardStreams } from "@waiaas/services/platform/Streams"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { exitCodeOf, reportFailure } from "./Failure.ts"

// Standard output is for answers; `serve` replaces this by its own log.
const Stderr = Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))

/** For a command's output: warnings as one line each, and nothing of what is only of interest in a log. */
const Plain = Logger.replace(
  Logger.defaultLogger,
  Logger.make(({ logLevel, message }) => {
    if (LogLevel.lessThan(logLevel, LogLevel.Warning)) return
    const text = Array.isArray(message) ? message.join(" ") : String(message)
    process.stderr.write(`warning: ${printable(text)}\n`)
  }),
)

/** Runs a program of this package as the process: a failure is reported on stderr, and gives the exit code. */
export const runMain = <A, E>(
  program: Effect.Effect<A, E>,
  {
    background = false,
    plain = false,
    dataDir,
    flushLimit,
  }: {
    readonly background?: boolean
    /** Whether it is a part of a command, rather than a daemon with a log. */
    readonly plain?: boolean
    readonly dataDir?: string | undefined
    /** Milliseconds that a slow reader of the output is waited for at the end; without one, as long as it takes. */
    readonly flushLimit?: number
  } = {},
): void => {
  guardStreams()
  NodeRuntime.runMain(
    program.pipe(
      Effect.tapErrorCause(reportFailure(background, dataDir)),
      Effect.provide(plain ? Plain : Stderr),
    ),
    {
      disableErrorReporting: true,
      // It would log to stdout beside the logger that was chosen.
      disablePrettyLogger: true,
      // What a library still holds open keeps nobody waiting, and least of all a daemon that has stopped.
      teardown: (exit) => exitFlushed(() => (Exit.isSuccess(exit) ? 0 : exitCodeOf(exit.cause)), flushLimit),
    },
  )
}
