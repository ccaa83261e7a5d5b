import type { FileFailed } from "@waiaas/domain/DataErrors"
import type { PhaseFacts, Run } from "@waiaas/domain/JournalRecord"
import { recoveryFor } from "@waiaas/domain/Recovery"
import { Interrupted, type JournalDamaged, RunDefect } from "@waiaas/domain/RunErrors"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import {
  type PhaseBeforeCommit,
  type PhaseName,
  phasesBeforeCommit,
  type RunKind,
} from "@waiaas/domain/UpgradePhase"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import { Cancellation } from "./Cancellation.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { type BegunPhase, PhaseReporter } from "./PhaseReporter.ts"
import { DataDir } from "./platform/DataDir.ts"
import { Environment } from "./platform/Environment.ts"
import { Recover } from "./Recover.ts"
import type { DataLease } from "./RunLocks.ts"
import { type RecordBody, UpgradeJournal } from "./UpgradeJournal.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

/** A run that failed and was recovered: the cause, and what is in place now. */
export class RunFailed extends Data.TaggedError("RunFailed")<{
  readonly cause: UpgradeError
  readonly phase: PhaseName
  readonly standing: string
  readonly next: string
  readonly exitCode: number
}> {}

/** What a phase works with. */
export interface PhaseContext {
  /** The run as the journal had it when the phase began. */
  readonly run: Run
  readonly lease: DataLease
  /** Makes a record durable; later phases see it. */
  readonly append: (record: RecordBody) => Effect.Effect<Run, JournalDamaged | FileFailed>
}

/** What a phase ends with: words for the operator, and what later phases or a recovery need of it. */
export interface PhaseResult {
  readonly text: string
  readonly facts?: PhaseFacts
}

export type RunAct = (context: PhaseContext) => Effect.Effect<PhaseResult, UpgradeError, Scope.Scope>

/** What each phase of a kind of run does, up to its commit; their order is in `UpgradePhase`. */
export type ActsOf<K extends RunKind> = Readonly<Record<PhaseBeforeCommit[K], RunAct>>

interface Begun<K extends RunKind> {
  readonly kind: K
  readonly run: Run
  readonly lease: DataLease
  /** The first phase, where it was announced before the run began. */
  readonly announced?: BegunPhase
}

export interface RunPlan<K extends RunKind, A> extends Begun<K> {
  readonly acts: ActsOf<K>
  /** What is left once the run is committed. Nothing undoes it: a failure of it needs the operator. */
  readonly finish: (context: PhaseContext) => Effect.Effect<A, UpgradeError>
}

/**
 * Carries out runs of every kind: phases in the order of `phasesOf`, each journaled before it acts and after it is
 * done, then the commit, then the rest. A failure before the commit is journaled and undone by a recovery.
 */
