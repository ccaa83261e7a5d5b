/** The API as one HTTP application: bounded in body and time, its every failure an answer in JSON. */
import type { IncomingHttpHeaders } from "node:http"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { HttpApiDecodeError } from "@effect/platform/HttpApiError"
import { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { HttpProblem } from "./Answers.ts"
import { describe, problemOf, problems, toResponse } from "./Answers.ts"
import { checkBody, textOf } from "./Body.ts"
import { isPage, methodsOf, operationOf } from "./Docs.ts"
import type { Limits } from "./Limits.ts"

/** JSON, in UTF-8, as it is: what was sent in another form would be read as something else. */
const isJson = ({
  "content-type": type,
  "content-encoding": encoding,
  "transfer-encoding": transfer,
}: IncomingHttpHeaders): boolean =>
  (type === undefined || /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) &&
  (encoding === undefined || encoding === "identity") &&
  (transfer === undefined || transfer.toLowerCase() === "chunked")

/** Reads a body of at most `limit` bytes. What is beyond is read and dropped, so that the answer still arrives. */
const readBody = (request: HttpServerRequest, limit: number): Effect.Effect<string, HttpProblem> =>
  Effect.async<string, HttpProblem>((resume) => {
    const source = NodeHttpServerRequest.toIncomingMessage(request)
    const announced = Number(source.headers["content-length"] ?? 0)
    const hasBody = announced > 0 || source.headers["transfer-encoding"] !== undefined
    if (!hasBody) return resume(Effect.succeed(""))
    if (announced > limit || !isJson(source.headers)) {
      source.resume()
      return resume(Effect.fail(announced > limit ? problems.tooLarge(limit) : problems.notJson))
    }
    const chunks: Array<Buffer> = []
    let size = 0
    source.on("data", (chunk: Buffer) => {
      size += chunk.length
      if (size <= limit) chunks.push(chunk)
      else {
        chunks.length = 0
        resume(Effect.fail(problems.tooLarge(limit)))
      }
    })
    source.on("end", () => resume(textOf(Buffer.concat(chunks))))
    // The connection broke: nobody reads this answer.
    source.on("error", () => resume(Effect.fail(problems.badRequest("The request ended early."))))
  })

/** The router has no route for a part of a path that is longer than this. */
const LONGEST_PART = 100

const isReadable = (part: string): boolean =>
  Either.match(
    Either.try(() => decodeURIComponent(part)),
    { onLeft: () => false, onRight: ({ length }) => length <= LONGEST_PART },
  )

/**
 * What a request asks for has to be what an operation takes, as it is written: the router also takes other forms of a
 * path (another case, `;` and what is behind it, `%73`), for which nothing of this would have been checked.
 */
const checkRequest = (request: HttpServerRequest, text: string): Effect.Effect<string, HttpProblem> => {
  const { url } = request
  const at = url.indexOf("?")
  const [path, query] = at < 0 ? [url, ""] : [url.slice(0, at), url.slice(at + 1)]
  // Whoever may GET may ask for the head of the answer.
  const method = request.method === "HEAD" ? "GET" : request.method
  const found = operationOf(method, path)
  if (found === undefined && !(isPage(path) && method === "GET")) {
    const allowed = methodsOf(path)
    return allowed.length > 0 ? problems.wrongMethod(allowed) : problems.notFound
  }
  if (found?.parts.every(isReadable) === false)
    return problems.badRequest("agent: Expected the id or the name of an agent.")
  if (query !== "") return problems.badRequest("This operation takes no query parameters.")
  return checkBody(text, found?.operation.requestBody !== undefined)
}

/** The same request with its body read already. */
const withText = (request: HttpServerRequest, text: string): HttpServerRequest =>
  Object.create(request, { text: { value: Effect.succeed(text) } })

/** The library's failure of a request that it could not decode says too much: it is answered as every other one is. */
export const layerDecodeErrors = HttpApiBuilder.middleware((api) =>
  Effect.catchAllCause(api, (cause) => {
    // Failures pass through here though its type has none.
    const error: unknown = Cause.squash(cause)
    return error instanceof HttpApiDecodeError
      ? Effect.succeed(toResponse(problems.badRequest(describe(error))))
      : Effect.failCause(cause)
  }),
)

export const makeApp = (limits: Limits) =>
  Effect.map(HttpApiBuilder.httpApp, (api) => {
    const seconds = Duration.toSeconds(limits.time)
    const bounded = Effect.gen(function* () {
      const request = yield* HttpServerRequest
      const text = yield* checkRequest(request, yield* readBody(request, limits.bodyBytes))
      return yield* Effect.provideService(api, HttpServerRequest, withText(request, text))
    }).pipe(
      Effect.timeoutFail({ duration: limits.time, onTimeout: () => problems.outOfTime(seconds) }),
      // The server runs an application uninterruptibly: a client that hangs up should end it.
      Effect.interruptible,
    )
    return bounded.pipe(
      Effect.catchAllCause((cause) => {
        if (Cause.isInterruptedOnly(cause)) return Effect.failCause(Cause.stripFailures(cause))
        const problem = problemOf(cause, methodsOf)
        return problem !== null
          ? Effect.succeed(toResponse(problem))
          : Effect.as(Effect.logError("A request failed", cause), toResponse(problems.internal))
      }),
    )
  })
