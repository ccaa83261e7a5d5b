import { dirname } from "node:path"
import type { AgentChanges } from "@waiaas/domain/AgentChanges"
import { LockBusy } from "@waiaas/domain/DataErrors"
import { hiddenPaths } from "@waiaas/domain/Install"
import type { PhaseFacts, Run } from "@waiaas/domain/JournalRecord"
import { recoveryFor } from "@waiaas/domain/Recovery"
import { type RecoveryPaused, VerificationFailed } from "@waiaas/domain/RunErrors"
import type { Difference } from "@waiaas/domain/SchemaChange"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import type { PhaseName } from "@waiaas/domain/UpgradePhase"
import type { Version } from "@waiaas/domain/Version"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Backup } from "./Backup.ts"
import { Cancellation, toItsEnd } from "./Cancellation.ts"
import { ConfigFile } from "./ConfigFile.ts"
import { DaemonControl } from "./DaemonControl.ts"
import { DaemonHandover } from "./DaemonHandover.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { DataRestore } from "./DataRestore.ts"
import { NpmInstaller } from "./NpmInstaller.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { PhaseReporter } from "./PhaseReporter.ts"
import { expectChangeable, filesOfDatabase } from "./PlacesCheck.ts"
import { expectAlone } from "./platform/DatabaseReaders.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DiskSpace } from "./platform/DiskSpace.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { realPlace } from "./platform/RealPlace.ts"
import { Recover } from "./Recover.ts"
import { nothingPruned, type Pruned } from "./Retention.ts"
import { RollbackCheck, type RollbackPlan } from "./RollbackCheck.ts"
import { type DataLease, RunLocks } from "./RunLocks.ts"
import { expectSpace, RESERVE, sizeOfDatabase } from "./SpaceCheck.ts"
import { RunFailed } from "./Upgrade.ts"
import { type RecordBody, UpgradeJournal } from "./UpgradeJournal.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

export interface RollbackOptions {
  /** Start the daemon at the end, if it ran at the beginning. */
  readonly restart: boolean
  /** Agents that were suspended since the backup sign again; else they stay suspended. */
  readonly resumeSuspended: boolean
}

export interface RollbackReport {
  readonly from: Version
  readonly to: Version
  readonly schema: number
  readonly backup: string
  /** Name of the backup of what was there before. */
  readonly aside: string
  /** What was undone, to the last write; `null` where today's database could not be read. */
  readonly changes: AgentChanges | null
  /** What else was undone: in other tables, and in columns that the backup does not have. */
  readonly others: ReadonlyArray<Difference>
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
      const backups = yield* Backup
      const config = yield* ConfigFile
      const installer = yield* NpmInstaller
      const swap = yield* PackageSwap
      const tool = yield* DatabaseTool
      const restore = yield* DataRestore
      const daemon = yield* DaemonControl
      const handover = yield* DaemonHandover
      const locks = yield* RunLocks
      const journal = yield* UpgradeJournal
      const recover = yield* Recover
      const reporter = yield* PhaseReporter
      const progress = yield* UpgradeProgress
      const files = yield* DurableFile
      const disk = yield* DiskSpace
      const environment = yield* Environment
      const { cancellable } = yield* Cancellation
      const { paths } = yield* DataDir
      const check = yield* RollbackCheck

      /** What is there now, as a backup; as its bare files where SQLite cannot read it. */
      const keepAside = (plan: RollbackPlan, { databasePath, from, to }: Run["started"]) =>
        Effect.gen(function* () {
          const { packageDir } = environment
          const damaged = backups.keepDamaged(databasePath, from)
          const look = Effect.either(tool.examine(packageDir, databasePath, "quick", {}))
          // The plan's look may have failed for another reason, such as a time limit.
          if (plan.unreadable !== null && Either.isLeft(yield* look)) return yield* damaged
          return yield* backups
            .create({ kind: "pre-rollback", source: "closed", database: databasePath, from, to, packageDir })
            .pipe(
              Effect.catchTag("DatabaseFailed", (error) =>
                Effect.gen(function* () {
                  // Only where another look finds the damage too: anything else is a failure of this step.
                  if (Either.isRight(yield* look)) return yield* error
                  const text = `today's database cannot be read; its files are kept as they are: ${error.message}`
                  yield* progress.emit({ _tag: "Warning", text })
                  return yield* damaged
                }),
              ),
            )
        })

      /** What the rollback undoes, of data that nobody has open; `null` where they cannot be read. */
      const undone = ({ backup, unreadable }: RollbackPlan, database: string) =>
        check.changes(backup, database).pipe(
          Effect.catchTag("DatabaseFailed", (error) =>
            Effect.as(
              unreadable === null
                ? progress.emit({
                    _tag: "Warning",
                    text: `what is undone is not known, and an agent that was suspended since may sign again: ${error.message}`,
                  })
                : Effect.void,
              null,
            ),
          ),
        )

      /** Two copies and a package: asked for while the daemon serves. */
      const reserveSpace = ({ backup, code, install }: RollbackPlan, database: string) =>
        Effect.gen(function* () {
          const { manifest } = backup
          const packageSize = code === "same" ? 0 : yield* files.sizeOfTree(install.packageDir)
          yield* expectSpace(files, disk, [
            [paths.upgrade, RESERVE],
            [paths.backups, yield* sizeOfDatabase(files, database)],
            [dirname(database), manifest.files.reduce((sum, { size }) => sum + size, 0)],
            [install.root, packageSize * 3],
          ])
          yield* files.reserve(paths.reserve, RESERVE)
        })

