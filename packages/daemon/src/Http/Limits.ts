import * as Duration from "effect/Duration"

/** What one request may take. */
export interface Limits {
  readonly bodyBytes: number
  readonly time: Duration.Duration
}

export const defaultLimits: Limits = { bodyBytes: 1024 * 1024, time: Duration.seconds(30) }
