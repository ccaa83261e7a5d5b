import { dirname, join } from "node:path"
import type { DaemonFacts } from "@waiaas/domain/DaemonFacts"
import type { FileFailed, LockBusy } from "@waiaas/domain/DataErrors"
import { hiddenPaths } from "@waiaas/domain/Install"
import { isInPlace, type Run } from "@waiaas/domain/JournalRecord"
import { planFor } from "@waiaas/domain/Recovery"
import { type JournalDamaged, RecoveryPaused, type UnfinishedRun } from "@waiaas/domain/RunErrors"
import { shellWord } from "@waiaas/domain/Shell"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import { actionTitle, type RecoveryAction } from "@waiaas/domain/UpgradePhase"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Backup } from "./Backup.ts"
import { toItsEnd } from "./Cancellation.ts"
import { DaemonControl } from "./DaemonControl.ts"
import { DaemonHandover, type StartOptions } from "./DaemonHandover.ts"
import { DataRestore } from "./DataRestore.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { Privilege } from "./platform/Privilege.ts"
import { RollbackSteps } from "./RollbackSteps.ts"
import { type DataLease, RunLocks } from "./RunLocks.ts"
import { type RecordBody, UpgradeJournal } from "./UpgradeJournal.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

export interface RecoverOptions {
  /** False where the caller is itself about to become the daemon. */
  readonly startDaemon: boolean
  /** True where it is no recovery to report: the planned end of a run. */
  readonly silent?: boolean
}

/** How long a daemon that saw its upgrader die may take to let go of the data. */
const DAEMON_LETS_GO = "20 seconds"

/**
 * Interprets `planFor`: before the commit back, after it forward. Needs no network, no npm, no free
 * space and none of the new code; every action can be cut off and done again.
 */
