/** Answers that no endpoint gives: errors before, around and instead of the API, always as JSON. */
import { type ServerResponse, STATUS_CODES } from "node:http"
import type { HttpApiDecodeError } from "@effect/platform/HttpApiError"
import { RequestError, RouteNotFound } from "@effect/platform/HttpServerError"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"

export const jsonHeaders = {
  "content-type": "application/json",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
} as const

/** An error of the HTTP layer, as `DaemonApiProblem` has it. `message` is fixed text: nothing of a cause gets into an answer. */
export class HttpProblem extends Data.TaggedError("HttpProblem")<{
  readonly status: number
  readonly tag: string
  readonly message: string
  readonly next: string
  readonly headers?: Readonly<Record<string, string>>
}> {}

const problem = (
  status: number,
  tag: string,
  message: string,
  next: string,
  headers?: Readonly<Record<string, string>>,
) => new HttpProblem({ status, tag, message, next, ...(headers && { headers }) })

const readDocs = "Read what it takes in `/docs`."
const again = "Send the request again in a moment."

export const problems = {
  badRequest: (message: string) => problem(400, "BadRequest", message, readDocs),
  unauthorized: problem(
    401,
    "Unauthorized",
    "The request does not carry the API's token.",
    "Send the header `authorization: Bearer <token>` with the token in `api.token` of the data directory.",
    { "www-authenticate": "Bearer" },
  ),
  notFound: problem(404, "NotFound", "There is no such resource.", "Read the list of resources in `/docs`."),
  wrongMethod: (allowed: ReadonlyArray<string>) =>
    problem(405, "MethodNotAllowed", `This resource takes ${allowed.join(", ")}.`, readDocs, {
      allow: allowed.join(", "),
    }),
  timeout: problem(408, "Timeout", "The request took too long to arrive.", again),
  tooLarge: (bytes: number) =>
    problem(413, "TooLarge", `A request body has at most ${bytes} bytes.`, "Send a smaller request."),
  notJson: problem(
    415,
    "UnsupportedMediaType",
    "A request body is JSON in UTF-8, not compressed.",
    "Send the header `content-type: application/json`.",
  ),
  expectationFailed: problem(
    417,
    "ExpectationFailed",
    "Only 100-continue can be expected.",
    "Send the request without the header `expect`.",
    { connection: "close" },
  ),
  misdirected: problem(
    421,
    "Misdirected",
    "The Host header names neither this machine nor the daemon's configured host name.",
    "Send the request to the host name and port of the daemon's configuration.",
  ),
  headersTooLarge: problem(
    431,
    "HeadersTooLarge",
    "The request headers are too large.",
    "Send smaller request headers.",
  ),
  internal: problem(
    500,
    "Internal",
    "The daemon failed at this request; its log says why.",
    "Read the end of `logs/daemon.log` in the data directory.",
  ),
  held: problem(503, "Unavailable", "An upgrade is about to be committed.", again, { "retry-after": "1" }),
  stopping: problem(503, "Unavailable", "The daemon is stopping.", "waiaas start --background", {
    connection: "close",
  }),
  outOfTime: (seconds: number) =>
    problem(503, "Unavailable", `The request took more than ${seconds} s and was given up.`, again),
  storageFull: problem(
    507,
    "StorageFull",
    "No space, or no inode, is left for the data directory, its keystore or its database; nothing was stored.",
    "Free some space there (`df -h` and `df -i` show what is left), then send the request again.",
  ),
} as const

const bodyOf = ({ tag, message, next }: HttpProblem): string => JSON.stringify({ _tag: tag, message, next })

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
export const rawAnswer = (failure: HttpProblem): string => {
  const body = bodyOf(failure)
  const headers = { ...jsonHeaders, connection: "close", "content-length": Buffer.byteLength(body) }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  return [`HTTP/1.1 ${failure.status} ${STATUS_CODES[failure.status] ?? ""}`, ...lines, "", body].join("\r\n")
}

export const toResponse = (failure: HttpProblem): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(bodyOf(failure), {
    status: failure.status,
    contentType: "application/json",
    headers: failure.headers,
  })

/** What is wrong with a request, in words: the first place that is not as it should be, without the schema around it. */
export const describe = ({ issues }: HttpApiDecodeError): string => {
  const [issue] = issues
  if (issue === undefined) return "The request is not what this operation takes."
  const place = issue.path.map(String).join(".")
  const [line = ""] = issue.message.split("\n")
  const text = line.length > 200 ? `${line.slice(0, 200)}...` : line
  return `${place === "" ? "" : `${place}: `}${text.replace(/\.$/, "")}.`
}

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
