import { basename, dirname, join } from "node:path"
import { FileFailed, LockBusy } from "@waiaas/domain/DataErrors"
import { NOT_A_FILE } from "@waiaas/domain/FileWords"
import { oneLine } from "@waiaas/domain/Printable"
import Sqlite from "better-sqlite3"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { DurableFile, readJsonIfValid } from "./DurableFile.ts"
import { Environment, unixSeconds } from "./Environment.ts"
import { Privilege } from "./Privilege.ts"
import { processesWithArgument, processName, processStart } from "./Processes.ts"
import { shortageAt } from "./Shortage.ts"

export type LockName = "install" | "run" | "data" | "tool"

/** Where the data is another user's, so is this text: it is shown, and never longer than a line. */
const Line = Schema.transform(Schema.String, Schema.String, {
  strict: true,
  decode: (text) => oneLine(text),
  encode: (text) => text,
})
/** Facts about a lock's holder, for messages. Never in the lock file: reading that would drop the lock. */
export const Holder = Schema.Struct({
  pid: Schema.Int,
  what: Line,
  /** Unix seconds. */
  since: Schema.Int,
  /** The process for good, so that it is known to live though its lock's file was removed. */
  process: Schema.optional(Schema.String),
})
export type Holder = typeof Holder.Type

/** What a running daemon says of itself, as far as it names the process. */
const DaemonProcess = Schema.Struct({ pid: Schema.Int, processStart: Schema.String, version: Schema.String })

export const holderPath = (path: string): string => path.replace(/(\.lock)?$/, ".holder.json")

/**
 * Writes down who has a lock. A full disk takes no facts, and whoever frees its space needs the lock for that:
 * the lock holds without them, and those of the holder before go, since they would lie.
 */
