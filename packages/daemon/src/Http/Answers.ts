/** Answers that no endpoint gives: errors before, around and instead of the API, always as JSON. */
import type { ServerResponse } from "node:http"
import { RequestError, RouteNotFound } from "@effect/platform/HttpServerError"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"

export const jsonHeaders = {
  "content-type": "application/json",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
} as const

/** An error of the HTTP layer. `message` is fixed text: nothing of a cause gets into an answer. */
export class HttpProblem extends Data.TaggedError("HttpProblem")<{
  readonly status: number
  readonly tag: string
  readonly message: string
  readonly headers?: Readonly<Record<string, string>>
}> {}

const problem = (status: number, tag: string, message: string, headers?: Readonly<Record<string, string>>) =>
  new HttpProblem({ status, tag, message, ...(headers && { headers }) })

export const problems = {
  badRequest: (message: string) => problem(400, "BadRequest", message),
  unauthorized: problem(
    401,
    "Unauthorized",
    "Send the token of the data directory's api.token: authorization: Bearer <token>.",
    {
      "www-authenticate": "Bearer",
    },
  ),
  notFound: problem(404, "NotFound", "There is no such resource."),
  wrongMethod: (allowed: ReadonlyArray<string>) =>
    problem(405, "MethodNotAllowed", `This resource takes ${allowed.join(", ")}.`, {
      allow: allowed.join(", "),
    }),
  tooLarge: (bytes: number) => problem(413, "TooLarge", `A request body has at most ${bytes} bytes.`),
  notJson: problem(415, "UnsupportedMediaType", "A request body is JSON: content-type: application/json."),
  misdirected: problem(421, "Misdirected", "This daemon does not answer to that Host name."),
  internal: problem(500, "Internal", "The daemon failed at this request; its log says why."),
  held: problem(503, "Unavailable", "An upgrade is about to be committed: try again in a moment.", {
    "retry-after": "1",
  }),
  stopping: problem(503, "Unavailable", "The daemon is stopping.", { connection: "close" }),
  outOfTime: (seconds: number) =>
    problem(503, "Unavailable", `The request took more than ${seconds} s and was given up.`),
} as const

const bodyOf = ({ tag, message }: HttpProblem): string => JSON.stringify({ _tag: tag, message })

/** Answers without a fiber. */
export const send = (response: ServerResponse, failure: HttpProblem): void => {
  const body = bodyOf(failure)
  response.writeHead(failure.status, {
    ...jsonHeaders,
    "content-length": Buffer.byteLength(body),
    ...failure.headers,
  })
  response.end(body)
}

/** A whole answer as bytes, for a socket whose request could not even be parsed. */
export const rawAnswer = (status: number, reason: string, tag: string, message: string): string => {
  const body = JSON.stringify({ _tag: tag, message })
  return `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

export const toResponse = (failure: HttpProblem): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(bodyOf(failure), {
    status: failure.status,
    contentType: "application/json",
    headers: failure.headers,
  })

/** What a failure that the API did not answer itself is to the client; `null`: an inner fault, to be logged. */
export const problemOf = (
  cause: Cause.Cause<unknown>,
  methodsOf: (path: string) => ReadonlyArray<string>,
): HttpProblem | null => {
  const error = Cause.squash(cause)
  if (error instanceof HttpProblem) return error
  if (error instanceof RouteNotFound) {
    const allowed = methodsOf(error.request.url.split("?", 1)[0] ?? "/")
    return allowed.length > 0 ? problems.wrongMethod(allowed) : problems.notFound
  }
  if (error instanceof RequestError) return problems.badRequest("The request body is not valid JSON.")
  return null
}
