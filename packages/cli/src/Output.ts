import { printable, printableJson, printableTexts } from "@waiaas/domain/Printable"
import { columnsOf, fitLines } from "@waiaas/domain/TerminalLines"
import { Environment } from "@waiaas/services/platform/Environment"
import type { ProgressEvent } from "@waiaas/services/UpgradeProgress"
import { UpgradeProgress } from "@waiaas/services/UpgradeProgress"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makeSpinner } from "./Spinner.ts"

/** What a command says: results on stdout; progress, warnings and notices on stderr. */
export class Output extends Context.Tag("@waiaas/cli/Output")<
  Output,
  {
    readonly mode: "human" | "json" | "quiet"
    /** Columns of the terminal that results go to; undefined where they go somewhere else, and keep their lines. */
    readonly columns: number | undefined
    /** A result: the lines for a person, the value for a script. */
    readonly result: (value: unknown, lines: ReadonlyArray<string>) => Effect.Effect<void>
    /** A result for another program, whose lines are never broken. */
    readonly verbatim: (value: unknown, lines: ReadonlyArray<string>) => Effect.Effect<void>
    /** Something on the way; not for `--quiet` and `--json`. */
    readonly note: (line: string) => Effect.Effect<void>
    readonly event: (event: ProgressEvent) => Effect.Effect<void>
  }
>() {
  static readonly layerOf = (mode: "human" | "json" | "quiet") =>
    Layer.scoped(
      this,
      Effect.gen(function* () {
        const { variables } = yield* Environment
        // A dumb terminal shows an escape sequence as what it is made of.
        const isTerminal = process.stderr.isTTY === true && variables.TERM !== "dumb"
        const hasColours = isTerminal && (variables.NO_COLOR ?? "") === ""
        const spinner = yield* makeSpinner(
          mode === "human" && hasColours,
          (text) => void process.stderr.write(text),
          () => process.stderr.columns || 80,
        )
        const paint = painter(hasColours)
        const out = (text: string) => Effect.sync(() => void process.stdout.write(`${text}\n`))
        const print = (text: string) => spinner.print(fitLines(text, columnsOf(process.stderr)))
        const err = (text: string) => Effect.sync(() => print(text))
        const result = (value: unknown, text: string) =>
          Effect.suspend(() => {
            spinner.stop()
            return mode === "json" ? out(printableJson(value)) : out(text)
          })
        const columns = columnsOf(process.stdout)
        return {
          mode,
          columns,
          result: (value, lines) => result(value, fitLines(lines.map(printable).join("\n"), columns)),
          verbatim: (value, lines) => result(value, lines.map(printable).join("\n")),
          note: (line) => (mode === "human" ? err(printable(line)) : Effect.void),
          event: (event) => {
            if (mode === "json") return out(printableJson({ event: event._tag, ...event, _tag: undefined }))
            if (mode === "quiet") return Effect.void
            return Effect.sync(() => {
              const line = describe(printableTexts(event), paint)
              if (event._tag === "PhaseStarted") spinner.start(line)
              else if (event._tag === "Detail") spinner.detail(line)
              else {
                if (event._tag === "PhaseDone" || event._tag === "PhaseFailed") spinner.stop()
                print(line)
              }
            })
          },
        }
      }),
    )

  /** A run's progress goes where the command's output goes. */
  static readonly layerProgress = Layer.effect(
    UpgradeProgress,
    Effect.map(Output, ({ event }) => ({ emit: event })),
  )
}

type Paint = Record<"bold" | "green" | "red" | "magenta" | "dim", (text: string) => string>
const codes = { bold: 1, green: 32, red: 31, magenta: 35, dim: 2 } as const
const painter = (on: boolean): Paint => {
  const paint = (code: number) => (text: string) => (on ? `\u001b[${code}m${text}\u001b[0m` : text)
  return {
    bold: paint(codes.bold),
    green: paint(codes.green),
    red: paint(codes.red),
    magenta: paint(codes.magenta),
    dim: paint(codes.dim),
  }
}

const seconds = (value: number): string => `${value.toFixed(1)} s`

const describe = (event: ProgressEvent, paint: Paint): string => {
  switch (event._tag) {
    case "PhaseStarted":
      return `[${event.index}/${event.total}] ${event.title}`
    case "Detail":
      return `      ${event.text}`
    case "PhaseDone":
      return `      ${paint.green("done")} in ${seconds(event.seconds)}: ${event.result}`
    case "PhaseFailed":
      // All of it is reported at the end of the command.
      return `      ${paint.red("failed")}: ${event.message.split("\n")[0]}`
    case "Committed":
      return `      ${paint.bold("committed")}`
    case "Recovering":
      return `      ${paint.magenta("recovery")}: ${event.title}`
    case "Warning":
      return `${paint.magenta("warning")}: ${event.text}`
  }
}
