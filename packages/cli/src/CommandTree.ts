/** What a command line may hold, read off the commands themselves: the library keeps it in their descriptors. */
import * as HelpDoc from "@effect/cli/HelpDoc"
import { escapes } from "./Escapes.ts"

export interface CommandArgument {
  readonly name: string
  readonly description: string
  /** The only values that it can have; empty where any text will do. */
  readonly choices: ReadonlyArray<string>
}

export interface CommandOption extends CommandArgument {
  readonly spellings: ReadonlyArray<string>
  readonly takesValue: boolean
}

export interface CommandNode {
  readonly name: string
  readonly description: string
  /** By each of its spellings, such as `--yes` and `-y`. */
  readonly options: ReadonlyMap<string, CommandOption>
  readonly args: ReadonlyArray<CommandArgument>
  readonly children: ReadonlyArray<CommandNode>
}

/** As much of the library's own data as is read here; its types are not exported. */
interface Described {
  readonly _tag: string
  readonly name?: string
  readonly fullName?: string
  readonly aliases?: ReadonlyArray<string>
  readonly description?: HelpDoc.HelpDoc
  readonly primitiveType?: {
    readonly _tag: string
    readonly alternatives?: ReadonlyArray<readonly [string, unknown]>
  }
  readonly options?: Described
  readonly args?: Described
  readonly argumentOption?: Described
  readonly command?: Described
  readonly parent?: Described
  readonly left?: Described
  readonly right?: Described
  readonly children?: ReadonlyArray<Described>
}

const singles = (part: Described | undefined): ReadonlyArray<Described> => {
  if (part === undefined || part._tag === "Empty") return []
  if (part._tag === "Single") return [part]
  return [part.options, part.args, part.argumentOption, part.left, part.right].flatMap(singles)
}

const textOf = (doc: HelpDoc.HelpDoc | undefined): string =>
  doc === undefined ? "" : HelpDoc.toAnsiText(doc).replace(escapes, "").trim()

const about = ({ description, primitiveType }: Described) => ({
  description: textOf(description),
  choices: (primitiveType?.alternatives ?? []).map(([name]) => name),
})

/** The library writes an argument's name in brackets. */
const bare = (name = ""): string => name.replace(/^<(.*)>$/, "$1")

const dashed = (alias: string): string => (alias.length === 1 ? `-${alias}` : `--${alias}`)

const read = (part: Described): CommandNode => {
  if (part._tag === "Map" && part.command !== undefined) return read(part.command)
  if (part._tag === "Subcommands" && part.parent !== undefined)
    return { ...read(part.parent), children: (part.children ?? []).map(read) }
  const options = singles(part.options).flatMap((single) => {
    const { fullName = "", aliases = [], primitiveType } = single
    const spellings = [...new Set([fullName, ...aliases.map(dashed)])]
    const option = { ...about(single), name: fullName, spellings, takesValue: primitiveType?._tag !== "Bool" }
    return spellings.map((spelling) => [spelling, option] as const)
  })
  return {
    name: part.name ?? "",
    description: textOf(part.description),
    options: new Map(options),
    args: singles(part.args).map((single) => ({ ...about(single), name: bare(single.name) })),
    children: [],
  }
}

export const commandTree = (command: { readonly descriptor: unknown }): CommandNode =>
  read(command.descriptor as Described)
