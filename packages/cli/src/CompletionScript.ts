/** Completion scripts for shells, made of the same data that a line is read with. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are the shells' own.
import type { CommandNode } from "./CommandTree.ts"

export type Shell = "bash" | "zsh" | "fish"

interface Place {
  /** The command's words; empty for `waiaas` alone. */
  readonly path: string
  /** What can come next: commands, or choices of the argument, and options. */
  readonly words: ReadonlyArray<string>
}

const places = (root: CommandNode): ReadonlyArray<Place> => {
  const everywhere = [...root.options.keys(), "--help"]
  const visit = (node: CommandNode, path: ReadonlyArray<string>): ReadonlyArray<Place> => [
    {
      path: path.join(" "),
      words: [
        ...node.children.map(({ name }) => name),
        ...(node.args[0]?.choices ?? []),
        ...(node === root ? ["--version"] : node.options.keys()),
        ...everywhere,
      ],
    },
    ...node.children.flatMap((child) => visit(child, [...path, child.name])),
  ]
  return visit(root, [])
}

const allOptions = (root: CommandNode) => {
  const visit = (node: CommandNode): ReadonlyArray<readonly [string, { readonly takesValue: boolean }]> => [
    ...node.options.entries(),
    ...node.children.flatMap(visit),
  ]
  return visit(root)
}

/** Options that a word follows; the shell offers its files there. */
const withValue = (root: CommandNode): ReadonlyArray<string> => [
  ...new Set(allOptions(root).flatMap(([spelling, { takesValue }]) => (takesValue ? [spelling] : []))),
]

/** `case` lines of a POSIX shell: the longest path first, and what comes after its arguments. */
const cases = (root: CommandNode, assign: (words: string) => string): ReadonlyArray<string> =>
  [...places(root)]
    .sort((a, b) => b.path.length - a.path.length)
    .map(({ path, words }) =>
      path === ""
        ? `    *) ${assign(words.join(" "))} ;;`
        : `    "${path}"|"${path} "*) ${assign(words.join(" "))} ;;`,
    )

const bash = (root: CommandNode): ReadonlyArray<string> => [
  "_waiaas() {",
  '  local word skip="" path="" words="" current="${COMP_WORDS[COMP_CWORD]}"',
  '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
  '    if [ -n "$skip" ]; then skip=""; continue; fi',
  '    case "$word" in',
  `      ${withValue(root).join("|")}) skip=1 ;;`,
  "      -*) ;;",
  '      *) path="${path:+$path }$word" ;;',
  "    esac",
  "  done",
  '  if [ -n "$skip" ]; then COMPREPLY=($(compgen -f -- "$current")); return; fi',
  '  case "$path" in',
  ...cases(root, (words) => `words="${words}"`),
  "  esac",
  '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
  "}",
  "complete -o filenames -F _waiaas waiaas",
]

const zsh = (root: CommandNode): ReadonlyArray<string> => [
  "#compdef waiaas",
  "_waiaas() {",
  '  local word skip="" path_="" ; local -a offered',
  '  for word in "${(@)words[2,CURRENT-1]}"; do',
  '    if [ -n "$skip" ]; then skip=""; continue; fi',
  '    case "$word" in',
  `      ${withValue(root).join("|")}) skip=1 ;;`,
  "      -*) ;;",
  '      *) path_="${path_:+$path_ }$word" ;;',
  "    esac",
  "  done",
  '  if [ -n "$skip" ]; then _files; return; fi',
  '  case "$path_" in',
  ...cases(root, (words) => `offered=(${words})`),
  "  esac",
  "  compadd -- $offered",
  "}",
  "compdef _waiaas waiaas",
]

const fish = (root: CommandNode): ReadonlyArray<string> => [
  "function __waiaas_path",
  "  set -l skip 0",
  "  set -l path",
  "  for word in (commandline -opc)[2..-1]",
  "    if test $skip = 1",
  "      set skip 0",
  "      continue",
  "    end",
  "    switch $word",
  `      case ${withValue(root).join(" ")}`,
  "        set skip 1",
  "      case '-*'",
  "      case '*'",
  "        set -a path $word",
  "    end",
  "  end",
  '  string join " " -- $path',
  "end",
  "complete -c waiaas -f",
  ...places(root).map(({ path, words }) => {
    const at =
      path === "" ? 'test -z "$(__waiaas_path)"' : `string match -q -r '^${path}( |$)' -- (__waiaas_path)`
    return `complete -c waiaas -n '${at.replaceAll("'", "\\'")}' -a '${words.join(" ")}'`
  }),
  ...withValue(root).map((name) => `complete -c waiaas -l ${name.replace(/^-+/, "")} -r -F`),
]

const scripts = { bash, zsh, fish } as const

/** The lines of a script. */
export const completionScript = (root: CommandNode, shell: Shell): ReadonlyArray<string> =>
  scripts[shell](root)
