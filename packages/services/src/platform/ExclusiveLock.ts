import { dirname } from "node:path"
import { FileFailed, LockBusy, NOT_A_FILE } from "@waiaas/domain/DataErrors"
import Sqlite from "better-sqlite3"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { DurableFile, readJsonIfValid } from "./DurableFile.ts"
import { Environment, unixSeconds } from "./Environment.ts"

export type LockName = "install" | "run" | "data" | "tool"

/** Facts about a lock's holder, for messages. Never in the lock file: reading that would drop the lock. */
export const Holder = Schema.Struct({
  pid: Schema.Int,
  what: Schema.String,
  /** Unix seconds. */
  since: Schema.Int,
})
export type Holder = typeof Holder.Type

export const holderPath = (path: string): string => path.replace(/(\.lock)?$/, ".holder.json")

/**
 * Tells who has a lock. A full disk takes no facts, and whoever frees its space needs the lock for that:
 * the lock holds without them, and those of the holder before go, since they would lie.
 */
export const tellHolder = (
  files: typeof DurableFile.Service,
  path: string,
  holder: Holder,
  mode: number,
): Effect.Effect<void, FileFailed> =>
  files.write(holderPath(path), JSON.stringify(holder), mode).pipe(
    Effect.catchIf(
      ({ code }) => code === "ENOSPC" || code === "EDQUOT",
      () => files.remove(holderPath(path)),
    ),
  )

/**
 * Locks that the operating system releases when their holder dies: an exclusive SQLite transaction
 * on a small file of its own. The file stays; only the transaction is the lock.
 */
