/** How a command that failed ends: what is said on stderr (or as JSON), and the exit code. */
import { ExitCode } from "@waiaas/domain/ExitCode"
import { ISSUES } from "@waiaas/domain/PackageName"
import { printable, printableJson } from "@waiaas/domain/Printable"
import { inDataDir, withOptions, withSudo } from "@waiaas/domain/Shell"
import { columnsOf, fitLines } from "@waiaas/domain/TerminalLines"
import type { RunFailed } from "@waiaas/services/RunEngine"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Option from "effect/Option"

interface Report {
  readonly message: string
  readonly next: string | null
  readonly standing: string | null
  readonly exitCode: number
  readonly error: string
}

const isRunFailed = (error: unknown): error is RunFailed =>
  error instanceof Error && "_tag" in error && error._tag === "RunFailed"

/** A command line that is none of `waiaas`. */
export class WrongUsage extends Data.TaggedError("WrongUsage")<{
  readonly kind: string
  readonly message: string
  /** What to type. */
  readonly next: string
}> {}

const read = (error: unknown): Report => {
  if (isRunFailed(error))
    return {
      error: error.cause._tag,
      message: `${error.cause.message} (step: ${error.phase})`,
      standing: error.standing,
      next: error.next,
      exitCode: error.exitCode,
    }
  if (error instanceof WrongUsage)
    return {
      error: error.kind,
      message: error.message,
      standing: null,
      next: error.next,
      exitCode: ExitCode.usage,
    }
  if (error instanceof Error) {
    const { next, exitCode, _tag } = error as {
      readonly next?: string
      readonly exitCode?: number
      readonly _tag?: string
    }
    return {
      error: _tag ?? error.name,
      message: error.message,
      standing: null,
      next: next ?? null,
      exitCode: exitCode ?? ExitCode.failed,
    }
  }
  return { error: "Unknown", message: String(error), standing: null, next: null, exitCode: ExitCode.failed }
}

let recovered: unknown
/** A signal that was obeyed ends the process as interrupted; what the run said of itself is reported all the same. */
export const rememberFailure = (error: unknown): void => {
  recovered = error
}

let typed = ""
/** The options of an upgrade that goes on, as they are to be typed again. */
export const rememberOptions = (options: ReadonlyArray<string>): void => {
  typed = options.join(" ")
}

/** What to type next, as it holds for whoever typed the command that failed. */
export const nextFor = (
  { next, error }: Pick<Report, "next" | "error">,
  { dataDir, sudo }: { readonly dataDir: string | undefined; readonly sudo: boolean },
): string | null => {
  if (next === null) return null
  // An interrupted rollback is to be typed as it was, with its backup.
  const again = error === "Interrupted" ? next.replace("waiaas upgrade --rollback", "waiaas upgrade") : next
  const same = withOptions(again, typed)
  const here = dataDir === undefined ? same : inDataDir(same, dataDir)
  return sudo ? withSudo(here) : here
}

let done = false
/** A signal that came too late: what was to be done is done, and has been reported. */
export const rememberDone = (): void => {
  done = true
}

/** What is reported of a failure; none where there is nothing to report. */
export const reportOf = (cause: Cause.Cause<unknown>): Option.Option<Report> => {
  const failure = Cause.failureOption(cause)
  if (Option.isSome(failure)) return Option.some(read(failure.value))
  if (Cause.isInterruptedOnly(cause) && done) return Option.none()
  if (Cause.isInterruptedOnly(cause) && recovered !== undefined) return Option.some(read(recovered))
  if (Cause.isInterruptedOnly(cause))
    return Option.some({
      error: "Interrupted",
      message: "Interrupted.",
      standing: null,
      next: null,
      exitCode: ExitCode.interrupted,
    })
  return Option.some({
    error: "Bug",
    message: `This is a bug in WAIaaS: ${Cause.pretty(cause)}`,
    standing: null,
    next: `Report this with the lines above at ${ISSUES}; \`waiaas status\` says what runs.`,
    exitCode: ExitCode.failed,
  })
}

/** `dataDir`: the one that the operator named, which what to type next then names as well, with `sudo` where it was typed. */
export const report = (
  failure: Report,
  {
    json,
    dataDir,
    sudo,
    colours,
  }: {
    readonly json: boolean
    readonly dataDir: string | undefined
    readonly sudo: boolean
    readonly colours: boolean
  },
): void => {
  const whole = { ...failure, next: nextFor(failure, { dataDir, sudo }) }
  if (json) process.stdout.write(`${printableJson({ event: "Failed", ...whole })}\n`)
  const lines = [
    `${colours ? "\u001b[31merror\u001b[0m" : "error"}: ${printable(whole.message)}`,
    ...(whole.standing ? [printable(whole.standing)] : []),
    ...(whole.next ? [`next: ${printable(whole.next)}`] : []),
  ]
  process.stderr.write(`${fitLines(lines.join("\n"), columnsOf(process.stderr))}\n`)
}
