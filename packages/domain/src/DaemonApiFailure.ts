/** What went wrong with a call of the daemon's API, in words that an operator can act on. */
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import { DaemonUnreachable, RequestRefused } from "./RunErrors.ts"

const statusOf: Readonly<Record<string, number>> = {
  Unauthorized: 401,
  NotFound: 404,
  Conflict: 409,
  Suspended: 409,
  HttpApiDecodeError: 400,
  ParseError: 400,
  Unavailable: 503,
}

interface Issue {
  readonly path: ReadonlyArray<PropertyKey>
  readonly message: string
}

/** What is wrong with the request, as its sender (`ParseError`) or the daemon (`HttpApiDecodeError`) found. */
const issuesOf = (error: object): ReadonlyArray<Issue> => {
  if (error instanceof ParseResult.ParseError) return ParseResult.ArrayFormatter.formatErrorSync(error)
  return Predicate.isTagged(error, "HttpApiDecodeError") && "issues" in error && Array.isArray(error.issues)
    ? error.issues
    : []
}

/** Any failure of a call to the daemon at `address`. */
export const explainFailure = (address: string, error: unknown): DaemonUnreachable | RequestRefused => {
  const failure: { readonly _tag?: string; readonly message?: string } = Predicate.isObject(error)
    ? error
    : { message: String(error) }
  const { _tag: tag = "", message = "" } = failure
  if (tag === "RequestError")
    return new DaemonUnreachable({ address, problem: "no connection", instead: "waiaas start --background" })
  if (tag === "TimeoutException") return new DaemonUnreachable({ address, problem: "no answer within 30 s" })
  const [issue] = issuesOf(failure)
  const problem = issue ? `${issue.path.map(String).join(".")}: ${issue.message.split("\n")[0]}` : message
  return new RequestRefused({ status: statusOf[tag] ?? 500, problem: problem || tag })
}