export class ExclusiveLock extends Context.Tag("@waiaas/services/ExclusiveLock")<
  ExclusiveLock,
  {
    /** Held until the scope closes. `wait`: how long to try; then `LockBusy` with what is known of the holder. */
    readonly acquire: (options: {
      readonly lock: LockName
      readonly path: string
      readonly what: string
      readonly wait?: Duration.DurationInput
      readonly mode?: number
    }) => Effect.Effect<void, LockBusy | FileFailed, Scope.Scope>
    /** Shares an existing lock file with others until the scope closes; whoever drains it waits for that. */
    readonly share: (path: string) => Effect.Effect<void, FileFailed, Scope.Scope>
    /** Waits until nobody shares the lock any more, and makes its file if there is none. */
    readonly drain: (path: string, wait: Duration.DurationInput) => Effect.Effect<void, LockBusy | FileFailed>
    /** Whether some other process holds it now. */
    readonly isHeld: (path: string) => Effect.Effect<boolean, FileFailed>
    readonly holder: (path: string) => Effect.Effect<Option.Option<Holder>, FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const files = yield* DurableFile
      const environment = yield* Environment
      const holder = (path: string) =>
        readJsonIfValid(Holder, holderPath(path)).pipe(Effect.provideService(DurableFile, files))

      const failed = (path: string, cause: unknown) =>
        new FileFailed({
          operation: "lock",
          path,
          code: cause instanceof Sqlite.SqliteError ? cause.code : "EIO",
        })

      /** The open, locked database; `null` where another holds it. */
      const tryLock = (path: string) =>
        Effect.try({
          try: () => {
            const database = new Sqlite(path, { timeout: 0 })
            try {
              // No journal file: it would need space, and nothing is ever written here.
              database.pragma("journal_mode = MEMORY")
              database.exec("BEGIN EXCLUSIVE")
              return database
            } catch (cause) {
              database.close()
              if (isBusy(cause)) return null
              throw cause
            }
          },
          catch: (cause) => failed(path, cause),
        })

      /** Whether the lock's file is there. SQLite would wait on a named pipe in its place, and no signal ends that. */
      const isThere = (path: string) =>
        Effect.flatMap(files.statIfThere(path), (found) =>
          Option.isNone(found) || found.value.type === "File"
            ? Effect.succeed(Option.isSome(found))
            : new FileFailed({ operation: "lock", path, code: NOT_A_FILE }),
        )

      const makeFile = (path: string, mode: number) =>
        Effect.gen(function* () {
          if (yield* isThere(path)) return
          yield* files.makeDirectory(dirname(path))
          yield* files.append(path, "")
          yield* files.chmod(path, mode)
        })

      return ExclusiveLock.of({
        share: (path) =>
          Effect.acquireRelease(
            Effect.try({
              try: () => {
                const database = new Sqlite(path, { fileMustExist: true, timeout: SHARE_LIMIT_MS })
                database.exec("BEGIN")
                database.prepare("SELECT count(*) FROM sqlite_master").get()
                return database
              },
              catch: (cause) => failed(path, cause),
            }),
            (database) => Effect.sync(() => database.close()),
          ),
        drain: (path, wait) =>
          Effect.zipRight(
            makeFile(path, 0o600),
            Effect.flatMap(tryLock(path), (database) =>
              database === null
                ? new LockBusy({ lock: "tool", path, holder: "a database tool of a run that was cut off" })
                : Effect.sync(() => void database.close()),
            ).pipe(
              Effect.retry({
                while: (error) => error._tag === "LockBusy",
                schedule: Schedule.spaced(pollInterval).pipe(Schedule.upTo(wait)),
              }),
            ),
          ),
        acquire: ({ lock, path, what, wait = 0, mode = 0o600 }) =>
          Effect.gen(function* () {
            yield* makeFile(path, mode)
            const busy = Effect.flatMap(
              holder(path),
              (known) =>
                new LockBusy({
                  lock,
                  path,
                  holder: Option.match(known, {
                    onNone: () => "an unknown process",
                    onSome: (facts) =>
                      `${facts.what}, process ${facts.pid}, since ${new Date(facts.since * 1000).toISOString()}`,
                  }),
                }),
            )
            const once = Effect.acquireRelease(
              Effect.flatMap(tryLock(path), (database) =>
                database === null ? busy : Effect.succeed(database),
              ),
              (database) => Effect.sync(() => database.close()),
            )
            yield* Effect.retry(once, {
              while: (error) => error._tag === "LockBusy",
              schedule: Schedule.spaced(pollInterval).pipe(Schedule.upTo(wait)),
            })
            const since = yield* unixSeconds.pipe(Effect.provideService(Environment, environment))
            yield* tellHolder(files, path, { pid: environment.pid, what, since }, mode)
          }),
        isHeld: (path) =>
          Effect.gen(function* () {
            if (!(yield* isThere(path))) return false
            return yield* Effect.try({
              try: () => {
                // Reading needs a shared lock, which an exclusive one refuses; probes do not disturb each other.
                const database = new Sqlite(path, { readonly: true, timeout: 0 })
                try {
                  database.prepare("SELECT count(*) FROM sqlite_master").get()
                  return false
                } catch (cause) {
                  if (isBusy(cause)) return true
                  throw cause
                } finally {
                  database.close()
                }
              },
              catch: (cause) => failed(path, cause),
            })
          }),
        holder,
      })
    }),
  )

  /** Locks inside one process: for tests of what is done under them. */
  static readonly layerMemory = Layer.sync(this, () => {
    const held = new Map<string, Holder>()
    return ExclusiveLock.of({
      share: () => Effect.void,
      drain: () => Effect.void,
      acquire: ({ lock, path, what }) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            const other = held.get(path)
            if (other) return new LockBusy({ lock, path, holder: `${other.what}, process ${other.pid}` })
            held.set(path, { pid: 1, what, since: 0 })
            return Effect.void
          }),
          () => Effect.sync(() => held.delete(path)),
        ),
      isHeld: (path) => Effect.sync(() => held.has(path)),
      holder: (path) => Effect.sync(() => Option.fromNullable(held.get(path))),
    })
  })
}

const isBusy = (cause: unknown): boolean =>
  cause instanceof Sqlite.SqliteError &&
  (cause.code.startsWith("SQLITE_BUSY") || cause.code === "SQLITE_LOCKED")

/** A drain holds the lock for a moment only. */
const SHARE_LIMIT_MS = 10_000

/** How often somebody who waits looks again. */
export const pollInterval = Duration.millis(50)