export class RunEngine extends Context.Tag("@waiaas/services/RunEngine")<
  RunEngine,
  {
    readonly run: <K extends RunKind, A>(plan: RunPlan<K, A>) => Effect.Effect<A, RunFailed>
    /** Carries out step 1 alone, and removes what it left. Gives the run as step 1 had left it. */
    readonly rehearse: <K extends RunKind>(
      begun: Begun<K> & { readonly check: RunAct },
    ) => Effect.Effect<Run, RunFailed | UpgradeError>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const journal = yield* UpgradeJournal
      const recover = yield* Recover
      const reporter = yield* PhaseReporter
      const progress = yield* UpgradeProgress
      const swap = yield* PackageSwap
      const { pid } = yield* Environment
      const { paths } = yield* DataDir
      const { cancellable } = yield* Cancellation

      /** A run between two records: what the journal holds of it, and the phase that goes on. */
      const stateOf = (begun: Run) =>
        Effect.map(Effect.all([Ref.make(begun), Ref.make<PhaseName>("check")]), ([run, phase]) => ({
          run,
          phase,
          append: (record: RecordBody) =>
            Effect.tap(
              Effect.flatMap(Ref.get(run), (current) => journal.append(current, record)),
              (next) => Ref.set(run, next),
            ),
        }))
      type State = Effect.Effect.Success<ReturnType<typeof stateOf>>

      const carryOut = <K extends RunKind>(
        { kind, lease, announced }: Begun<K>,
        { run, phase, append }: State,
        acts: ReadonlyArray<readonly [PhaseName, RunAct]>,
      ) =>
        Effect.gen(function* () {
          const { started } = yield* Ref.get(run)
          yield* swap
            .point(started.install, {
              format: 1,
              dataDir: paths.root,
              run: started.run,
              since: started.at,
              pid,
            })
            .pipe(Effect.tapError(announced?.failed ?? (() => Effect.void)))
          for (const [name, act] of acts) {
            yield* Ref.set(phase, name)
            yield* append({ _tag: "PhaseBegun", phase: name })
            const isAnnounced = announced !== undefined && name === acts[0]?.[0]
            const { done, failed } = isAnnounced ? announced : yield* reporter.begin(kind, name)
            yield* Effect.gen(function* () {
              const { text, facts } = yield* cancellable(act({ run: yield* Ref.get(run), lease, append }))
              yield* append({ _tag: "PhaseDone", phase: name, ...(facts ? { facts } : {}) })
              return text
            }).pipe(Effect.tapError(failed), Effect.flatMap(done))
          }
        }).pipe(Effect.scoped)

      /** Journals why the run failed, undoes it, and says which version is in place. */
      const undo = (
        { run, phase, append }: State,
        cause: Cause.Cause<UpgradeError>,
        { kind, lease }: Begun<RunKind>,
      ) =>
        Effect.gen(function* () {
          // A defect is a bug, but the way back is the same: it is carried out, then the bug is shown.
          const error = Option.getOrElse(Cause.failureOption(cause), () => asFailure(kind, cause))
          const name = yield* Ref.get(phase)
          // A journal that cannot be written now may be writable once the reserve is given back.
          yield* Effect.either(
            append({
              _tag: "Failed",
              phase: name,
              error: error._tag,
              message: error.message,
              next: error.next,
            }),
          )
          const failed = yield* Ref.get(run)
          const recovered = yield* Effect.either(recover.execute(failed, lease, { startDaemon: true }))
          const [ended, reason] =
            recovered._tag === "Left" ? [failed, recovered.left] : [recovered.right, error]
          const { standing, next, exitCode } = recoveryFor(reason, ended)
          return yield* new RunFailed({ cause: reason, phase: name, standing, next, exitCode })
        })

      const run = <K extends RunKind, A>(plan: RunPlan<K, A>) =>
        Effect.gen(function* () {
          const { acts, lease, finish } = plan
          const state = yield* stateOf(plan.run)
          const names: ReadonlyArray<PhaseBeforeCommit[K]> = phasesBeforeCommit(plan.kind)
          const decided = yield* Effect.exit(
            Effect.zipRight(
              carryOut(
                plan,
                state,
                names.map((name) => [name, acts[name]] as const),
              ),
              // The one instant that decides: before it everything goes back, after it forward.
              Effect.flatMap(Ref.get(state.run), journal.commit),
            ),
          )
          if (Exit.isFailure(decided)) return yield* undo(state, decided.cause, plan)
          const committed = decided.value
          yield* Ref.set(state.run, committed)
          yield* progress.emit({ _tag: "Committed" })
          return yield* finish({ run: committed, lease, append: state.append }).pipe(
            Effect.catchAll((error: UpgradeError) =>
              Effect.flatMap(Ref.get(state.run), (left) => {
                const { standing, next, exitCode } = recoveryFor(error, left)
                const phase = plan.kind === "upgrade" ? "restart" : "restore"
                return new RunFailed({ cause: error, phase, standing, next, exitCode })
              }),
            ),
          )
        }).pipe(Effect.uninterruptible)

      return {
        run,
        rehearse: (begun) =>
          Effect.gen(function* () {
            const state = yield* stateOf(begun.run)
            const checked = yield* Effect.exit(carryOut(begun, state, [["check", begun.check]]))
            if (Exit.isFailure(checked)) return yield* undo(state, checked.cause, begun)
            const rehearsed = yield* Ref.get(state.run)
            yield* recover.execute(rehearsed, begun.lease, { startDaemon: false, silent: true })
            return rehearsed
          }).pipe(Effect.uninterruptible),
      }
    }),
  )
}

/** How much of a defect's stack is kept. */
const STACK = 2000

const asFailure = (kind: RunKind, cause: Cause.Cause<unknown>): UpgradeError =>
  Cause.isInterruptedOnly(cause)
    ? new Interrupted({})
    : new RunDefect({ kind, defect: Cause.pretty(cause).slice(0, STACK) })
