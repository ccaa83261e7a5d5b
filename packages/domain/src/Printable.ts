/**
 * What is shown of text that others can write: files, names of files and programs, npm's and a daemon's answers. A terminal
 * obeys control characters (a title, a clipboard, a line that hides another one), so they are shown as what they are made
 * of. The one place for it: every way out of a process goes through here.
 */

/** Control, format (text direction, invisible marks), line and paragraph separators, halves of a character. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu
/** What joins the letters of some scripts and the parts of some emoji. */
const joiners = /^[\u200c\u200d]$/

const escaped = (character: string): string => {
  const code = (character.codePointAt(0) ?? 0).toString(16)
  return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`
}

const withoutControls = (text: string, kept: RegExp): string =>
  text.replace(unprintable, (character) =>
    kept.test(character) || joiners.test(character) ? character : escaped(character),
  )

/** Text of several lines, of which those after the first are indented: none of them can pass for a line of ours. */
export const printable = (text: string): string =>
  withoutControls(text.replaceAll("\r\n", "\n"), /^[\n\t]$/).replace(/\n(?! {2}|\n|$)/g, "\n  ")

/** Text of one line, with an end: a name, a word about a process. */
export const oneLine = (text: string, most = 200): string => {
  const line = withoutControls(text, /^(?!)$/)
  return line.length > most ? `${line.slice(0, most)}...` : line
}

/** JSON that a terminal shows as it is; read again, it is the same value. */
export const printableJson = (value: unknown): string =>
  JSON.stringify(value).replace(unprintable, (character) =>
    Array.from({ length: character.length }, (_, index) =>
      escaped(String.fromCharCode(character.charCodeAt(index))),
    ).join(""),
  )

/** A value with every text in it printable. */
export const printableTexts = <A>(value: A): A => {
  if (typeof value === "string") return printable(value) as A
  if (Array.isArray(value)) return value.map(printableTexts) as A
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, printableTexts(each)])) as A
}
