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
