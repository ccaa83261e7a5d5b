/** The help of a command, made of the same data that its line is read with; no line is wider than the terminal. */
import { wrapWords } from "@waiaas/domain/TerminalLines"
import type { CommandArgument, CommandNode, CommandOption } from "./CommandTree.ts"

/** Of the help, in columns, wherever there are as many. */
export const HELP_WIDTH = 80
const bold = (text: string): string => `\u001b[1m${text}\u001b[0m`

/** Names with what they mean: side by side where there is room, else one below the other. */
const list = (
  rows: ReadonlyArray<readonly [name: string, meaning: string]>,
  width: number,
): ReadonlyArray<string> => {
  const column = Math.min(width < 70 ? 18 : 24, Math.max(...rows.map(([name]) => name.length)) + 2)
  return rows.flatMap(([name, meaning]) => {
    const [first = "", ...rest] = wrapWords(meaning, width - 2 - column)
    const more = rest.map((line) => `  ${" ".repeat(column)}${line}`)
    return name.length + 2 > column
      ? [`  ${name}`, `  ${" ".repeat(column)}${first}`, ...more]
      : [`  ${name.padEnd(column)}${first}`, ...more]
  })
}

const valueNames: Readonly<Record<string, string>> = {
  "--data-dir": "dir",
  "--to": "version",
  "--from": "file",
  "--backup": "name",
  "--owner": "address",
}

const valueName = (argument: CommandArgument): string =>
  argument.choices.length > 0
    ? argument.choices.join("|")
    : (valueNames[argument.name] ?? argument.name.replace(/^-+/, ""))

const distinct = (node: CommandNode): ReadonlyArray<CommandOption> => [...new Set(node.options.values())]

const optionRows = (node: CommandNode) =>
  distinct(node).map((option) => {
    const value = option.takesValue ? ` <${valueName(option)}>` : ""
    const names = [...option.spellings].sort((a, b) => a.length - b.length)
    return [`${names.join(", ")}${value}`, option.description] as const
  })

const section = (title: string, lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.length === 0 ? [] : ["", bold(title), ...lines]

const firstSentence = (text: string): string => text.split(/\n|(?<=[a-z)])\. /)[0]?.replace(/\.$/, "") ?? ""

/** Every command below a node, by its whole name. */
const below = (node: CommandNode, prefix: string): ReadonlyArray<readonly [string, string]> =>
  node.children.flatMap((child) => {
    const name = `${prefix}${child.name}`
    const args = child.args.map((argument) => ` <${valueName(argument)}>`).join("")
    return child.children.length > 0
      ? below(child, `${name} `)
      : [[`${name}${args}`, firstSentence(child.description)] as const]
  })

const standard = [
  ["-h, --help", "Show this help, or a command's"],
  ["--version", "Show the version"],
] as const

/** `words`: the command's, without `waiaas`; what is no command any more is left out. */
export const helpText = (
  root: CommandNode,
  version: string,
  words: ReadonlyArray<string>,
  width = HELP_WIDTH,
): string => {
  let node = root
  const name = ["waiaas"]
  for (const word of words) {
    const child = node.children.find((each) => each.name === word)
    if (child === undefined) break
    name.push(word)
    node = child
  }
  const usage = [
    ...name,
    ...(node.children.length > 0 ? ["<command>"] : []),
    ...(node !== root && node.options.size > 0 ? ["[options]"] : []),
    ...node.args.map((argument) => `<${valueName(argument)}>`),
  ].join(" ")
  return [
    bold(`WAIaaS ${version}`),
    "",
    `$ ${usage}`,
    "",
    ...wrapWords(node.description, width),
    ...section(
      "COMMANDS",
      node.children.length === 0 ? [] : list(below(node, node === root ? "" : `${node.name} `), width),
    ),
    ...section(
      "ARGUMENTS",
      node.args.length === 0
        ? []
        : list(
            node.args.map((argument) => [`<${valueName(argument)}>`, argument.description] as const),
            width,
          ),
    ),
    ...(node === root
      ? []
      : section("OPTIONS", node.options.size === 0 ? [] : list(optionRows(node), width))),
    ...section("WITH EVERY COMMAND, ANYWHERE ON THE LINE", list([...optionRows(root), ...standard], width)),
  ].join("\n")
}