export class Recover extends Context.Tag("@waiaas/services/Recover")<
  Recover,
  {
    /** Carries a run to its end under the locks that the caller holds. */
    readonly execute: (
      run: Run,
      lease: DataLease,
      options: RecoverOptions,
    ) => Effect.Effect<Run, RecoveryPaused>
    /** Removes what a run left beside its journal: staging, rehearsal, prepared copies, reserve, pointer. */
    readonly leftovers: (run: Run) => Effect.Effect<void, FileFailed>
    /**
     * For a start: recovers what was cut off. What is left after a commit keeps no daemon from starting: it is said,
     * and the run is given as it is.
     */
    readonly forStart: Effect.Effect<
      Option.Option<Run>,
      RecoveryPaused | JournalDamaged | FileFailed | LockBusy | UnfinishedRun
    >
    /** Recovers the newest run if it was cut off; none where there is nothing to recover. */
    readonly onSight: (
      options: RecoverOptions,
    ) => Effect.Effect<
      Option.Option<Run>,
      RecoveryPaused | JournalDamaged | FileFailed | LockBusy | UnfinishedRun
    >
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const journal = yield* UpgradeJournal
      const locks = yield* RunLocks
      const files = yield* DurableFile
      const { paths } = yield* DataDir
      const swap = yield* PackageSwap
      const backups = yield* Backup
      const daemon = yield* DaemonControl
      const handover = yield* DaemonHandover
      const restore = yield* DataRestore
      const steps = yield* RollbackSteps
      const progress = yield* UpgradeProgress
      const environment = yield* Environment
      const { asInstaller } = yield* Privilege

      interface Context {
        readonly run: Run
        readonly lease: DataLease
        readonly options: RecoverOptions
        readonly append: (record: RecordBody) => Effect.Effect<Run, JournalDamaged | FileFailed>
      }

      /** The start that puts the previous daemon in its place again, in one of the run's versions. */
      const again = ({ started, patience }: Run, before: DaemonFacts, version: string): StartOptions => ({
        packageDir: started.install.packageDir,
        version,
        supervisor: before.supervisor,
        patience,
        schema: null,
        status: "ok",
        database: started.databasePath,
        // A rollback brings another config.toml back.
        ...(started.kind === "upgrade" ? { configDigest: before.configDigest } : {}),
      })

      /** Nobody else may be on the data while it is put back. */
      const withData = (context: Context) =>
        context.lease.take(DAEMON_LETS_GO, context.run.started.databasePath)

      const interpret: Record<RecoveryAction, (context: Context) => Effect.Effect<void, UpgradeError>> = {
        "stop-new-daemon": ({ run }) =>
          Effect.gen(function* () {
            const state = yield* daemon.state
            if (state._tag === "Running" && state.facts.version === run.started.to)
              yield* daemon.stop(state.facts)
          }),
        "restore-data": (context) =>
          Effect.gen(function* () {
            const { started, facts } = context.run
            // Begun without a backup's name in the journal: the migration was never reached.
            if (facts.backup === undefined || facts.schemaFrom === undefined) return
            yield* withData(context)
            yield* restore.undo({
              run: started.run,
              backup: facts.backup,
              database: started.databasePath,
              schema: facts.schemaFrom,
              packageDir: hiddenPaths(started.install.hidden).retained(started.from),
            })
          }),
        "put-old-package-back": (context) =>
          Effect.gen(function* () {
            const { started } = context.run
            yield* withData(context)
            yield* swap.putBack(started.install, started.run, started.from)
          }),
        "remove-partial-backup": (context) => Effect.zipRight(withData(context), backups.removePartial),
        "start-old-daemon": ({ run, lease, options, append }) =>
          Effect.gen(function* () {
            yield* lease.release
            if (run.daemon === null) return
            const state = yield* daemon.state
            if (state._tag === "Running") {
              // A stop that timed out left it running, it was never asked, or a start has been here: no second one.
              const wasAsked = run.stopping && state.facts.instance === run.daemon.instance
              if (!wasAsked || run.failure?.error === "DaemonStopTimeout") return
              // It was asked to stop, and may be at it: what still answers now may be gone in a moment.
              yield* daemon.stop(state.facts)
            }
            if (!options.startDaemon) return
            yield* append({ _tag: "Starting", version: run.started.from })
            yield* handover.start(again(run, run.daemon, run.started.from))
          }),
        "remove-staging": ({ run }) => removeLeftovers(run),
        "finish-commit": ({ run, options, lease }) =>
          Effect.gen(function* () {
            const { started } = run
            yield* swap.relink(started.install)
            yield* lease.release
            if (run.daemon === null || !started.restart || !options.startDaemon) return
            yield* handover.ensure(again(run, run.daemon, started.to))
          }),
        "resume-rollback": ({ run, lease, options, append }) =>
          steps.forward({ run, lease, startDaemon: options.startDaemon, append }),
      }

      const removeLeftovers = (run: Run) =>
        Effect.gen(function* () {
          const { started } = run
          yield* files.remove(join(paths.upgrade, `rehearsal-${started.run}`))
          yield* restore.cleanUp(started.run, started.databasePath)
          yield* files.remove(paths.reserve)
          for (const path of yield* swap.cleanUp(started.install, started.run))
            yield* progress.emit({ _tag: "Warning", text: notRemoved(path) })
        })

      /**
       * What a killed process did is seen here, and a power cut may still take it back. Nothing is
       * concluded from what is seen before it is durable.
       */
      const makeDurable = ({ started: { install, databasePath } }: Run) => {
        const renew = (directories: ReadonlyArray<string>) =>
          Effect.forEach(
            new Set(directories),
            (directory) =>
              Effect.flatMap(files.isDirectory(directory), (there) =>
                there ? files.renewDirectory(directory) : Effect.void,
              ),
            { discard: true },
          )
        const ofData = [paths.root, paths.upgrade, paths.backups, dirname(databasePath)]
        const ofPackage = [
          install.hidden,
          hiddenPaths(install.hidden).retainedAll,
          install.root,
          dirname(install.packageDir),
          dirname(install.binLink),
        ]
        return Effect.zipRight(renew(ofData), asInstaller(renew(ofPackage)))
      }

      /**
       * What ran before the run is running at its end. One that was killed meanwhile is started again: its
       * `daemon.json` is still there, which an orderly stop removes.
       */
      const revive = ({ run, lease, append, options: { startDaemon } }: Context) =>
        Effect.gen(function* () {
          const { started, daemon: before, committed } = run
          if (before === null || (committed && !started.restart)) return null
          const state = yield* daemon.state
          if (state._tag === "Running")
            return state.facts.instance === before.instance ? ("same" as const) : ("another" as const)
          if (!startDaemon || state._tag === "Busy" || !(yield* files.exists(paths.facts)))
            return "none" as const
          const version = committed ? started.to : started.from
          // A start that an earlier recovery allowed is allowed no more, and from step 2 on none is by itself.
          if (run.begun.includes("stop") && run.starting !== version)
            yield* append({ _tag: "Starting", version })
          yield* lease.release
          const revived = yield* Effect.either(handover.start(again(run, before, version)))
          if (Either.isRight(revived)) return "another" as const
          yield* progress.emit({
            _tag: "Warning",
            text: `the daemon, which had ended meanwhile, could not be started again: ${revived.left.message}`,
          })
          return "none" as const
        })

      const carryOut = Effect.fn("Recover.execute")(function* (
        given: Run,
        lease: DataLease,
        options: RecoverOptions,
      ) {
        const paused = (action: string) => (error: UpgradeError) =>
          error._tag === "RecoveryPaused" ? error : pausedBy(error, given, action, paths.root)
        // Gives back the space that was reserved for this moment.
        yield* restore
          .giveBack(given.started.run, given.started.databasePath)
          .pipe(Effect.mapError(paused("begin")))
        yield* makeDurable(given).pipe(Effect.mapError(paused("begin")))
        // What is written decides, not what the caller remembers: a record may be there though its sync failed.
        const newest = yield* journal.latest.pipe(Effect.mapError(paused("begin")))
        const run = Option.getOrElse(
          Option.filter(newest, ({ started }) => started.run === given.started.run),
          () => given,
        )
        const plan = planFor(run)
        let current = yield* Effect.gen(function* () {
          // A commit that is only seen may be one whose sync failed. It is written anew, never synced again.
          const decided = run.committed && !run.announced
          const known = decided ? yield* journal.commit(run) : run
          const { direction } = plan
          const begun = yield* journal.append(known, { _tag: "Recovering", direction, pid: environment.pid })
          return decided ? yield* journal.announce(begun) : begun
        }).pipe(Effect.mapError(paused("begin")))
        const append = (record: RecordBody) =>
          Effect.tap(journal.append(current, record), (next) =>
            Effect.sync(() => {
              current = next
            }),
          )
        for (const action of plan.actions) {
          if (current.undone.includes(action)) continue
          const title = actionTitle[action]
          if (options.silent !== true) yield* progress.emit({ _tag: "Recovering", action, title })
          yield* interpret[action]({ run: current, lease, options, append }).pipe(
            Effect.mapError(paused(title)),
          )
          yield* append({ _tag: "ActionDone", action }).pipe(Effect.mapError(paused(title)))
        }
        yield* removeLeftovers(current).pipe(Effect.mapError(paused("clean up")))
        const after = yield* revive({ run: current, lease, options, append }).pipe(
          Effect.mapError(paused("end")),
        )
        return yield* append({
          _tag: "Ended",
          outcome: plan.direction === "forward" ? "new" : run.begun.includes("stop") ? "old" : "untouched",
          ...(after === null ? {} : { daemon: after }),
        }).pipe(Effect.mapError(paused("end")))
      }, Effect.uninterruptible)

      const execute = (run: Run, lease: DataLease, options: RecoverOptions) =>
        carryOut(run, lease, options).pipe(
          // For the history. Where the journal itself cannot be written, what is reported now is all there is.
          Effect.tapError(({ action, cause, next }) =>
            Effect.either(journal.append(run, { _tag: "Paused", action, cause, next })),
          ),
        )

      const onSight = Effect.fn("Recover.onSight")(function* (options: RecoverOptions) {
        const newest = yield* journal.latest
        if (Option.isNone(newest) || newest.value.ended !== null) return Option.none()
        return yield* Effect.scoped(
          Effect.gen(function* () {
            const lease = yield* locks
              .acquire(newest.value.started.install, "recovery")
              .pipe(
                Effect.catchTag("FileFailed", (error) => pausedBy(error, newest.value, "begin", paths.root)),
              )
            // Somebody may have ended it while we waited for the locks.
            const run = yield* journal.latest
            if (Option.isNone(run) || run.value.ended !== null) return Option.none()
            return Option.some(yield* execute(run.value, lease, options))
          }),
        )
      }, toItsEnd)

      return Recover.of({
        execute,
        leftovers: removeLeftovers,
        onSight,
        forStart: Effect.gen(function* () {
          const newest = yield* journal.latest
          const recovered = yield* Effect.either(onSight({ startDaemon: false }))
          if (Either.isRight(recovered)) return recovered.right
          if (!Option.exists(newest, isInPlace)) return yield* recovered.left
          const { message, next } = recovered.left
          yield* progress.emit({
            _tag: "Warning",
            text: `run ${Option.getOrThrow(newest).started.run} is committed, but not tidied up: ${message} next: ${next}`,
          })
          return newest
        }),
      })
    }),
  )
}

/** For the operator: what no run needs any more, and the system does not let it remove. */
export const notRemoved = (path: string): string =>
  `${path} is not needed any more, and may not be removed: is something in it immutable (\`chattr -R -i\`), mounted or open?`

const denials = ["EACCES", "EPERM", "EROFS", "SQLITE_CANTOPEN", "SQLITE_READONLY"]

const pausedBy = (error: UpgradeError, run: Run, action: string, dataDir: string): RecoveryPaused => {
  const { prefix } = run.started.install
  const isPackage =
    error._tag === "FileFailed" && denials.includes(error.code) && error.path.startsWith(prefix)
  return new RecoveryPaused({
    run: run.started.run,
    action,
    cause: error.message,
    // What was begun with sudo needs it again: this user may not touch the package.
    remedy: isPackage ? `sudo waiaas upgrade --data-dir ${shellWord(dataDir)}` : error.next,
    dataDir,
  })
}
