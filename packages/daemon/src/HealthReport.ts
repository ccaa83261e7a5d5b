import { SqlClient } from "@effect/sql/SqlClient"
import { DatabaseFailed } from "@waiaas/domain/DataErrors"
import type { Health, HealthError } from "@waiaas/domain/Health"
import { readSchema } from "@waiaas/services/Migrator"
import { Environment } from "@waiaas/services/platform/Environment"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { HeldGate } from "./HeldGate.ts"
import { problems } from "./Http/Answers.ts"
import { VersionInfo } from "./VersionInfo.ts"

export interface HealthAnswer {
  readonly status: 200 | 503
  /** JSON. */
  readonly body: string
}

/** How old the facts behind an answer may be, in milliseconds. */
const MAX_AGE = 1000
/** How long the database may take before the daemon counts as unhealthy, in seconds. */
const READ_LIMIT = 2

interface Known {
  readonly schemaVersion: number
  readonly latestVersion: string | null
  readonly updateAvailable: boolean
}

/** `known` is `null` while the database cannot be read; `at`: monotonic milliseconds. */
interface Reading {
  readonly at: number
  readonly known: Known | null
}

/**
 * What `/health` answers. A database that cannot be read makes it 503 with status "error": such a
 * daemon signs nothing, and a supervisor should know. A stored version that is none does not.
 */
export class HealthReport extends Context.Tag("@waiaas/daemon/HealthReport")<
  HealthReport,
  {
    /** The answer from facts at most a second old; `null` when they have to be read first. Takes no fiber. */
    readonly unsafeCached: () => HealthAnswer | null
    readonly answer: Effect.Effect<HealthAnswer>
    /** The answer of a daemon that stops; it needs no database, and takes no fiber. */
    readonly unsafeStopping: () => HealthAnswer
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const versions = yield* VersionInfo
      const gate = yield* HeldGate
      const { version } = yield* Environment
      const clock = yield* Effect.clock
      // The monotonic clock: an uptime must not jump with the system's time.
      const monotonic = () => Number(clock.unsafeCurrentTimeNanos() / 1_000_000n)
      const startedAt = monotonic()

      let reading: Reading | null = null
      let rendered: { readonly key: string; readonly answer: HealthAnswer } | null = null

      const read: Effect.Effect<Known, DatabaseFailed> = Effect.gen(function* () {
        const schemaVersion = yield* readSchema("waiaas.db").pipe(Effect.provideService(SqlClient, sql))
        const { latestVersion, updateAvailable } = yield* versions.status
        return { schemaVersion, latestVersion, updateAvailable }
      }).pipe(
        Effect.timeoutFail({
          duration: Duration.seconds(READ_LIMIT),
          onTimeout: () =>
            new DatabaseFailed({
              operation: "read it for /health",
              path: "waiaas.db",
              reason: `it took more than ${READ_LIMIT} s`,
            }),
        }),
      )

      const uptimeNow = () => Math.floor((monotonic() - startedAt) / 1000)
      const timestampNow = () => Math.floor(clock.unsafeCurrentTimeMillis() / 1000)
      const unable = (status: HealthError["status"], message: string): HealthAnswer => ({
        status: 503,
        body: JSON.stringify({
          status,
          version,
          latestVersion: null,
          updateAvailable: false,
          schemaVersion: null,
          uptime: uptimeNow(),
          timestamp: timestampNow(),
          message,
        } satisfies HealthError),
      })

      const render = ({ at, known }: Reading): HealthAnswer => {
        const held = gate.unsafeState() === "held"
        const uptime = uptimeNow()
        const timestamp = timestampNow()
        // Everything else in the answer follows from these: the text is made once a second, not once a request.
        const key = `${held} ${uptime} ${timestamp} ${at}`
        if (rendered?.key === key) return rendered.answer
        const answer: HealthAnswer =
          known !== null
            ? {
                status: 200,
                body: JSON.stringify({
                  status: held ? "held" : "ok",
                  version,
                  latestVersion: known.latestVersion,
                  updateAvailable: known.updateAvailable,
                  schemaVersion: known.schemaVersion,
                  uptime,
                  timestamp,
                } satisfies Health),
              }
            : unable("error", "The database cannot be read; the daemon's log says why.")
        rendered = { key, answer }
        return answer
      }

      const unsafeCached = () =>
        reading !== null && monotonic() - reading.at < MAX_AGE ? render(reading) : null
      const oneAtATime = (yield* Effect.makeSemaphore(1)).withPermits(1)

      const refresh = Effect.gen(function* () {
        const known = yield* read.pipe(
          Effect.catchAllCause((cause) =>
            // Once for each outage, not once for each request of a supervisor.
            (reading === null || reading.known !== null
              ? Effect.logError("The database cannot be read for /health", cause)
              : Effect.void
            ).pipe(Effect.as(null)),
          ),
        )
        reading = { at: monotonic(), known }
        return render(reading)
      })

      return {
        unsafeCached,
        unsafeStopping: () => unable("stopping", problems.stopping.message),
        answer: Effect.suspend(() => {
          const cached = unsafeCached()
          return cached === null ? refresh : Effect.succeed(cached)
        }).pipe(oneAtATime),
      }
    }),
  )
}
