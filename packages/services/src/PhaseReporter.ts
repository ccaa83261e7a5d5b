import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import { type PhaseName, phasesOf, type RunKind } from "@waiaas/domain/UpgradePhase"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { UpgradeProgress } from "./UpgradeProgress.ts"

/** Reports a phase's beginning, end and time; title and place come from the list of phases. */
export class PhaseReporter extends Context.Tag("@waiaas/services/PhaseReporter")<
  PhaseReporter,
  {
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
      const progress = yield* UpgradeProgress
      return {
        report: (kind, phase, act) =>
          Effect.gen(function* () {
            const phases = phasesOf[kind]
            const index = phases.findIndex(({ name }) => name === phase)
            const title = phases[index]?.title ?? phase
            yield* progress.emit({
              _tag: "PhaseStarted",
              kind,
              phase,
              index: index + 1,
              total: phases.length,
              title,
            })
            const [elapsed, result] = yield* Effect.timed(act).pipe(
              Effect.tapError((error) =>
                progress.emit({ _tag: "PhaseFailed", phase, message: error.message }),
              ),
            )
            yield* progress.emit({ _tag: "PhaseDone", phase, seconds: Duration.toSeconds(elapsed), result })
          }),
      }
    }),
  )
}
