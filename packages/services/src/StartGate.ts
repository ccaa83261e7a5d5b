import type { FileFailed, LockBusy } from "@waiaas/domain/DataErrors"
import { hiddenPaths, packagePaths } from "@waiaas/domain/Install"
import { gateFor, isInPlace, type Run } from "@waiaas/domain/JournalRecord"
import {
  type JournalDamaged,
  type RecoveryPaused,
  type UnfinishedRun,
  UpgradeInProgress,
} from "@waiaas/domain/RunErrors"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { timeLimitFor } from "./DatabaseTool.ts"
import { versionIn } from "./Invariants.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { ExclusiveLock } from "./platform/ExclusiveLock.ts"
import { Recover } from "./Recover.ts"
import { RunLocks } from "./RunLocks.ts"
import { UpgradeJournal } from "./UpgradeJournal.ts"

/** What a start comes to: it may open the data, or other code has to take its place. */
export type Admission =
  | { readonly _tag: "Admitted"; readonly held: Option.Option<Run> }
  /** Execute this code's daemon instead: the new package's, or the retained old one's. */
  | { readonly _tag: "BecomeOther"; readonly daemon: string }

/** Milliseconds without a word of a run that is waited for, beside what the size of its database explains. */
const SILENCE = 15 * 60 * 1000

/**
 * Lets a start have the data. A start that finds a run at work past its step 1 waits without the lock for the journal's
 * word; one that finds a run that was cut off recovers it first, or leaves that to the old code.
 */
