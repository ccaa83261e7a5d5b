/** What the text of a table's, an index's, a trigger's or a view's definition says, whatever its spaces, comments and quotes are. */

const TOKEN =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|\s+|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[\p{L}\p{M}\p{N}_$]+|./gsu
const PLAIN = /^[a-z_][a-z0-9_]*$/
const STARTS_CONSTRAINT = new Set(["constraint", "primary", "unique", "check", "foreign"])

/** A quoted name as SQLite reads it; other text as it is. */
const nameOf = (token: string): string =>
  (token.startsWith('"') && token.slice(1, -1).replaceAll('""', '"')) ||
  (token.startsWith("`") && token.slice(1, -1).replaceAll("``", "`")) ||
  (token.startsWith("[") && token.slice(1, -1)) ||
  token

/** The tokens of a definition: words in lower case, a quoted name like a plain one where it could be that. */
const tokensOf = (sql: string): ReadonlyArray<string> =>
  [...sql.matchAll(TOKEN)].flatMap(([token]) => {
    if (/^(?:--|\/\*|\s)/.test(token)) return []
    if (token.startsWith("'")) return [token]
    const name = nameOf(token)
    if (name === token) return [token.toLowerCase()]
    // A constraint begins with a word, a column may have that word as its name.
    return [PLAIN.test(name) && !STARTS_CONSTRAINT.has(name) ? name : JSON.stringify(name)]
  })

/** Names that are one, since a declared change leads from one to the other: all of them as the first. */
export type SameNames = ReadonlyMap<string, string>

const one = (names: SameNames) => (token: string) =>
  names.get((token.startsWith('"') ? String(JSON.parse(token)) : token).toLowerCase()) ?? token

/** A whole definition, for comparison. */
export const definitionOf = (sql: string, names: SameNames = new Map()): string =>
  tokensOf(sql).map(one(names)).join(" ")

export interface TableDefinition {
  /** Type, constraints, default, collation of each column, by its name in lower case. */
  readonly columns: ReadonlyMap<string, string>
  /** Constraints of the table as a whole, and what follows its columns (STRICT, WITHOUT ROWID). */
  readonly whole: string
}

/** What `CREATE TABLE` says of each column and of the table; of a virtual table, which has its own grammar, all of it. */
export const tableDefinitionOf = (sql: string, names: SameNames = new Map()): TableDefinition => {
  const tokens = tokensOf(sql)
  const columns = new Map<string, string>()
  if (tokens[1] === "virtual") return { columns, whole: tokens.slice(4).map(one(names)).join(" ") }
  const parts: Array<Array<string>> = [[]]
  let at = tokens.indexOf("(")
  for (let depth = 0; at < tokens.length && at >= 0; at++) {
    const token = tokens[at] ?? ""
    if (token === ")") depth--
    if (depth === 0 && token === ")") break
    if (depth === 1 && token === ",") parts.push([])
    else if (depth > 0) parts.at(-1)?.push(token)
    if (token === "(") depth++
  }
  const whole: Array<string> = []
  for (const part of parts) {
    const [first = "", ...rest] = part
    if (STARTS_CONSTRAINT.has(first)) whole.push(part.map(one(names)).join(" "))
    else {
      const name = first.startsWith('"') ? String(JSON.parse(first)) : first
      columns.set(name.toLowerCase(), rest.map(one(names)).join(" "))
    }
  }
  const options = tokens
    .slice(at + 1)
    .join(" ")
    .split(" , ")
  return { columns, whole: [...whole.toSorted(), ...options.toSorted()].join("; ") }
}
