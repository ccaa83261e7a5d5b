import type { DaemonFacts, Supervisor } from "@waiaas/domain/DaemonFacts"
import type { FileFailed } from "@waiaas/domain/DataErrors"
import type { DaemonStartFailed } from "@waiaas/domain/RunErrors"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { DaemonControl, START_LIMIT } from "./DaemonControl.ts"
import { timeLimitFor } from "./DatabaseTool.ts"
import { DurableFile } from "./platform/DurableFile.ts"

/** Brings a daemon up after a run: spawns it, or lets its supervisor's waiting start become it. */
export class DaemonHandover extends Context.Tag("@waiaas/services/DaemonHandover")<
  DaemonHandover,
  {
    /** Ends when the daemon answers with that version; the caller has journaled `Starting` and freed the data lock. */
    readonly start: (options: {
      readonly packageDir: string
      readonly version: string
      readonly supervisor: Supervisor | null
      readonly schema: number | null
      readonly status: "held" | "ok"
      readonly database: string
    }) => Effect.Effect<DaemonFacts, DaemonStartFailed | FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const daemon = yield* DaemonControl
      const files = yield* DurableFile
      return {
        start: Effect.fn("DaemonHandover.start")(function* ({
          packageDir,
          version,
          supervisor,
          schema,
          status,
          database,
        }) {
          const bytes = yield* files.stat(database).pipe(
            Effect.map((info) => Number(info.size)),
            Effect.orElseSucceed(() => 0),
          )
          const spawned = supervisor === null ? yield* daemon.spawn(packageDir, version) : null
          const pid = spawned?.pid ?? null
          const limit = Duration.sum(START_LIMIT, timeLimitFor(bytes))
          const started = daemon.waitHealthy({ version, schema, status, pid, limit })
          // One that came up wrong, or not at all, must not come to itself later.
          return yield* spawned === null ? started : Effect.onError(started, () => daemon.abandon(spawned))
        }),
      }
    }),
  )
}
