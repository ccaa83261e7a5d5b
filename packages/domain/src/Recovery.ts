/**
 * From a failure to its recovery. The journal fixes what is undone (the phases begun, in reverse),
 * the error fixes what the operator reads. Pure: `Recover` is the interpreter.
 */
import { ExitCode } from "./ExitCode.ts"
import type { Run } from "./JournalRecord.ts"
import { DaemonStartFailed } from "./RunErrors.ts"
import type { UpgradeError } from "./UpgradeError.ts"
import { type PhaseName, type RecoveryAction, type RunKind, undoOf } from "./UpgradePhase.ts"

export interface RecoveryPlan {
  readonly direction: "back" | "forward"
  readonly actions: ReadonlyArray<RecoveryAction>
}

/** What a cut-off or failed run needs: before the commit back, after it forward, never back by itself. */
export const planFor = (
  run: Pick<Run, "begun" | "committed"> & { readonly started: { readonly kind: RunKind } },
): RecoveryPlan =>
  run.committed
    ? {
        direction: "forward",
        actions: run.started.kind === "upgrade" ? ["finish-commit"] : ["resume-rollback"],
      }
    : { direction: "back", actions: undoOf(run.started.kind, run.begun) }

export interface Outcome {
  readonly exitCode: number
  /** Which version is in place now, with whose data, in one sentence for the operator. */
  readonly standing: string
  /** What to type next. */
  readonly next: string
}

type Recovered = Pick<Run, "begun" | "committed"> &
  Partial<Pick<Run, "starting">> & {
    readonly daemon?: { readonly supervisor: unknown } | null
    readonly ended?: { readonly daemon?: NonNullable<Run["ended"]>["daemon"] } | null
    readonly started: {
      readonly kind: RunKind
      readonly from: string
      readonly to: string
    }
  }

/** What became of the daemon, where that is not what an operator expects. */
const daemonAfter = ({ ended }: Recovered): string =>
  ended?.daemon === "none" ? " No daemon runs: `waiaas start --background` starts it." : ""

/** The cause's own advice, unless what the recovery did since has made it wrong. */
const nextAfter = (error: UpgradeError, { started, starting, daemon }: Recovered): string => {
  if (error._tag === "Interrupted" && started.kind === "rollback") return "waiaas upgrade --rollback"
  if (error._tag !== "DaemonStartFailed" || starting !== started.from) return error.next
  // The old daemon was started in its place, and with that a log that we write was moved aside.
  const isOurs = daemon?.supervisor === null && error.instead === undefined
  const { next } = isOurs ? new DaemonStartFailed({ ...error, logFile: `${error.logFile}.1` }) : error
  return next.replace(/, then run `waiaas start[^`]*`\.$/, ".")
}

/** The plan of a failed run's recovery, and what its operator reads once that is done. */
export const recoveryFor = (error: UpgradeError, run: Recovered): RecoveryPlan & Outcome => {
  const plan = planFor(run)
  if (error._tag === "RecoveryPaused")
    return {
      ...plan,
      exitCode: ExitCode.needsOperator,
      standing: "The recovery is paused; nothing is lost.",
      next: error.next,
    }
  const next = nextAfter(error, run)
  if (run.committed) {
    const to = run.started.to
    return {
      ...plan,
      exitCode: ExitCode.needsOperator,
      standing: `WAIaaS ${to} is committed with its data; it is not undone by itself.`,
      next,
    }
  }
  const stopped = run.begun.includes("stop")
  return {
    ...plan,
    exitCode:
      error._tag === "Interrupted"
        ? ExitCode.interrupted
        : error._tag === "DaemonStopTimeout"
          ? ExitCode.stopTimeout
          : stopped
            ? ExitCode.rolledBack
            : error.exitCode,
    standing: `${
      stopped
        ? `Everything was put back: WAIaaS ${run.started.from} with its own data.`
        : run.ended?.daemon === "same"
          ? `Nothing was changed: WAIaaS ${run.started.from} served all along.`
          : run.ended?.daemon === "another"
            ? `Nothing was changed. The daemon ended meanwhile, not by this command; WAIaaS ${run.started.from} serves again.`
            : "Nothing was changed."
    }${daemonAfter(run)}`,
    next,
  }
}

/** For the generated table of failures and recoveries. */
export const recoveryTable = (
  kind: RunKind,
  phases: ReadonlyArray<PhaseName>,
): ReadonlyArray<readonly [PhaseName, ReadonlyArray<RecoveryAction>]> =>
  phases.map((phase, index) => [phase, undoOf(kind, phases.slice(0, index + 1))])
