/** The command line before the library reads it. */
import type * as Option from "effect/Option"

export interface Globals {
  readonly dataDir: Option.Option<string>
  readonly quiet: boolean
  readonly json: boolean
}

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

/** The data directory that a hoisted line names. */
export const dataDirOf = (hoisted: ReadonlyArray<string>): string | undefined => {
  for (let index = 0; index < hoisted.length; index++) {
    const arg = hoisted[index] ?? ""
    if (arg === "--data-dir") return hoisted[index + 1]
    if (arg.startsWith("--data-dir=")) return arg.slice("--data-dir=".length)
    if (!flags.includes(arg)) return undefined
  }
  return undefined
}

/**
 * The globals of a plain `waiaas status`, which scripts and prompts run often: it has a file of its own,
 * without the library's parser, and so starts in half the time. Anything else on the line is for
 * the library to read.
 */
export const plainStatus = (hoisted: ReadonlyArray<string>) => {
  const front = hoisted.slice(0, -1)
  if (hoisted[hoisted.length - 1] !== "status") return undefined
  let dataDir: string | undefined
  const seen = new Set<string>()
  for (let index = 0; index < front.length; index++) {
    const arg = front[index] ?? ""
    if (flags.includes(arg)) {
      if (seen.has(arg)) return undefined
      seen.add(arg)
    } else if (arg === "--data-dir" && dataDir === undefined) {
      dataDir = front[++index] ?? ""
      if (dataDir === "" || dataDir.startsWith("-")) return undefined
    } else return undefined
  }
  return { dataDir, quiet: seen.has("--quiet") || seen.has("-q"), json: seen.has("--json") }
}

/** Whether the line is an upgrade or a rollback: a signal begins its way back, which then takes its time. */
export const isRun = (args: ReadonlyArray<string>): boolean =>
  args.includes("upgrade") && !["--check", "--status", "--help", "-h"].some((flag) => args.includes(flag))
