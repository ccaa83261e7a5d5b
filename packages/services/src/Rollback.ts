import { LockBusy } from "@waiaas/domain/DataErrors"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import type { Version } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { Backup } from "./Backup.ts"
import { toItsEnd } from "./Cancellation.ts"
import { ConfigFile } from "./ConfigFile.ts"
import { DaemonControl } from "./DaemonControl.ts"
import { DaemonHandover } from "./DaemonHandover.ts"
import { NpmInstaller } from "./NpmInstaller.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { DataDir } from "./platform/DataDir.ts"
import { Environment } from "./platform/Environment.ts"
import { Recover } from "./Recover.ts"
import { nothingPruned, type Pruned } from "./Retention.ts"
import { RollbackCheck, type RollbackPlan } from "./RollbackCheck.ts"
import { nothingUndone, RollbackPhases, type Undone } from "./RollbackPhases.ts"
import { type PhaseContext, RunEngine, type RunFailed } from "./RunEngine.ts"
import { RunLocks } from "./RunLocks.ts"
import { UpgradeJournal } from "./UpgradeJournal.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

export interface RollbackOptions {
  /** Start the daemon at the end, if it ran at the beginning. */
  readonly restart: boolean
  /** Agents that were suspended since the backup sign again; else they stay suspended. */
  readonly resumeSuspended: boolean
}

export interface RollbackReport extends Undone {
  readonly from: Version
  readonly to: Version
  readonly schema: number
  readonly backup: string
  /** Name of the backup of what was there before. */
  readonly aside: string
  /** What became of old backups. */
  readonly pruned: Pruned
  readonly running: boolean
}

/** `waiaas upgrade --rollback`: data and the code that belongs to it, back together. */
export class Rollback extends Context.Tag("@waiaas/services/Rollback")<
  Rollback,
  {
    /** Finds and verifies the backup; changes nothing. */
    readonly plan: (backup: Option.Option<string>) => Effect.Effect<RollbackPlan, UpgradeError>
    readonly run: (
      plan: RollbackPlan,
      options: RollbackOptions,
    ) => Effect.Effect<RollbackReport, RunFailed | UpgradeError>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const check = yield* RollbackCheck
      const phases = yield* RollbackPhases
      const engine = yield* RunEngine
      const backups = yield* Backup
      const config = yield* ConfigFile
      const installer = yield* NpmInstaller
      const swap = yield* PackageSwap
      const daemon = yield* DaemonControl
      const handover = yield* DaemonHandover
      const locks = yield* RunLocks
      const journal = yield* UpgradeJournal
      const recover = yield* Recover
      const progress = yield* UpgradeProgress
      const environment = yield* Environment
      const { paths } = yield* DataDir

      /** Up to the run's beginning: permission, locks, daemon. Nothing is changed if it fails. */
      const begin = (plan: RollbackPlan, restart: boolean) =>
        Effect.gen(function* () {
          const { databasePath } = yield* config.load
          const lease = yield* locks.acquire(plan.install, "rollback")
          yield* installer.expectInstalled(plan.install, plan.installed, plan.content)
          const state = yield* daemon.state
          if (state._tag === "Busy")
            return yield* new LockBusy({ lock: "data", path: paths.dataLock, holder: state.holder })
          const run = yield* journal.begin({
            kind: "rollback",
            from: plan.installed,
            to: plan.backup.manifest.from,
            dataDir: paths.root,
            databasePath,
            install: plan.install,
            ...(state._tag === "Running" ? yield* handover.proven(state.facts) : { daemon: null }),
            restart,
            backup: plan.backup.name,
            pid: environment.pid,
          })
          return { run, lease }
        })

      /** Its other phases are the recovery of a committed rollback: whoever resumes one carries out the same. */
      const finish = ({ run, lease }: PhaseContext, plan: RollbackPlan) =>
        Effect.gen(function* () {
          const { started, facts } = run
          yield* recover.execute(run, lease, { startDaemon: true, silent: true })
          // The run has ended: what could not be removed is removed by the next one.
          const { databasePath: database, install } = started
          const pruned = yield* Effect.catchAll(
            backups.prune(started.to, { database, packageDir: install.packageDir }),
            (error) =>
              Effect.as(
                progress.emit({ _tag: "Warning", text: `old backups were not removed: ${error.message}` }),
                nothingPruned,
              ),
          )
          return {
            from: started.from,
            to: started.to,
            schema: plan.backup.manifest.schema,
            backup: plan.backup.name,
            aside: facts.aside ?? "",
            pruned,
            running: run.daemon !== null && started.restart,
          }
        })

      return {
        plan: check.plan,
        run: Effect.fn("Rollback.run")(function* (plan: RollbackPlan, options: RollbackOptions) {
          yield* swap.probe(plan.install)
          return yield* Effect.scoped(
            Effect.gen(function* () {
              const { run, lease } = yield* begin(plan, options.restart)
              const undone = yield* Ref.make(nothingUndone)
              const report = yield* engine.run({
                kind: "rollback",
                run,
                lease,
                acts: phases.acts({ plan, resumeSuspended: options.resumeSuspended, undone }),
                finish: (context) => finish(context, plan),
              })
              return { ...report, ...(yield* Ref.get(undone)) }
            }),
          )
        }, toItsEnd),
      }
    }),
  ).pipe(Layer.provide(Layer.mergeAll(RollbackCheck.layer, RollbackPhases.layer, RunEngine.layer)))
}
