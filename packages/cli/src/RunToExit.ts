import { isAbsolute, resolve } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { ExitCode } from "@waiaas/domain/ExitCode"
import { printable } from "@waiaas/domain/Printable"
import { isUnderSudo } from "@waiaas/services/platform/Environment"
import { exitFlushed, guardStreams, unwrittenOutput } from "@waiaas/services/platform/Streams"
import { workingDirectory } from "@waiaas/services/platform/WorkingDirectory"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { report, reportOf } from "./Failure.ts"

/** To stderr and not to the console, whose errors are the library's words for wrong usage. */
const logger = Logger.replace(
  Logger.defaultLogger,
  Logger.map(Logger.stringLogger, (line) => void process.stderr.write(`${printable(line)}\n`)),
)

const hasColours = (): boolean =>
  process.stderr.isTTY === true && (process.env.NO_COLOR ?? "") === "" && process.env.TERM !== "dumb"

/** Absolute, so that what is reported holds in every directory. */
const named = (flag: string | undefined): string | undefined => {
  const path = flag || process.env.WAIAAS_DATA_DIR
  if (!path || (workingDirectory() === null && !isAbsolute(path))) return undefined
  return resolve(path)
}

/** Runs a command as this process: what failed is reported, and becomes the exit code. */
export const runToExit = <E>(
  program: Effect.Effect<void, E>,
  { json, dataDir }: { readonly json: boolean; readonly dataDir: string | undefined },
): void => {
  guardStreams()
  NodeRuntime.runMain(Effect.provide(program, logger), {
    disableErrorReporting: true,
    // It would log to stdout beside the logger that was chosen.
    disablePrettyLogger: true,
    teardown: (exit) => {
      const failure = Exit.isFailure(exit) ? reportOf(exit.cause) : Option.none()
      if (Option.isSome(failure))
        report(failure.value, {
          json,
          dataDir: named(dataDir),
          sudo: isUnderSudo({ uid: process.getuid?.() ?? null, variables: process.env }),
          colours: hasColours(),
        })
      const code = Option.match(failure, {
        onNone: () => ExitCode.done as number,
        onSome: (each) => each.exitCode,
      })
      // What a library still holds open keeps nobody waiting; a reader that is slow does.
      exitFlushed(() => (code === ExitCode.done && sayUnwritten() ? ExitCode.failed : code))
    },
  })
}

/** A result that is not where the operator wanted it is a failure, although the command did what it had to do. */
const sayUnwritten = (): boolean => {
  const text = unwrittenOutput()
  if (text !== undefined) process.stderr.write(text)
  return text !== undefined
}
