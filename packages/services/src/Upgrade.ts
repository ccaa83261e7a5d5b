import { LockBusy } from "@waiaas/domain/DataErrors"
import type { Estimate, Run } from "@waiaas/domain/JournalRecord"
import { BadTarget } from "@waiaas/domain/PackageErrors"
import { recoveryFor } from "@waiaas/domain/Recovery"
import { Interrupted, VerificationFailed } from "@waiaas/domain/RunErrors"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import { type PhaseName, upgradePhases } from "@waiaas/domain/UpgradePhase"
import type { Version } from "@waiaas/domain/Version"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Backup } from "./Backup.ts"
import { digestOf } from "./BuildDigest.ts"
import { Cancellation, toItsEnd } from "./Cancellation.ts"
import { ConfigFile } from "./ConfigFile.ts"
import { DaemonControl } from "./DaemonControl.ts"
import { DaemonHandover } from "./DaemonHandover.ts"
import { DataRestore } from "./DataRestore.ts"
import { NpmInstaller, type Source } from "./NpmInstaller.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { type BegunPhase, PhaseReporter } from "./PhaseReporter.ts"
import { DataDir } from "./platform/DataDir.ts"
import { Environment } from "./platform/Environment.ts"
import { Recover } from "./Recover.ts"
import { ReleaseFile } from "./ReleaseFile.ts"
import { nothingPruned, type Pruned } from "./Retention.ts"
import { RunLocks } from "./RunLocks.ts"
import { type RecordBody, UpgradeJournal } from "./UpgradeJournal.ts"
import { type PhaseContext, UpgradePhases } from "./UpgradePhases.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"
import { otherBuild, type Target, UpgradeTarget } from "./UpgradeTarget.ts"

export interface UpgradeOptions {
  /** An exact version or a dist-tag. */
  readonly to: Option.Option<string>
  /** A tarball: nothing is asked of a registry. */
  readonly from: Option.Option<string>
  /** Start the daemon at the end, if it ran at the beginning. */
  readonly restart: boolean
  /** Only step 1, cleaned up afterwards. */
  readonly dryRun: boolean
}

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
  | {
      readonly _tag: "Upgraded"
      readonly from: Version
      readonly to: Version
      readonly schemaFrom: number
      readonly schemaTo: number
      /** Directory name of the backup. */
      readonly backup: string
      /** Seconds without a serving daemon; `null` where none ran. */
      readonly downtime: number | null
      readonly running: boolean
      /** What became of old backups. */
      readonly pruned: Pruned
    }

/** A run that failed and was recovered: the cause, and what is in place now. */
export class RunFailed extends Data.TaggedError("RunFailed")<{
  readonly cause: UpgradeError
  readonly phase: PhaseName
  readonly standing: string
  readonly next: string
  readonly exitCode: number
}> {}

