/** Takes secrets out of what is about to be written down. */
export const hidden = "[redacted]"

const patterns: ReadonlyArray<readonly [RegExp, string]> = [
  // https://user:password@host, and a token in the user's place.
  [/(\b[a-z][a-z0-9+.-]*:)?\/\/[^\s/@"']+@/gi, `$1//${hidden}@`],
  [/\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+/gi, `$1 ${hidden}`],
  [/\b(npm_|gh[pousr]_|github_pat_)[A-Za-z0-9_]{10,}/g, `$1${hidden}`],
  // name=value and "name": "value", for every name that ends in a word for a secret.
  [
    /([\w-]*(?:password|passphrase|passwd|secret|(?:api|access)[_-]?key|private[_-]?key|_?auth(?:orization|[_-]?token)?|token))(\\?["']?\s*[:=]\s*)(?!\s*(?:bearer|basic)\b)(\\?["'])?(?:(?<=["'])[^"'\\]*|[^\s"',;}\]]+)/gi,
    `$1$2$3${hidden}`,
  ],
]

/** `exact` are known secrets, hidden wherever they stand. */
export const redactText = (text: string, exact: ReadonlyArray<string> = []): string =>
  patterns.reduce(
    (result, [pattern, replacement]) => result.replace(pattern, replacement),
    exact.reduce((result, secret) => result.replaceAll(secret, hidden), text),
  )
