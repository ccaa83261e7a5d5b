/** The failures of the daemon's API: each one is a JSON object of `_tag`, `message` and `next`, and a status of its own or shared. */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as Schema from "effect/Schema"

const problem = <T extends string>(tag: T, status: number, description: string) =>
  Schema.TaggedStruct(tag, {
    /** What happened, and to what. */
    message: Schema.String,
    /** What to do about it: one command, or one sentence. */
    next: Schema.String,
  }).annotations({ identifier: tag, description, ...HttpApiSchema.annotations({ status }) })

export const BadRequest = problem("BadRequest", 400, "The request is not what this operation takes")
export const Unauthorized = problem("Unauthorized", 401, "The API's token is missing or wrong")
export const NotFound = problem("NotFound", 404, "There is no such agent or resource")
export const MethodNotAllowed = problem("MethodNotAllowed", 405, "The resource does not take this method")
export const Timeout = problem("Timeout", 408, "The request took too long to arrive")
/** The request clashes with what this release stores. */
export const Conflict = problem("Conflict", 409, "This release cannot store what was asked for")
export const NameTaken = problem("NameTaken", 409, "Another agent has that name")
export const Ambiguous = problem(
  "Ambiguous",
  409,
  "Several agents have that name; the message lists their ids",
)
export const Suspended = problem("Suspended", 409, "The agent is suspended")
export const KeyUnavailable = problem(
  "KeyUnavailable",
  409,
  "The agent's sealed key is missing or does not open",
)
export const TooLarge = problem("TooLarge", 413, "The request body is too large")
export const UnsupportedMediaType = problem("UnsupportedMediaType", 415, "The request body is not JSON")
export const ExpectationFailed = problem("ExpectationFailed", 417, "Only 100-continue can be expected")
export const Misdirected = problem("Misdirected", 421, "The Host header names another machine")
export const HeadersTooLarge = problem("HeadersTooLarge", 431, "The request headers are too large")
export const Internal = problem("Internal", 500, "The daemon failed at this request; its log says why")
/** Held before an upgrade's commit, stopping, out of time, or the registry does not answer. */
export const Unavailable = problem("Unavailable", 503, "The daemon cannot answer this now")
export const StorageFull = problem("StorageFull", 507, "No space is left for the data directory")
