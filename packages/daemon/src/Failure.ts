/** How the daemon's process ends when it fails: what is said on stderr, and its exit code. */
import { ExitCode } from "@waiaas/domain/ExitCode"
import { ISSUES } from "@waiaas/domain/PackageName"
import { printable } from "@waiaas/domain/Printable"
import { inDataDir } from "@waiaas/domain/Shell"
import { columnsOf, fitLines } from "@waiaas/domain/TerminalLines"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

interface Reportable {
  readonly message: string
  readonly next?: string
  readonly exitCode?: number
}
const isReportable = (error: unknown): error is Reportable => error instanceof Error

/** A graceful stop by a signal is an interruption, and no failure. */
export const exitCodeOf = (cause: Cause.Cause<unknown>): number => {
  if (Cause.isInterruptedOnly(cause)) return ExitCode.done
  const error = Option.filter(Cause.failureOption(cause), isReportable)
  return Option.match(error, {
    onNone: () => ExitCode.failed,
    onSome: ({ exitCode }) => exitCode ?? ExitCode.failed,
  })
}

/** The exit code is printed with it for a starter that has only the log: nobody waits for a daemon in the background. */
export const reportFailure =
  (background: boolean, dataDir: string | undefined) =>
  (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
    Effect.sync(() => {
      if (Cause.isInterruptedOnly(cause)) return
      const error = Option.filter(Cause.failureOption(cause), isReportable)
      const text = Option.match(error, {
        onNone: () =>
          `A bug in WAIaaS: ${printable(Cause.pretty(cause))}\nnext: Report this with the lines above at ${ISSUES}.`,
        onSome: ({ message, next }) =>
          `error: ${printable(message)}${next === undefined ? "" : `\nnext: ${printable(dataDir === undefined ? next : inDataDir(next, dataDir))}`}`,
      })
      const fitting = fitLines(text, columnsOf(process.stderr))
      process.stderr.write(`${fitting}\n${background ? `  exit code: ${exitCodeOf(cause)}\n` : ""}`)
    })
