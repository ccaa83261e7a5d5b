import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import { type PhaseName, phasesOf, type RunKind } from "@waiaas/domain/UpgradePhase"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { UpgradeProgress } from "./UpgradeProgress.ts"

/** A phase that was announced, and says how it ends; its time runs since then. */
export interface BegunPhase {
  readonly done: (result: string) => Effect.Effect<void>
  readonly failed: (error: UpgradeError) => Effect.Effect<void>
}

/** Reports a phase's beginning, end and time; title and place come from the list of phases. */
export class PhaseReporter extends Context.Tag("@waiaas/services/PhaseReporter")<
  PhaseReporter,
  {
    readonly begin: (kind: RunKind, phase: PhaseName) => Effect.Effect<BegunPhase>
    /** `act` gives the phase's result in a few words. */
    readonly report: (
      kind: RunKind,
      phase: PhaseName,
      act: Effect.Effect<string, UpgradeError>,
    ) => Effect.Effect<void, UpgradeError>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const { emit } = yield* UpgradeProgress
      const begin = (kind: RunKind, phase: PhaseName): Effect.Effect<BegunPhase> =>
        Effect.gen(function* () {
          const phases = phasesOf[kind]
          const index = phases.findIndex(({ name }) => name === phase)
          const title = phases[index]?.title ?? phase
          yield* emit({ _tag: "PhaseStarted", kind, phase, index: index + 1, total: phases.length, title })
          const began = yield* Clock.currentTimeNanos
          return {
            done: (result) =>
              Effect.flatMap(Clock.currentTimeNanos, (now) =>
                emit({ _tag: "PhaseDone", phase, seconds: Number(now - began) / 1e9, result }),
              ),
            failed: ({ message }) => emit({ _tag: "PhaseFailed", phase, message }),
          }
        })
      return {
        begin,
        report: (kind, phase, act) =>
          Effect.flatMap(begin(kind, phase), ({ done, failed }) =>
            Effect.flatMap(Effect.tapError(act, failed), done),
          ),
      }
    }),
  )
}
