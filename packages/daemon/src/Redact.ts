/** Takes secrets out of what is about to be written down. */
const hidden = "[redacted]"

const patterns: ReadonlyArray<readonly [RegExp, string]> = [
  // https://user:password@host, and a token in the user's place.
  [/(\b[a-z][a-z0-9+.-]*:)?\/\/[^\s/@"']+@/gi, `$1//${hidden}@`],
  [/\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+/gi, `$1 ${hidden}`],
  [/\b(npm_|gh[pousr]_|github_pat_)[A-Za-z0-9_]{10,}/g, `$1${hidden}`],
  // name=value and "name": "value", for every name that ends in a word for a secret.
  [
    /([\w-]*(?:password|passphrase|passwd|secret|api[_-]?key|private[_-]?key|_?auth(?:orization|[_-]?token)?|token))(\\?["']?\s*[:=]\s*)(?!\s*(?:bearer|basic)\b)(\\?["'])?(?:(?<=["'])[^"'\\]*|[^\s"',;}\]]+)/gi,
    `$1$2$3${hidden}`,
  ],
]

const secretName =
  /(?:password|passphrase|passwd|secret|api_?key|private_?key|^_?auth(?:orization|_?token)?|token)$/i

/** `exact` are known secrets, hidden wherever they stand. */
export const redactText = (text: string, exact: ReadonlyArray<string> = []): string =>
  patterns.reduce(
    (result, [pattern, replacement]) => result.replace(pattern, replacement),
    exact.reduce((result, secret) => result.replaceAll(secret, hidden), text),
  )

/** The same for a structure: values under a secret's name go whole. */
export const redactValue = (value: unknown, exact: ReadonlyArray<string> = [], depth = 0): unknown => {
  if (typeof value === "string") return redactText(value, exact)
  if (typeof value === "bigint") return value.toString()
  if (typeof value !== "object" || value === null) return value
  if (depth > 8) return "[...]"
  if (value instanceof Error) return redactText(value.message, exact)
  if (value instanceof Uint8Array) return `[${value.length} bytes]`
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return value.map((each) => redactValue(each, exact, depth + 1))
  const json = "toJSON" in value && typeof value.toJSON === "function" ? value.toJSON() : value
  if (typeof json !== "object" || json === null || Array.isArray(json))
    return redactValue(json, exact, depth + 1)
  return Object.fromEntries(
    Object.entries(json).map(([name, each]) => [
      name,
      secretName.test(name) ? hidden : redactValue(each, exact, depth + 1),
    ]),
  )
}