export const writeHolder = (
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
 *
 * A file that is removed or replaced splits its lock: the holder has the old one, whoever comes next makes a new one.
 * So the lock alone does not decide. A lock is had only where its path still names the file that was locked, and only
 * where no other process lives that says of itself that it has it: the last holder, and of the data the daemon.
 */
export class ExclusiveLock extends Context.Tag("@waiaas/services/ExclusiveLock")<
  ExclusiveLock,
  {
    /**
     * Held until the scope closes. `wait`: how long to try; then `LockBusy` with what is known of the holder. `mode`: of
     * the facts about the holder. The lock's file is its owner's alone: whoever may read it could share the lock, and
     * keep everybody from it.
     */
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
    /** Whether some other live process says to hold it: all that is known where the lock's file is another user's. */
    readonly isClaimed: (path: string) => Effect.Effect<boolean, FileFailed>
    readonly holder: (path: string) => Effect.Effect<Option.Option<Holder>, FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const files = yield* DurableFile
      const environment = yield* Environment
      const { asInstaller } = yield* Privilege
      const holder = (path: string) =>
        readJsonIfValid(Holder, holderPath(path)).pipe(Effect.provideService(DurableFile, files))

      const failed = (path: string, cause: unknown) =>
        new FileFailed({
          operation: "lock",
          path,
          code:
            shortageAt(path) !== undefined
              ? "ENOSPC"
              : cause instanceof Sqlite.SqliteError
                ? cause.code
                : // The client cannot come to the directory: it is closed to this user.
                  cause instanceof TypeError
                  ? "EACCES"
                  : "EIO",
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

      const makeFile = (path: string) =>
        Effect.gen(function* () {
          if (!(yield* isThere(path))) {
            yield* files.makeDirectory(dirname(path))
            return yield* files.append(path, "", 0o600)
          }
          const { mode } = yield* files.stat(path)
          // One that a strange umask or a copy of the directory has opened; another user's is left to that user.
          if ((mode & 0o077) !== 0)
            yield* Effect.catchIf(
              files.chmod(path, 0o600),
              ({ code }) => code === "EPERM" || code === "EROFS",
              () => Effect.void,
            )
        })

      /** Which file a path names: never opened for it, since closing that would drop the lock. */
      const fileAt = (path: string) =>
        Effect.map(files.statIfThere(path), (found) =>
          Option.map(found, ({ dev, ino }) => `${dev} ${Option.getOrElse(ino, () => 0)}`),
        )

      /** Opens a lock's file so that the path names what was opened; where it was exchanged meanwhile, anew. */
      const onOneFile = (
        path: string,
        open: Effect.Effect<Sqlite.Database | null, FileFailed>,
      ): Effect.Effect<Sqlite.Database | null, FileFailed> =>
        Effect.gen(function* () {
          for (let attempt = 0; attempt < EXCHANGES; attempt++) {
            yield* makeFile(path)
            const before = yield* fileAt(path)
            const opened = yield* open
            if (opened === null) return null
            const after = yield* fileAt(path)
            if (Option.isSome(after) && Equal.equals(before, after)) return opened
            opened.close()
          }
          return yield* new FileFailed({ operation: "lock", path, code: "ESTALE" })
        })

      /** Another live process that says to have the lock, whatever has become of the file. */
      const claimant = (path: string): Effect.Effect<Option.Option<string>, FileFailed> =>
        Effect.gen(function* () {
          const isOther = (pid: number) => pid !== environment.pid
          const said = yield* holder(path)
          if (
            Option.isSome(said) &&
            isOther(said.value.pid) &&
            said.value.process !== undefined &&
            Option.contains(processName(said.value.pid), said.value.process)
          )
            return Option.some(describe(said.value))
          if (basename(path) !== DATA_LOCK) return Option.none()
          const facts = join(dirname(dirname(path)), "daemon.json")
          const daemon = yield* readJsonIfValid(DaemonProcess, facts).pipe(
            Effect.provideService(DurableFile, files),
          )
          return Option.filterMap(daemon, ({ pid, processStart: start, version }) =>
            isOther(pid) && Option.contains(processStart(pid), start)
              ? Option.some(`the daemon of version ${version}, process ${pid}`)
              : Option.none(),
          )
        })

      const shared = (path: string) =>
        Effect.try({
          try: (): Sqlite.Database | null => {
            const database = new Sqlite(path, { fileMustExist: true, timeout: SHARE_LIMIT_MS })
            database.exec("BEGIN")
            database.prepare("SELECT count(*) FROM sqlite_master").get()
            return database
          },
          catch: (cause) => failed(path, cause),
        })

      return ExclusiveLock.of({
        share: (path) =>
          Effect.acquireRelease(onOneFile(path, shared(path)), (database) =>
            Effect.sync(() => void database?.close()),
          ),
        drain: (path, wait) =>
          Effect.gen(function* () {
            const database = yield* onOneFile(path, tryLock(path))
            database?.close()
            // What shares a file that was removed is seen by its command line.
            if (database !== null && processesWithArgument(path).length === 0) return
            return yield* new LockBusy({
              lock: "tool",
              path,
              holder: "a database tool of a run that was cut off",
            })
          }).pipe(
            Effect.retry({
              while: (error) => error._tag === "LockBusy",
              schedule: Schedule.spaced(pollInterval).pipe(Schedule.upTo(wait)),
            }),
          ),
        acquire: ({ lock, path, what, wait = 0, mode = 0o600 }) =>
          Effect.gen(function* () {
            const busyWith = (holder: string) => new LockBusy({ lock, path, holder })
            const busy = Effect.flatMap(holder(path), (known) =>
              busyWith(Option.match(known, { onNone: () => "an unknown process", onSome: describe })),
            )
            const release = (database: Sqlite.Database) =>
              // Who lives on without the lock must not be taken for its holder.
              Effect.gen(function* () {
                const said = yield* holder(path)
                if (Option.exists(said, ({ pid }) => pid === environment.pid))
                  yield* files.remove(holderPath(path))
              }).pipe(
                lock === "install" ? asInstaller : identity,
                Effect.catchAll((error) => Effect.logWarning(error.message)),
                Effect.ensuring(Effect.sync(() => database.close())),
              )
            const once = Effect.acquireRelease(
              Effect.gen(function* () {
                const database = yield* onOneFile(path, tryLock(path))
                if (database === null) return yield* busy
                const other = yield* Effect.tapError(claimant(path), () =>
                  Effect.sync(() => database.close()),
                )
                if (Option.isNone(other)) return database
                database.close()
                return yield* busyWith(other.value)
              }),
              release,
            )
            yield* Effect.retry(once, {
              while: (error) => error._tag === "LockBusy",
              schedule: Schedule.spaced(pollInterval).pipe(Schedule.upTo(wait)),
            })
            const since = yield* unixSeconds.pipe(Effect.provideService(Environment, environment))
            const name = processName(environment.pid)
            yield* writeHolder(
              files,
              path,
              {
                pid: environment.pid,
                what,
                since,
                ...(Option.isSome(name) ? { process: name.value } : {}),
              },
              mode,
            )
          }),
        isHeld: (path) =>
          Effect.gen(function* () {
            const claimed = Effect.map(claimant(path), Option.isSome)
            // A link to nowhere is no missing file: whatever is wrong there is said when it is opened.
            if (!(yield* isThere(path)) && !(yield* files.exists(path))) return yield* claimed
            const isLocked = yield* Effect.try({
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
            return isLocked || (yield* claimed)
          }),
        isClaimed: (path) => Effect.map(claimant(path), Option.isSome),
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
      isClaimed: (path) => Effect.sync(() => held.has(path)),
      holder: (path) => Effect.sync(() => Option.fromNullable(held.get(path))),
    })
  })
}

const describe = ({ what, pid, since }: Holder): string =>
  `${what}, process ${pid}, since ${new Date(since * 1000).toISOString()}`

/** `dataPaths` calls it so: what has the data says so in another file as well. */
const DATA_LOCK = "data.lock"

/** How often a lock's file may be exchanged while it is being locked. */
const EXCHANGES = 5

const isBusy = (cause: unknown): boolean =>
  cause instanceof Sqlite.SqliteError &&
  (cause.code.startsWith("SQLITE_BUSY") || cause.code === "SQLITE_LOCKED")

/** A drain holds the lock for a moment only. */
const SHARE_LIMIT_MS = 10_000

/** How often somebody who waits looks again. */
export const pollInterval = Duration.millis(50)
