/** What went wrong with a call of the daemon's API, in words that an operator can act on. */
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import { DaemonUnreachable, RequestRefused } from "./RunErrors.ts"

/** The HTTP status of each failure that the API documents. */
const statusOf: Readonly<Record<string, number>> = {
  BadRequest: 400,
  Unauthorized: 401,
  NotFound: 404,
  MethodNotAllowed: 405,
  Timeout: 408,
  Conflict: 409,
  NameTaken: 409,
  Ambiguous: 409,
  Suspended: 409,
  KeyUnavailable: 409,
  TooLarge: 413,
  UnsupportedMediaType: 415,
  ExpectationFailed: 417,
  Misdirected: 421,
  HeadersTooLarge: 431,
  Internal: 500,
  Unavailable: 503,
  StorageFull: 507,
}

/** What the sender itself found wrong with the request, before it was sent. */
const problemOf = (error: ParseResult.ParseError): string => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  const place = issue?.path.map(String).join(".") ?? ""
  const [line = "The request is not one of this API"] = issue?.message.split("\n") ?? []
  // Some of the library's words have the value in them, and a value may be long.
  const text = line.length > 200 ? `${line.slice(0, 200)}...` : line
  return `${place === "" ? "" : `${place}: `}${text.replace(/\.$/, "")}.`
}

/** Any failure of a call to the daemon at `address`. */
export const explainFailure = (address: string, error: unknown): DaemonUnreachable | RequestRefused => {
  if (error instanceof ParseResult.ParseError)
    return new RequestRefused({ status: 400, problem: problemOf(error) })
  const failure: { readonly _tag?: string; readonly message?: string; readonly next?: string } =
    Predicate.isObject(error) ? error : { message: String(error) }
  const { _tag: tag = "", message = "", next } = failure
  if (tag === "RequestError")
    return new DaemonUnreachable({ address, problem: "no connection", instead: "waiaas start --background" })
  if (tag === "TimeoutException") return new DaemonUnreachable({ address, problem: "no answer within 30 s" })
  // Its `next` is for whoever sends the header; the command sent it, from the file.
  if (tag === "Unauthorized")
    return new RequestRefused({
      status: 401,
      problem: "The daemon does not accept the API token: it is not the one that it began with.",
      instead: "waiaas stop && waiaas start --background",
    })
  return new RequestRefused({
    status: statusOf[tag] ?? 500,
    problem: message || `The daemon's answer is not one of its API: ${tag}.`,
    ...(next === undefined || tag === "BadRequest" ? {} : { instead: next }),
  })
}
