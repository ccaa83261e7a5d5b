/** `daemon.json`: what a running daemon says of itself. Facts only: the lock is another file. */
import * as Schema from "effect/Schema"
import { Version } from "./Version.ts"

/** The header of `/health` that carries the `instance`. */
export const INSTANCE_HEADER = "waiaas-instance"

export const Supervisor = Schema.Literal("systemd", "runit", "pm2", "container")
export type Supervisor = typeof Supervisor.Type

export const DaemonFacts = Schema.Struct({
  format: Schema.Literal(1),
  pid: Schema.Int.pipe(Schema.positive()),
  /** Start time of that process as the system counts it; with the pid it names one process for good. */
  processStart: Schema.String,
  /** Random, made at its start: `/health` gives it, so that nobody else on that port is taken for it. Opens nothing. */
  instance: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{32}$/)),
  version: Version,
  /** The build of that version, where its package names it. */
  build: Schema.optional(Schema.String),
  hostname: Schema.String,
  port: Schema.Int,
  /** Who restarts it when it ends; `null` when nobody does. */
  supervisor: Schema.NullOr(Supervisor),
  /** Package directory of the code that runs. */
  packageDir: Schema.String,
  /** sha256 of the effective configuration. */
  configDigest: Schema.String,
  /** Seconds that a stop may take. */
  shutdownTimeout: Schema.Int,
  /** Unix seconds. */
  startedAt: Schema.Int,
})
export type DaemonFacts = typeof DaemonFacts.Type