export class StartGate extends Context.Tag("@waiaas/services/StartGate")<
  StartGate,
  {
    /** The data lock is held until the scope closes once this admits. */
    readonly admit: Effect.Effect<
      Admission,
      LockBusy | FileFailed | JournalDamaged | RecoveryPaused | UnfinishedRun | UpgradeInProgress,
      Scope.Scope
    >
    /** For a held daemon: the run's word, or that nobody is left to give it. */
    readonly verdict: (
      run: number,
    ) => Effect.Effect<"opened" | "undone" | "abandoned", FileFailed | JournalDamaged>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const journal = yield* UpgradeJournal
      const locks = yield* RunLocks
      const recover = yield* Recover
      const lock = yield* ExclusiveLock
      const files = yield* DurableFile
      const environment = yield* Environment
      const { paths } = yield* DataDir

      const look = Effect.gen(function* () {
        // Live first: a run that ends in between has written its last word before it lets go.
        const live = yield* locks.live
        const run = Option.getOrNull(yield* journal.latest)
        return { run, gate: gateFor(run, live, environment.version) }
      })

      /** The code that has to take this one's place, if any: the package may have been swapped under us. */
      const successor = (run: Run | null) =>
        Effect.gen(function* () {
          if (run === null) return Option.none<string>()
          const { install } = run.started
          if (run.starting !== null && run.starting !== environment.version && run.ended === null)
            return Option.some(packagePaths(install.packageDir).daemon)
          if (run.ended === null && !isInPlace(run)) return Option.none()
          const stands = run.ended === null || run.ended.outcome === "new" ? run.started.to : run.started.from
          // Only code of the very run may step aside for it: whoever installed by hand since knows better.
          const isPart = environment.version === run.started.from || environment.version === run.started.to
          if (!isPart || stands === environment.version || !environment.packageDir.startsWith(install.root))
            return Option.none()
          // The path says nothing: a start that waited may still be the code of a package that was moved out since.
          const installed = yield* versionIn(files, install.packageDir)
          return Option.exists(installed, (version) => version === stands)
            ? Option.some(packagePaths(install.packageDir).daemon)
            : Option.none()
        })

      /** Asks often at first, when a run's next word decides the downtime. */
      const pause = (since: number, often: Duration.DurationInput) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          Effect.sleep(now - since < 60_000 ? often : "1 second"),
        )

      /** Finds out whether a run has said nothing for longer than any of its steps takes: its process may be stopped. */
      const listener = () => {
        let words = -1
        let since = 0
        return (run: Run) =>
          Effect.gen(function* () {
            const now = yield* Clock.currentTimeMillis
            if (run.records.length !== words) since = now
            words = run.records.length
            if (now - since < SILENCE) return false
            const size = yield* Effect.either(files.stat(run.started.databasePath))
            const bytes = Either.isRight(size) ? Number(size.right.size) : 0
            return now - since > SILENCE + Duration.toMillis(timeLimitFor(bytes))
          })
      }

      const step = (
        isSilent: ReturnType<typeof listener>,
      ): Effect.Effect<
        Option.Option<Admission>,
        LockBusy | FileFailed | JournalDamaged | RecoveryPaused | UnfinishedRun | UpgradeInProgress,
        Scope.Scope
      > =>
        Effect.gen(function* () {
          yield* locks.expectNoneElsewhere(environment.packageDir)
          const { run, gate } = yield* look
          if (gate._tag === "Wait" && run !== null) {
            if (yield* isSilent(run)) {
              const { dataDir, run: number, pid, at } = run.started
              return yield* new UpgradeInProgress({ dataDir, run: number, pid, since: at })
            }
            const other = yield* successor(run)
            return Option.map(other, (daemon) => ({ _tag: "BecomeOther", daemon }) as const)
          }
          if (gate._tag === "Recover" && run !== null) {
            const { started } = run
            const isNewCode =
              started.kind === "upgrade" && !run.committed && environment.version === started.to
            const retained = packagePaths(hiddenPaths(started.install.hidden).retained(started.from)).daemon
            // New code does not undo itself: the retained old code knows how, and does not move under its own feet.
            if (isNewCode && (yield* files.exists(retained)))
              return Option.some({ _tag: "BecomeOther", daemon: retained } as const)
            const recovered = yield* Effect.either(recover.onSight({ startDaemon: false }))
            if (Either.isRight(recovered)) return Option.none()
            // What is left after a commit, such as a link that is root's, keeps nobody from the data.
            if (!isInPlace(run)) return yield* recovered.left
            // What is acknowledged from now on depends on the commit: a power cut must not take it back.
            if (!run.announced) yield* journal.announce(run)
            yield* Effect.logWarning(
              `Run ${started.run} is committed, but not tidied up: ${recovered.left.message} next: ${recovered.left.next}`,
            )
          }
          const other = yield* successor(run)
          if (Option.isSome(other)) return Option.some({ _tag: "BecomeOther", daemon: other.value } as const)
          yield* lock.acquire({ lock: "data", path: paths.dataLock, what: "the daemon", wait: "3 seconds" })
          // Between the look and the lock a run may have begun; with the lock it cannot go past its stop.
          const again = yield* look
          if (again.gate._tag !== gate._tag || again.run?.started.run !== run?.started.run)
            return Option.none()
          return Option.some({
            _tag: "Admitted",
            held: gate._tag === "Held" ? Option.fromNullable(run) : Option.none(),
          } as const)
        })

      /** Each try has a scope of its own, so that a lock taken too early is given back. */
      const admit: Effect.Effect<
        Admission,
        LockBusy | FileFailed | JournalDamaged | RecoveryPaused | UnfinishedRun | UpgradeInProgress,
        Scope.Scope
      > = Effect.gen(function* () {
        const isSilent = listener()
        const since = yield* Clock.currentTimeMillis
        while (true) {
          const attempt = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
          const result = yield* Scope.extend(step(isSilent), attempt)
          if (Option.isSome(result)) return result.value
          yield* Scope.close(attempt, Exit.void)
          yield* pause(since, "100 millis")
        }
      })

      return StartGate.of({
        admit,
        verdict: (number) =>
          Effect.gen(function* () {
            const isSilent = listener()
            const since = yield* Clock.currentTimeMillis
            while (true) {
              const live = yield* locks.live
              const run = yield* journal.latest
              if (Option.isNone(run) || run.value.started.run !== number) return "undone" as const
              // Only the announcement: a commit file that is seen may be one whose sync failed.
              if (run.value.announced) return "opened" as const
              if (run.value.ended !== null || run.value.failure !== null || run.value.goingBack)
                return "undone" as const
              if ((!live && !run.value.committed) || (yield* isSilent(run.value))) return "abandoned" as const
              // Its upgrader died between the commit and its word: it is made durable here, then announced. What
              // is left to do after that, and why it could not be done, comes again once the daemon is open.
              if (!live) {
                const recovered = yield* Effect.either(recover.onSight({ startDaemon: false }))
                const announced = Option.exists(yield* journal.latest, (now) => now.announced)
                const isFinal = Either.isLeft(recovered) && recovered.left._tag !== "LockBusy"
                if (isFinal && !announced) return "abandoned" as const
              }
              yield* pause(since, "50 millis")
            }
          }),
      })
    }),
  )
}
