/** The help of a command, made of the same data that its line is read with; no line is wider than a terminal of 80. */
import type { CommandArgument, CommandNode, CommandOption } from "./CommandTree.ts"

const WIDTH = 80
const bold = (text: string): string => `\u001b[1m${text}\u001b[0m`

/** Words broken into lines of at most `width`; a line of its own stays one. */
const wrap = (text: string, width: number): ReadonlyArray<string> =>
  text.split("\n").flatMap((line) => {
    const lines = [""]
    for (const word of line.split(" ")) {
      const last = lines[lines.length - 1] ?? ""
      if (last !== "" && last.length + 1 + word.length > width) lines.push(word)
      else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`
    }
    return lines
  })

/** Names with what they mean: beside each other where there is room, else one below the other. */
const list = (rows: ReadonlyArray<readonly [name: string, meaning: string]>): ReadonlyArray<string> => {
  const column = Math.min(24, Math.max(...rows.map(([name]) => name.length)) + 2)
  return rows.flatMap(([name, meaning]) => {
    const [first = "", ...rest] = wrap(meaning, WIDTH - 2 - column)
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
export const helpText = (root: CommandNode, version: string, words: ReadonlyArray<string>): string => {
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
    ...wrap(node.description, WIDTH),
    ...section(
      "COMMANDS",
      node.children.length === 0 ? [] : list(below(node, node === root ? "" : `${node.name} `)),
    ),
    ...section(
      "ARGUMENTS",
      node.args.length === 0
        ? []
        : list(node.args.map((argument) => [`<${valueName(argument)}>`, argument.description] as const)),
    ),
    ...(node === root ? [] : section("OPTIONS", node.options.size === 0 ? [] : list(optionRows(node)))),
    ...section("WITH EVERY COMMAND, ANYWHERE ON THE LINE", list([...optionRows(root), ...standard])),
  ].join("\n")
}
