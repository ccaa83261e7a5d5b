/** `GET /health`: apart from the API's definition, because whoever only looks at the daemon needs no more. */
import * as Schema from "effect/Schema"

export const Health = Schema.Struct({
  /** `held`: an upgrade is not committed yet, everything but `/health` answers 503. */
  status: Schema.Literal("ok", "held"),
  version: Schema.String,
  latestVersion: Schema.NullOr(Schema.String),
  updateAvailable: Schema.Boolean,
  /** What the database says. */
  schemaVersion: Schema.Int,
  /** Seconds since the start. */
  uptime: Schema.Int,
  /** Unix seconds. */
  timestamp: Schema.Int,
})
export type Health = typeof Health.Type

/**
 * The daemon is up, and good for nothing: `error`, its database cannot be read; `stopping`, it lets the last
 * requests finish. Its HTTP status is 503.
 */
export const HealthError = Schema.Struct({
  status: Schema.Literal("error", "stopping"),
  version: Schema.String,
  latestVersion: Schema.Null,
  updateAvailable: Schema.Literal(false),
  schemaVersion: Schema.Null,
  uptime: Schema.Int,
  timestamp: Schema.Int,
  message: Schema.String,
})
export type HealthError = typeof HealthError.Type

/** Whether a daemon that answers this can serve, at once or once its upgrade is committed. */
export const isServing = (answer: Health | HealthError): answer is Health =>
  answer.status === "ok" || answer.status === "held"

export const urlOf = (hostname: string, port: number): string =>
  `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`

/** Where a client on this machine finds a daemon that listens on `hostname`. */
export const addressOf = (hostname: string, port: number): string =>
  urlOf(hostname === "0.0.0.0" ? "127.0.0.1" : hostname === "::" ? "::1" : hostname, port)
