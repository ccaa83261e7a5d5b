import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type * as Option from "effect/Option"

export interface Globals {
  readonly dataDir: Option.Option<string>
  readonly quiet: boolean
  readonly json: boolean
}

/** The root command: what every command takes. */
export const root = Command.make("waiaas", {
  dataDir: Options.text("data-dir").pipe(
    Options.withDescription("The data directory (default: WAIAAS_DATA_DIR, then ~/.waiaas)"),
    Options.optional,
  ),
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("Say nothing but results and errors"),
  ),
  json: Options.boolean("json").pipe(
    Options.withDescription("Results as JSON, progress as one JSON object a line"),
  ),
})

const withValue = ["--data-dir"]
const flags = ["--quiet", "-q", "--json"]

/** Moves the global options to the front, so that they may stand anywhere on the line. */
export const hoistGlobals = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const front: Array<string> = []
  const rest: Array<string> = []
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? ""
    if (arg === "--") {
      rest.push(...args.slice(index))
      break
    }
    if (flags.includes(arg) || withValue.some((name) => arg.startsWith(`${name}=`))) front.push(arg)
    else if (withValue.includes(arg) && args[index + 1] !== undefined) front.push(arg, args[++index] ?? "")
    else rest.push(arg)
  }
  return [...front, ...rest]
}

/**
 * Help is asked for wherever it stands on the line, of the command that the line begins with. The
 * library's own search for it (`finalCheckBuiltIn`) answers every command with the first one's help.
 */
export const helpOfCommand = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const end = args.indexOf("--")
  const own = end === -1 ? args : args.slice(0, end)
  if (!own.includes("--help") && !own.includes("-h")) return args
  const begin = own.findIndex(
    (arg, index) => !arg.startsWith("-") && !withValue.includes(own[index - 1] ?? ""),
  )
  if (begin === -1) return ["--help"]
  const words = own.slice(begin)
  return [
    ...words.slice(
      0,
      words.findIndex((arg) => arg.startsWith("-")),
    ),
    "--help",
  ]
}

/** `waiaas completions <shell>` is what an operator types; the library's own flag answers it. */
export const completionsToFlag = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args[0] === "completions" && args[1] !== "--help" ? ["--completions", args[1] ?? "bash"] : args