      const runPhases = (begun: Run, plan: RollbackPlan, lease: DataLease, resumeSuspended: boolean) =>
        Effect.uninterruptible(
          Effect.gen(function* () {
            let run = begun
            let phase: PhaseName = "check"
            const { install, backup } = plan
            const { started } = begun
            const append = (record: RecordBody) =>
              Effect.tap(journal.append(run, record), (next) =>
                Effect.sync(() => {
                  run = next
                }),
              )
            const alone = expectAlone(files, environment, {
              database: started.databasePath,
              facts: paths.facts,
            })
            const step = (
              name: "check" | "stop" | "aside",
              act: Effect.Effect<string, UpgradeError>,
              facts?: PhaseFacts,
            ) =>
              Effect.gen(function* () {
                phase = name
                yield* append({ _tag: "PhaseBegun", phase: name, ...(facts && { facts }) })
                yield* reporter.report("rollback", name, cancellable(act))
                yield* append({ _tag: "PhaseDone", phase: name })
              })
            let aside = ""
            let changes: AgentChanges | null = null
            let others: ReadonlyArray<Difference> = []

            const untilCommit = Effect.gen(function* () {
              yield* swap.point(install, {
                format: 1,
                dataDir: paths.root,
                run: started.run,
                since: started.at,
                pid: environment.pid,
              })
              yield* step(
                "check",
                Effect.gen(function* () {
                  yield* alone
                  if (plan.code !== "same") yield* swap.expectMovable(install, started.run, started.from)
                  yield* expectChangeable(files, paths, [
                    ...filesOfDatabase(started.databasePath),
                    // One that is the backup's already stays as it is.
                    ...(plan.configDiffers ? [yield* realPlace(files, paths.config)] : []),
                  ])
                  yield* reserveSpace(plan, started.databasePath)
                  yield* restore.prepareRollback(started.run, backup.name, started.databasePath)
                  const staged = hiddenPaths(install.hidden).stagedPackage(started.run)
                  if (plan.code !== "same") {
                    yield* swap.retain(install, started.from)
                    if (plan.code === "retained") yield* swap.stageRetained(install, started.run, started.to)
                    else
                      yield* installer.stage(install, started.run, { _tag: "Registry", version: started.to })
                  }
                  yield* check.expectFit(plan, staged, started.databasePath)
                  yield* alone
                  if (plan.code !== "same") yield* swap.detour(install, started.from)
                  return `backup ${backup.name} is whole`
                }),
                { schemaTo: backup.manifest.schema },
              )
              yield* step(
                "stop",
                Effect.suspend(() => handover.stop({ run, lease, append })),
              )
              yield* step(
                "aside",
                Effect.gen(function* () {
                  const made = yield* keepAside(plan, started)
                  aside = made.name
                  // Nobody writes any more: what came between the question and the stop is in it.
                  changes = yield* undone(plan, started.databasePath)
                  if (changes !== null) others = yield* check.others(plan.backup, started.databasePath)
                  if (!resumeSuspended && (changes?.suspended.count ?? 0) > 0)
                    yield* restore.keepSuspended(started.run, started.databasePath, environment.packageDir)
                  return made.name
                }),
              )
              yield* Effect.tap(journal.commit(run), (next) =>
                Effect.sync(() => {
                  run = next
                }),
              )
            })

            const exit = yield* Effect.exit(untilCommit)
            if (Exit.isFailure(exit) && !run.committed) {
              const error = Option.getOrElse(
                Cause.failureOption(exit.cause),
                (): UpgradeError =>
                  new VerificationFailed({
                    what: "the rollback's own code",
                    expected: "sound",
                    found: Cause.pretty(exit.cause).slice(0, 2000),
                  }),
              )
              const written = yield* Effect.either(
                journal.append(run, {
                  _tag: "Failed",
                  phase,
                  error: error._tag,
                  message: error.message,
                  next: error.next,
                }),
              )
              const recovered = yield* Effect.either(
                recover.execute(written._tag === "Right" ? written.right : run, lease, { startDaemon: true }),
              )
              const ended = recovered._tag === "Left" ? recovered.left : error
              const stands = recovered._tag === "Left" ? run : recovered.right
              return yield* new RunFailed({ cause: ended, phase, ...recoveryFor(ended, stands) })
            }
            yield* progress.emit({ _tag: "Committed" })
            yield* recover
              .execute(run, lease, { startDaemon: true, silent: true })
              .pipe(
                Effect.mapError(
                  (error: RecoveryPaused) =>
                    new RunFailed({ cause: error, phase: "restore", ...recoveryFor(error, run) }),
                ),
              )
            // The run has ended: what could not be removed is removed by the next one.
            const pruned = yield* Effect.catchAll(
              backups.prune(started.to, { database: started.databasePath, packageDir: install.packageDir }),
              (error) =>
                Effect.as(
                  progress.emit({ _tag: "Warning", text: `old backups were not removed: ${error.message}` }),
                  nothingPruned,
                ),
            )
            return {
              from: started.from,
              to: started.to,
              schema: backup.manifest.schema,
              backup: backup.name,
              aside,
              changes,
              others,
              pruned,
              running: run.daemon !== null && started.restart,
            }
          }),
        )

      return {
        plan: check.plan,
        run: Effect.fn("Rollback.run")(function* (plan: RollbackPlan, options: RollbackOptions) {
          const { databasePath } = yield* config.load
          yield* swap.probe(plan.install)
          return yield* Effect.scoped(
            Effect.gen(function* () {
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
                restart: options.restart,
                backup: plan.backup.name,
                pid: environment.pid,
              })
              return yield* runPhases(run, plan, lease, options.resumeSuspended)
            }),
          )
        }, toItsEnd),
      }
    }),
  ).pipe(Layer.provide(RollbackCheck.layer))
}
