/** The API as one HTTP application: bounded in body and time, its every failure an answer in JSON. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { HttpProblem } from "./Answers.ts"
import { problemOf, problems, toResponse } from "./Answers.ts"
import { methodsOf } from "./Docs.ts"
import type { Limits } from "./Limits.ts"

/** Reads a body of at most `limit` bytes. What is beyond is read and dropped, so that the answer still arrives. */
const readBody = (request: HttpServerRequest, limit: number): Effect.Effect<string, HttpProblem> =>
  Effect.async<string, HttpProblem>((resume) => {
    const source = NodeHttpServerRequest.toIncomingMessage(request)
    const announced = Number(source.headers["content-length"] ?? 0)
    const hasBody = announced > 0 || source.headers["transfer-encoding"] !== undefined
    if (!hasBody) return resume(Effect.succeed(""))
    const type = source.headers["content-type"]
    if (announced > limit || (type !== undefined && !/^application\/json\s*(;|$)/i.test(type))) {
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
    source.on("end", () => resume(Effect.succeed(Buffer.concat(chunks).toString("utf8"))))
    // The connection broke: nobody reads this answer.
    source.on("error", () => resume(Effect.fail(problems.badRequest("The request ended early."))))
  })

/** The same request with its body read already. */
const withText = (request: HttpServerRequest, text: string): HttpServerRequest =>
  Object.create(request, { text: { value: Effect.succeed(text) } })

export const makeApp = (limits: Limits) =>
  Effect.map(HttpApiBuilder.httpApp, (api) => {
    const seconds = Duration.toSeconds(limits.time)
    const bounded = Effect.gen(function* () {
      const request = yield* HttpServerRequest
      const text = yield* readBody(request, limits.bodyBytes)
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
