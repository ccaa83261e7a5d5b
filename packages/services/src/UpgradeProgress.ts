import type { PhaseName, RecoveryAction, RunKind } from "@waiaas/domain/UpgradePhase"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"

/** What is reported to an operator (or a script) while a run goes on. */
export type ProgressEvent =
  | {
      readonly _tag: "PhaseStarted"
      readonly kind: RunKind
      readonly phase: PhaseName
      readonly index: number
      readonly total: number
      readonly title: string
    }
  /** Something inside a phase that takes long. */
  | { readonly _tag: "Detail"; readonly text: string }
  | {
      readonly _tag: "PhaseDone"
      readonly phase: PhaseName
      readonly seconds: number
      readonly result: string
    }
  | { readonly _tag: "PhaseFailed"; readonly phase: PhaseName; readonly message: string }
  | { readonly _tag: "Committed" }
  | { readonly _tag: "Recovering"; readonly action: RecoveryAction; readonly title: string }
  | { readonly _tag: "Warning"; readonly text: string }

/** Where a run's progress goes; must never fail the run. */
export class UpgradeProgress extends Context.Tag("@waiaas/services/UpgradeProgress")<
  UpgradeProgress,
  { readonly emit: (event: ProgressEvent) => Effect.Effect<void> }
>() {
  static readonly layerSilent = Layer.succeed(this, { emit: () => Effect.void })

  /** Collects events in a list: for tests. */
  static readonly layerRecording = (events: Ref.Ref<ReadonlyArray<ProgressEvent>>) =>
    Layer.succeed(this, { emit: (event) => Ref.update(events, (all) => [...all, event]) })
}
