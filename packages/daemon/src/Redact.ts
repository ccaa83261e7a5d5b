/** Takes secrets out of a structure that is about to be written down. */
import { hidden, redactText } from "@waiaas/domain/Redact"

const secretName =
  /(?:password|passphrase|passwd|secret|(?:api|access)_?key|private_?key|^_?auth(?:orization|_?token)?|token)$/i

/** Text in it as `redactText` does; values under a secret's name go whole. */
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
