import type { Estimate, Run } from "@waiaas/domain/JournalRecord"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import type { Version } from "@waiaas/domain/Version"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { toItsEnd } from "./Cancellation.ts"
import { ConfigFile } from "./ConfigFile.ts"
import { DaemonHandover } from "./DaemonHandover.ts"
import { PhaseReporter } from "./PhaseReporter.ts"
import { Recover } from "./Recover.ts"
import { type ActsOf, RunEngine, type RunFailed } from "./RunEngine.ts"
import { RunLocks } from "./RunLocks.ts"
import { UpgradeBegin, type UpgradeOptions } from "./UpgradeBegin.ts"
import { type Upgraded, UpgradeFinish } from "./UpgradeFinish.ts"
import { UpgradePhases } from "./UpgradePhases.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

export type UpgradeReport =
  | { readonly _tag: "UpToDate"; readonly installed: Version; readonly newest: Version }
  | {
      readonly _tag: "Rehearsed"
      readonly from: Version
      readonly to: Version
      readonly schemaFrom: number
      readonly schemaTo: number
      /** Measured on the copy. */
      readonly estimate: Estimate | null
    }
  | Upgraded

/** `waiaas upgrade`: step 1, and then either its clean-up (`--dry-run`) or the other six, the commit and the rest. */
export class Upgrade extends Context.Tag("@waiaas/services/Upgrade")<
  Upgrade,
  {
    readonly run: (options: UpgradeOptions) => Effect.Effect<UpgradeReport, RunFailed | UpgradeError>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const { begin } = yield* UpgradeBegin
      const phases = yield* UpgradePhases
      const { finish } = yield* UpgradeFinish
      const engine = yield* RunEngine
      const recover = yield* Recover
      const locks = yield* RunLocks
      const reporter = yield* PhaseReporter
      const progress = yield* UpgradeProgress
      const handover = yield* DaemonHandover
      const config = yield* ConfigFile

      /** The acts, with the time since which no daemon serves: not the time of day, which can be set meanwhile. */
      const timed = (acts: ActsOf<"upgrade">) =>
        Effect.gen(function* () {
          const lastSeen = yield* Ref.make<(() => bigint) | null>(null)
          const stop = yield* Ref.make<{ readonly began: bigint; readonly seen: bigint | null } | null>(null)
          const watched: ActsOf<"upgrade"> = {
            ...acts,
            check: (context) =>
              Effect.gen(function* () {
                const { daemon } = context.run
                if (daemon !== null) yield* Ref.set(lastSeen, yield* handover.watch(daemon))
                return yield* acts.check(context)
              }),
            stop: (context) =>
              Effect.gen(function* () {
                const began = yield* Clock.currentTimeNanos
                const result = yield* acts.stop(context)
                yield* Ref.set(stop, { began, seen: (yield* Ref.get(lastSeen))?.() ?? null })
                return result
              }),
          }
          const missedSince = (run: Run) =>
            Effect.map(Ref.get(stop), (stopped) =>
              stopped === null
                ? null
                : // One that had ended before step 2 was missed from then on.
                  isMissing(run)
                  ? (stopped.seen ?? stopped.began)
                  : stopped.began,
            )
          return [watched, missedSince] as const
        })

      return {
        run: Effect.fn("Upgrade.run")(function* (options: UpgradeOptions) {
          const { databasePath } = yield* config.load
          const recovered = yield* recover.onSight({ startDaemon: true })
          if (Option.isSome(recovered))
            yield* progress.emit({
              _tag: "Warning",
              text: `an earlier run was cut off; it was recovered first (run ${recovered.value.started.run})`,
            })
          const { dryRun } = options
          const what = dryRun ? "upgrade --dry-run" : "upgrade"
          return yield* Effect.scoped(
            Effect.gen(function* () {
              // Before npm is asked: of many at once one asks, and the others say who it is.
              yield* locks.acquireRun(what)
              // Asking can take long: the operator sees that it goes on.
              const announced = yield* reporter.begin("upgrade", "check")
              const begun = yield* begin(options, databasePath, what).pipe(Effect.tapError(announced.failed))
              if (begun._tag === "UpToDate") {
                yield* announced.done(`nothing is newer than ${begun.installed}`)
                return begun
              }
              const { run, lease, source } = begun
              const acts = { ...phases, check: phases.check({ source, dryRun }) }
              const plan = { kind: "upgrade", run, lease, announced } as const
              if (dryRun) return asRehearsed(yield* engine.rehearse({ ...plan, check: acts.check }))
              const [watched, missedSince] = yield* timed(acts)
              return yield* engine.run({
                ...plan,
                acts: watched,
                finish: (context) =>
                  Effect.flatMap(missedSince(context.run), (since) => finish(context, since)),
              })
            }),
          )
        }, toItsEnd),
      }
    }),
  ).pipe(Layer.provide(Layer.mergeAll(UpgradeBegin.layer, UpgradeFinish.layer, RunEngine.layer)))
}

const asRehearsed = ({ started, facts }: Run) =>
  ({
    _tag: "Rehearsed",
    from: started.from,
    to: started.to,
    schemaFrom: facts.schemaFrom ?? 0,
    schemaTo: facts.schemaTo ?? 0,
    estimate: facts.estimate ?? null,
  }) as const

/** Whether the daemon that ran at the run's beginning was there no more when step 2 began. */
const isMissing = ({ records }: Run): boolean =>
  records.some((record) => record._tag === "Stopping" && record.daemon === null)