/** `waiaas upgrade`: the seven phases as one pipeline, every failure of which ends in a recovery. */
export class Upgrade extends Context.Tag("@waiaas/services/Upgrade")<
  Upgrade,
  {
    readonly run: (options: UpgradeOptions) => Effect.Effect<UpgradeReport, RunFailed | UpgradeError>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const targets = yield* UpgradeTarget
      const installer = yield* NpmInstaller
      const releaseFile = yield* ReleaseFile
      const locks = yield* RunLocks
      const recover = yield* Recover
      const journal = yield* UpgradeJournal
      const phases = yield* UpgradePhases
      const reporter = yield* PhaseReporter
      const progress = yield* UpgradeProgress
      const swap = yield* PackageSwap
      const backups = yield* Backup
      const daemon = yield* DaemonControl
      const handover = yield* DaemonHandover
      const config = yield* ConfigFile
      const restore = yield* DataRestore
      const environment = yield* Environment
      const { paths } = yield* DataDir
      const { cancellable } = yield* Cancellation

      const findTarget = (
        options: UpgradeOptions,
        database: string,
      ): Effect.Effect<readonly [Target, Source], UpgradeError> =>
        Effect.gen(function* () {
          if (Option.isNone(options.from)) {
            const target = yield* targets.find(options.to, database)
            const { version, waiaas } = target.release
            return [target, { _tag: "Registry", version, build: waiaas?.build }] as const
          }
          if (Option.isSome(options.to))
            return yield* new BadTarget({
              target: options.to.value,
              problem: "--to and --from exclude each other",
            })
          const install = yield* installer.install
          const file = options.from.value
          const { release, files, sha256 } = yield* releaseFile.read(file)
          const judged = yield* targets.judge(install, release, database)
          const isOther =
            release.version === judged.installed &&
            digestOf(files) !== (yield* installer.build(install)).content
          const target = isOther
            ? { ...judged, refusal: otherBuild(judged.installed, "the tarball's") }
            : judged
          return [target, { _tag: "Tarball", file, sha256 }] as const
        })

      /** The build that a target is looked for; `null` where another run has it in its hands just now. */
      const installedNow = Effect.gen(function* () {
        return (yield* installer.build(yield* installer.install)).content
      }).pipe(
        Effect.catchIf(
          (error) => error._tag === "FileFailed" && error.code === "ENOENT",
          () => Effect.succeed(null),
        ),
      )

      /** Up to the run's beginning: target, permission, locks, daemon. Nothing is changed if it fails. */
      const begin = (options: UpgradeOptions, databasePath: string, what: string) =>
        Effect.gen(function* () {
          const before = yield* installedNow
          const [target, source] = yield* cancellable(findTarget(options, databasePath))
          for (const text of target.warnings) yield* progress.emit({ _tag: "Warning", text })
          if (target.refusal !== null) return yield* target.refusal
          const { install, installed, release } = target
          if (!target.isNewer) return { _tag: "UpToDate", installed, newest: release.version } as const
          yield* swap.probe(install)
          const lease = yield* locks.acquire(install, what, { hasRun: true })
          yield* installer.expectInstalled(install, installed, before)
          const state = yield* daemon.state
          // Nobody who could be asked to stop: better said now than with the upgrade half-way.
          if (state._tag === "Busy")
            return yield* new LockBusy({ lock: "data", path: paths.dataLock, holder: state.holder })
          const found = state._tag === "Running" ? yield* handover.proven(state.facts) : { daemon: null }
          const run = yield* journal.begin({
            kind: "upgrade",
            from: installed,
            to: release.version,
            dataDir: paths.root,
            databasePath,
            install,
            ...found,
            restart: options.restart,
            pid: environment.pid,
          })
          return { _tag: "Begun", run, source, lease } as const
        })

      /** After the commit nothing goes back: what is left is done whatever is interrupted. */
      const finish = (decided: Run, append: PhaseContext["append"], stoppedAt: bigint | null) =>
        Effect.gen(function* () {
          const { started } = decided
          // No undo needs it any more, and what is left to do may need space.
          yield* restore.giveBack(started.run, started.databasePath)
          const run = yield* journal.announce(decided)
          const { daemon: before, patience } = run
          const running = before !== null && started.restart
          // It was healthy, and waits for the commit; one that was killed meanwhile is started again.
          if (running)
            yield* handover.ensure({
              packageDir: started.install.packageDir,
              version: started.to,
              supervisor: before.supervisor,
              patience,
              schema: run.facts.schemaTo ?? null,
              status: "ok",
              database: started.databasePath,
              configDigest: before.configDigest,
            })
          const downtime =
            running && stoppedAt !== null ? Number((yield* Clock.currentTimeNanos) - stoppedAt) / 1e9 : null
          yield* swap.relink(started.install)
          // Room for the next ones; an upgrade that is committed does not fail for it.
          const pruned = yield* Effect.gen(function* () {
            const { databasePath: database, install } = started
            const found = yield* backups.prune(started.to, { database, packageDir: install.packageDir })
            const kept = (yield* backups.list).flatMap(({ manifest }) => (manifest ? [manifest.from] : []))
            yield* swap.pruneRetained(started.install, [...kept, started.from])
            return found
          }).pipe(
            Effect.catchAll((error) =>
              Effect.as(
                progress.emit({ _tag: "Warning", text: `old backups were not removed: ${error.message}` }),
                nothingPruned,
              ),
            ),
          )
          yield* recover.leftovers(run)
          yield* append({ _tag: "Ended", outcome: "new", ...(downtime === null ? {} : { downtime }) })
          return {
            _tag: "Upgraded",
            from: started.from,
            to: started.to,
            schemaFrom: run.facts.schemaFrom ?? 0,
            schemaTo: run.facts.schemaTo ?? 0,
            backup: run.facts.backup ?? "",
            downtime,
            running,
            pruned,
          } as const
        })

      /** `checking`: step 1, which has begun already. */
      const runPhases = (
        begun: Run,
        source: Source,
        lease: PhaseContext["lease"],
        dryRun: boolean,
        checking: BegunPhase,
      ) =>
        Effect.uninterruptible(
          Effect.gen(function* () {
            let run = begun
            let phase: PhaseName = "check"
            // Not the time of day: that can be set meanwhile.
            let stoppedAt: bigint | null = null
            const append = (record: RecordBody) =>
              Effect.tap(journal.append(run, record), (next) =>
                Effect.sync(() => {
                  run = next
                }),
              )

            const pipeline = Effect.gen(function* () {
              const { daemon: before } = begun
              const lastSeen = before === null ? null : yield* handover.watch(before)
              yield* swap
                .point(run.started.install, {
                  format: 1,
                  dataDir: paths.root,
                  run: run.started.run,
                  since: run.started.at,
                  pid: environment.pid,
                })
                .pipe(Effect.tapError(checking.failed))
              for (const each of upgradePhases) {
                if (dryRun && each.name !== "check") break
                phase = each.name
                if (phase === "stop") stoppedAt = yield* Clock.currentTimeNanos
                const act = phases[each.name as keyof UpgradePhases["Type"]]
                yield* append({ _tag: "PhaseBegun", phase })
                const { done, failed } =
                  phase === "check" ? checking : yield* reporter.begin("upgrade", phase)
                yield* Effect.gen(function* () {
                  const { text, facts } = yield* cancellable(act({ run, lease, source, dryRun, append }))
                  yield* append({ _tag: "PhaseDone", phase: each.name, ...(facts ? { facts } : {}) })
                  // One that had ended before step 2 was missed from then on.
                  if (phase === "stop" && lastSeen !== null && isMissing(run)) stoppedAt = lastSeen()
                  return text
                }).pipe(Effect.tapError(failed), Effect.flatMap(done))
              }
            })

            const exit = yield* Effect.exit(Effect.scoped(pipeline))
            if (Exit.isFailure(exit)) {
              // A defect is a bug, but the way back is the same: it is carried out, then the bug is shown.
              const cause = Option.getOrElse(Cause.failureOption(exit.cause), () => asFailure(exit.cause))
              return yield* fail(run, phase, cause, lease)
            }
            if (dryRun) {
              const { facts, started } = run
              yield* recover.execute(run, lease, { startDaemon: false, silent: true })
              return {
                _tag: "Rehearsed",
                from: started.from,
                to: started.to,
                schemaFrom: facts.schemaFrom ?? 0,
                schemaTo: facts.schemaTo ?? 0,
                estimate: facts.estimate ?? null,
              } as const
            }
            // The one instant that decides: before it everything goes back, after it forward.
            const committed = yield* Effect.exit(journal.commit(run))
            if (Exit.isFailure(committed))
              return yield* fail(
                run,
                phase,
                Option.getOrElse(Cause.failureOption(committed.cause), () => asFailure(committed.cause)),
                lease,
              )
            run = committed.value
            yield* progress.emit({ _tag: "Committed" })
            return yield* finish(run, append, stoppedAt).pipe(
              Effect.catchAll((error: UpgradeError) => {
                return new RunFailed({ cause: error, phase: "restart", ...recoveryFor(error, run) })
              }),
            )
          }),
        )

      /** Journals the real cause, goes back, and says which version is in place. */
      const fail = (run: Run, phase: PhaseName, error: UpgradeError, lease: PhaseContext["lease"]) =>
        Effect.gen(function* () {
          const failed = (recovered: Run, cause: UpgradeError) => {
            const { standing, next, exitCode } = recoveryFor(cause, recovered)
            return new RunFailed({ cause, phase, standing, next, exitCode })
          }
          const written = yield* Effect.either(
            journal.append(run, {
              _tag: "Failed",
              phase,
              error: error._tag,
              message: error.message,
              next: error.next,
            }),
          )
          // A journal that cannot be written now may be writable once the reserve is given back.
          const current = written._tag === "Right" ? written.right : run
          const recovered = yield* Effect.either(recover.execute(current, lease, { startDaemon: true }))
          if (recovered._tag === "Left") return yield* failed(run, recovered.left)
          return yield* failed(recovered.right, error)
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
          const what = options.dryRun ? "upgrade --dry-run" : "upgrade"
          return yield* Effect.scoped(
            Effect.gen(function* () {
              // Before npm is asked: of many at once one asks, and the others say who it is.
              yield* locks.acquireRun(what)
              // Asking can take long: the operator sees that it goes on.
              const checking = yield* reporter.begin("upgrade", "check")
              const begun = yield* begin(options, databasePath, what).pipe(Effect.tapError(checking.failed))
              if (begun._tag === "UpToDate") {
                yield* checking.done(`nothing is newer than ${begun.installed}`)
                return begun
              }
              return yield* runPhases(begun.run, begun.source, begun.lease, options.dryRun, checking)
            }),
          )
        }, toItsEnd),
      }
    }),
  )
}

/** Whether the daemon that ran at the run's beginning was there no more when step 2 began. */
const isMissing = ({ records }: Run): boolean =>
  records.some((record) => record._tag === "Stopping" && record.daemon === null)

const asFailure = (cause: Cause.Cause<unknown>): UpgradeError =>
  Cause.isInterruptedOnly(cause)
    ? new Interrupted({})
    : new VerificationFailed({
        what: "the upgrade's own code",
        expected: "sound",
        found: Cause.pretty(cause).slice(0, 2000),
      })
