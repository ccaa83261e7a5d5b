/** Reads a command line before the library does, and says in words what is wrong with it. */
import { nearest } from "@waiaas/domain/Nearest"
import type { CommandNode } from "./CommandTree.ts"
import { WrongUsage } from "./Failure.ts"

export type Reading =
  /** For the library: globals, the command's words, its options, its arguments. */
  | { readonly _tag: "Run"; readonly args: ReadonlyArray<string>; readonly words: ReadonlyArray<string> }
  | { readonly _tag: "Help"; readonly words: ReadonlyArray<string> }
  | { readonly _tag: "Version" }
  | { readonly _tag: "Wrong"; readonly usage: WrongUsage }

/** What a value is, where "a value" says too little. */
const valueOf: Readonly<Record<string, string>> = {
  "--data-dir": "a directory",
  "--to": "a version",
  "--from": "a file",
  "--backup": "the name of a backup",
}

const wrong = (message: string, next: string): Reading => ({
  _tag: "Wrong",
  usage: new WrongUsage({ kind: "WrongUsage", message, next }),
})

const versions = ["--version", "-v", "-V"]
const helps = ["--help", "-h"]

/** `args`: without the name of the program. */
export const readUsage = (root: CommandNode, args: ReadonlyArray<string>): Reading => {
  const globals: Array<string> = []
  const options: Array<string> = []
  const values: Array<string> = []
  const seen = new Set<string>()
  const words: Array<string> = []
  let node = root
  let asksHelp = false
  let asksVersion = false
  /** What stops the reading, unless help or the version is asked for further on. */
  let problem: Reading | undefined
  const refuse = (message: string, next: string) => {
    problem ??= wrong(message, next)
  }
  const whole = () => ["waiaas", ...words].join(" ")
  let index = 0
  for (; index < args.length; index++) {
    const arg = args[index] ?? ""
    if (arg === "--") break
    if (helps.includes(arg)) asksHelp = true
    else if (versions.includes(arg)) asksVersion = true
    else if (arg.startsWith("-") && arg !== "-") {
      const equals = arg.startsWith("--") ? arg.indexOf("=") : -1
      const spelling = equals === -1 ? arg : arg.slice(0, equals)
      const known = root.options.get(spelling) ?? node.options.get(spelling)
      const target = root.options.has(spelling) ? globals : options
      if (known === undefined) {
        // Every letter is near to every other one.
        const isLetter = !spelling.startsWith("--")
        const meant = isLetter
          ? undefined
          : nearest(spelling, [...root.options.keys(), ...node.options.keys()])
        const asValue = node.args.length > 0 ? ` If it is a value, it goes after "--".` : ""
        const hint = meant === undefined ? asValue : ` Did you mean ${meant}?`
        refuse(`${whole()} has no option ${JSON.stringify(spelling)}.${hint}`, `${whole()} --help`)
        continue
      }
      let value: string | undefined
      if (known.takesValue) {
        value = equals === -1 ? args[index + 1] : arg.slice(equals + 1)
        if (value === undefined || value === "" || (equals === -1 && value.startsWith("-"))) {
          refuse(`${known.name} needs ${valueOf[known.name] ?? "a value"}.`, `${whole()} --help`)
          continue
        }
        if (equals === -1) index++
      } else if (equals !== -1) {
        refuse(`${known.name} takes no value.`, `${whole()} --help`)
        continue
      }
      if (value !== undefined && known.choices.length > 0 && !known.choices.includes(value)) {
        refuse(
          `${known.name} is one of ${known.choices.join(", ")}, not ${JSON.stringify(value)}.`,
          `${whole()} --help`,
        )
        continue
      }
      if (seen.has(known.name)) {
        if (value !== undefined) refuse(`${known.name} is given twice.`, `${whole()} --help`)
        continue
      }
      seen.add(known.name)
      target.push(known.name, ...(value === undefined ? [] : [value]))
    } else if (words.length === 0 && values.length === 0 && (arg === "help" || arg === "version")) {
      if (arg === "help") asksHelp = true
      else asksVersion = true
    } else if (node.children.length > 0) {
      const child = node.children.find(({ name }) => name === arg)
      if (child === undefined) {
        const meant = nearest(
          arg,
          node.children.map(({ name }) => name),
        )
        const group = node.children.find(({ name, children }) => name === meant && children.length > 0)
        const after = group?.children.find(({ name }) => name === args[index + 1])?.name ?? "--help"
        const next = [meant ?? "--help", ...(group === undefined ? [] : [after])].join(" ")
        refuse(`There is no command ${JSON.stringify([...words, arg].join(" "))}.`, `${whole()} ${next}`)
        break
      }
      words.push(arg)
      node = child
    } else values.push(arg)
  }
  values.push(...args.slice(index + 1).filter(() => args[index] === "--"))
  if (asksHelp) return { _tag: "Help", words }
  if (asksVersion) return { _tag: "Version" }
  if (problem !== undefined) return problem
  if (words.length === 0) return { _tag: "Help", words }
  if (node.children.length > 0)
    return wrong(
      `${whole()} needs one of its commands: ${node.children.map(({ name }) => name).join(", ")}.`,
      `${whole()} --help`,
    )
  const lacking = node.args.slice(values.length)
  if (lacking.length > 0)
    return wrong(`${whole()} needs ${lacking.map(({ name }) => `<${name}>`).join(" ")}.`, `${whole()} --help`)
  if (values.length > node.args.length)
    return wrong(`${whole()} does not take ${JSON.stringify(values[node.args.length])}.`, `${whole()} --help`)
  for (const [at, { name, choices }] of node.args.entries())
    if (choices.length > 0 && !choices.includes(values[at] ?? ""))
      return wrong(
        `<${name}> is one of ${choices.join(", ")}, not ${JSON.stringify(values[at])}.`,
        `${whole()} --help`,
      )
  const rest = values.some((value) => value.startsWith("-")) ? ["--", ...values] : values
  return { _tag: "Run", words, args: [...globals, ...words, ...options, ...rest] }
}
