/** A request's body, before it is decoded: text that means one thing. */
import * as Effect from "effect/Effect"
import { type HttpProblem, problems } from "./Answers.ts"

// With its mark left in place a text that begins with one is no JSON, as it should be.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Bytes that are not UTF-8 are refused: replaced, several messages would become one. */
export const textOf = (bytes: Uint8Array): Effect.Effect<string, HttpProblem> =>
  Effect.try({
    try: () => utf8.decode(bytes),
    catch: () => problems.badRequest("The request body is not UTF-8."),
  })

/** Strings and punctuation of JSON; numbers and words lie between them. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g

/** The first name that an object of this JSON has twice: which of the two values counts, every reader decides for itself. */
const repeatedName = (json: string): string | undefined => {
  const open: Array<Set<string> | null> = []
  let last = ""
  for (const [token] of json.matchAll(TOKEN)) {
    if (token === "{") open.push(new Set())
    else if (token === "[") open.push(null)
    else if (token === "}" || token === "]") open.pop()
    else if (token === ":") {
      const names = open.at(-1)
      const name: string = JSON.parse(last)
      if (names?.has(name)) return name
      names?.add(name)
    }
    last = token
  }
  return undefined
}

/** Far more than a request needs; a schema goes into a value by recursion. */
const DEEPEST = 32

const isTooDeep = (json: string): boolean => {
  let depth = 0
  for (const [token] of json.matchAll(TOKEN)) {
    if (token === "{" || token === "[") depth++
    else if (token === "}" || token === "]") depth--
    if (depth > DEEPEST) return true
  }
  return false
}

/** Whether the text is a JSON object, where the operation takes one; where it takes none, there is nothing in it. */
export const checkBody = (text: string, isTaken: boolean): Effect.Effect<string, HttpProblem> =>
  Effect.gen(function* () {
    if (text.trim() === "") return isTaken ? yield* problems.badRequest("The request has no body.") : text
    if (isTooDeep(text)) return yield* problems.badRequest("The request body is nested too deeply.")
    const value = yield* Effect.try({
      try: (): unknown => JSON.parse(text),
      catch: () => problems.badRequest("The request body is not valid JSON."),
    })
    if (typeof value !== "object" || value === null || Array.isArray(value))
      return yield* problems.badRequest("The request body is not a JSON object.")
    if (!isTaken && Object.keys(value).length > 0)
      return yield* problems.badRequest("This operation takes no request body.")
    const name = repeatedName(text)
    if (name !== undefined)
      return yield* problems.badRequest(`The request body has ${JSON.stringify(name.slice(0, 64))} twice.`)
    return text
  })
