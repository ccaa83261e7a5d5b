/**
 * Lines that fit a terminal. They are broken between words only, and never inside of a command that is to be typed:
 * one that is longer than the terminal has a line of its own, which is copied as one.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: an escape sequence begins with one.
const escapes = /\u001b\[[0-9;]*m/g

/** How many columns a text takes; colours take none. */
const widthOf = (text: string): number => text.replace(escapes, "").length

/** As a shell takes it: a quoted part, a character after a backslash, and what stands next to them. */
const word = "(?:'[^']*'|\"[^\"]*\"|\\\\.|[^\\s`'\"()\\\\])+"
/** Words of commands, as far as a sentence can have them after `waiaas`: anything else ends the command. */
const commandWords = [
  ...["init", "start", "stop", "restart", "status", "health", "logs", "agent", "backup", "upgrade"],
  ...["completions", "create", "list", "show", "suspend", "resume", "sign", "verify"],
].join("|")
const valued = "--(?:data-dir|to|from|backup|lines|owner|chain|network)"
/** Commands that a name follows. */
const named = "agent (?:show|suspend|resume)|backup verify"
const ours = `(?:sudo (?:-u \\S+ )?)?waiaas(?: (?:${named}) (?:${word})|(?: (?:${commandWords})\\b)*)(?: ${valued} (?:${word}|<\\w+>)| --?[a-z][\\w-]*| <[\\w|]+>)*`
/** What stays in one piece: something in backticks, a command of ours, with what follows it by `&&`. */
const piece = new RegExp(`\`[^\`]+\`|${ours}(?: && ${ours})*`, "g")

/** A space that is none to break at, until the line is broken. */
const HELD = "\u0000"
const hold = (text: string): string => text.replaceAll(" ", HELD)

/** After `next:` comes a command, as a whole, or a sentence. */
const next = /((?:^|\. |: )next: )(?![A-Z])(.+)$/

const held = (line: string): string =>
  line.replace(next, (_, before: string, command: string) => before + hold(command)).replace(piece, hold)

const breakLine = (line: string, columns: number, more: string): ReadonlyArray<string> => {
  if (widthOf(line) <= columns) return [line]
  const indent = /^ */.exec(line)?.[0] ?? ""
  const lines: Array<string> = []
  let current = ""
  for (const part of held(line.slice(indent.length)).split(/(?<=\S)(?= )/)) {
    const start = lines.length === 0 ? indent : indent + more
    if (current === "") current = part.trimStart()
    else if (widthOf(start) + widthOf(current) + widthOf(part) <= columns) current += part
    else {
      lines.push(start + current)
      current = part.trimStart()
    }
  }
  return [...lines, (lines.length === 0 ? indent : indent + more) + current].map((each) =>
    each.replaceAll(HELD, " "),
  )
}

/** Narrower than this nothing fits anyway. */
const NARROWEST = 30

/** `columns`: of the terminal; undefined where it is none, whose lines stay as they are. `more`: before what goes on. */
export const fitLines = (text: string, columns: number | undefined, more = "  "): string =>
  columns === undefined || columns < NARROWEST
    ? text
    : text
        .split("\n")
        .flatMap((line) => breakLine(line, columns, more))
        .join("\n")

/** Words of help, which has its own columns: lines of at most `columns`. */
export const wrapWords = (text: string, columns: number): ReadonlyArray<string> =>
  text.split("\n").flatMap((line) => breakLine(line, columns, ""))

/** The columns of an output, if it is a terminal. */
export const columnsOf = (stream: {
  readonly isTTY?: boolean
  readonly columns?: number
}): number | undefined =>
  stream.isTTY === true && (stream.columns ?? 0) >= NARROWEST ? stream.columns : undefined
