import { type FileFailed, LockBusy } from "@waiaas/domain/DataErrors"
import { globalRootOf, hiddenOf, hiddenPaths, type Install } from "@waiaas/domain/Install"
import { foldRun } from "@waiaas/domain/JournalRecord"
import { UnfinishedRun, UpgradeInProgress } from "@waiaas/domain/RunErrors"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { timeLimitFor } from "./DatabaseTool.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { unnamedDaemon } from "./platform/DatabaseReaders.ts"
import { DataDir, dataPaths } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { ExclusiveLock } from "./platform/ExclusiveLock.ts"
import { Privilege } from "./platform/Privilege.ts"
import { journalPath, parseJournal } from "./UpgradeJournal.ts"

/** The data lock as a run has it: taken when the daemon frees it, given up when a daemon shall have it. */
export interface DataLease {
  /** `wait`: how long for the lock; what still works on the database for a run that was killed is waited for, too. */
  readonly take: (
    wait: Duration.DurationInput,
    database: string,
  ) => Effect.Effect<void, LockBusy | FileFailed>
  readonly release: Effect.Effect<void>
}

/**
 * The locks of a run, taken by everybody in this order: run, install, data, and once the data lock is had, the tool lock
 * for a moment. The system ends each of them with its holder.
 */
export class RunLocks extends Context.Tag("@waiaas/services/RunLocks")<
  RunLocks,
  {
    /** Whether somebody carries a run of this data directory on right now. */
    readonly live: Effect.Effect<boolean, FileFailed>
    /**
     * Fails while another data directory has a run on the same install that is not committed: the
     * package may still go back, and data that newer code has migrated could not go with it.
     */
    readonly expectNoneElsewhere: (
      packageDir: string,
    ) => Effect.Effect<void, UpgradeInProgress | UnfinishedRun | FileFailed>
    /** The run lock alone, for work that comes before it is known whether there is a run. */
    readonly acquireRun: (what: string) => Effect.Effect<void, LockBusy | FileFailed, Scope.Scope>
    /**
     * Run lock (unless the caller has it) and install lock until the scope closes, and a data lock that is
     * not taken yet.
     */
    readonly acquire: (
      install: Install,
      what: string,
      options?: { readonly hasRun: boolean },
    ) => Effect.Effect<DataLease, LockBusy | UnfinishedRun | FileFailed, Scope.Scope>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const lock = yield* ExclusiveLock
      const files = yield* DurableFile
      const swap = yield* PackageSwap
      const environment = yield* Environment
      const { paths } = yield* DataDir
      const { asInstaller } = yield* Privilege
      // Probes hold a lock for a moment: whoever wants it is a little patient.
      const patience = "1 second"

      /** Children that work on the database for a run outlive it when it is killed: they have to end first. */
      const drainTools = (database: string) =>
        Effect.flatMap(Effect.either(files.stat(database)), (found) =>
          lock.drain(paths.toolLock, timeLimitFor(Either.isRight(found) ? Number(found.right.size) : 0)),
        )

      /** A lock that was removed is free, and its holder may live. */
      const expectNoDaemon = (database: string) =>
        Effect.flatMap(
          unnamedDaemon(files, environment, { database, root: paths.root }),
          Option.match({
            onNone: () => Effect.void,
            onSome: (holder) => new LockBusy({ lock: "data", path: paths.dataLock, holder }),
          }),
        )

      const makeLease = (what: string): Effect.Effect<DataLease, never, Scope.Scope> =>
        Effect.gen(function* () {
          const held = yield* Ref.make(Option.none<Scope.CloseableScope>())
          const release = Effect.flatMap(Ref.getAndSet(held, Option.none()), (scope) =>
            Option.isSome(scope) ? Scope.close(scope.value, Exit.void) : Effect.void,
          )
          yield* Effect.addFinalizer(() => release)
          return {
            release,
            take: (wait, database) =>
              Effect.uninterruptibleMask((restore) =>
                Effect.gen(function* () {
                  if (Option.isSome(yield* Ref.get(held))) return
                  const scope = yield* Scope.make()
                  yield* restore(
                    Effect.zipRight(
                      Effect.zipRight(
                        lock.acquire({ lock: "data", path: paths.dataLock, what, wait }),
                        expectNoDaemon(database),
                      ),
                      drainTools(database),
                    ),
                  ).pipe(
                    Scope.extend(scope),
                    Effect.onError(() => Scope.close(scope, Exit.void)),
                  )
                  yield* Ref.set(held, Option.some(scope))
                }),
              ),
          }
        })

      return {
        live: lock.isHeld(paths.runLock),
        expectNoneElsewhere: (packageDir) =>
          Effect.gen(function* () {
            const root = globalRootOf(packageDir)
            if (root === null) return
            const pointer = Option.getOrNull(yield* swap.pointer(hiddenOf(root)))
            if (pointer === null || pointer.dataDir === paths.root) return
            const { dataDir, run, pid, since } = pointer
            const journal = yield* files
              .readAnyTextIfThere(journalPath(dataPaths(dataDir).journals, run))
              .pipe(
                // Another user's: what cannot be read is not known to be committed.
                Effect.catchAll(() => Effect.succeed(Option.some(""))),
              )
            if (Option.isNone(journal)) return
            const parsed = Either.getOrNull(parseJournal(journal.value))
            const known = parsed === null ? null : foldRun(parsed.records)
            if (known !== null && (known.committed || known.ended !== null)) return
            const path = hiddenPaths(hiddenOf(root)).lock
            // The lock of a package of root's is for root alone.
            return yield* (yield* Effect.catchAll(lock.isHeld(path), () => lock.isClaimed(path)))
              ? new UpgradeInProgress({ dataDir, run, pid, since })
              : new UnfinishedRun({ dataDir, run })
          }),
        acquireRun: (what) => lock.acquire({ lock: "run", path: paths.runLock, what, wait: patience }),
        acquire: (install, what, options) =>
          Effect.gen(function* () {
            const hidden = hiddenPaths(install.hidden)
            if (options?.hasRun !== true)
              yield* lock.acquire({ lock: "run", path: paths.runLock, what, wait: patience })
            yield* asInstaller(
              Effect.zipRight(
                files.makeDirectory(install.hidden, 0o755),
                lock.acquire({
                  lock: "install",
                  path: hidden.lock,
                  what: `${what} of ${paths.root}`,
                  wait: patience,
                  mode: 0o644,
                }),
              ),
            )
            // Made while there is space for it.
            if (!(yield* files.exists(paths.toolLock))) yield* lock.drain(paths.toolLock, 0)
            const pointer = yield* swap.pointer(install.hidden)
            // The pointer of a data directory that is gone must not block upgrades for ever.
            if (
              Option.isSome(pointer) &&
              pointer.value.dataDir !== paths.root &&
              (yield* files.exists(pointer.value.dataDir))
            ) {
              // With the install lock in our hands nobody carries it on.
              const { dataDir, run } = pointer.value
              return yield* new UnfinishedRun({ dataDir, run })
            }
            return yield* makeLease(what)
          }),
      }
    }),
  )
}
