/** Which other processes are in a transaction of a database, as Linux says it: so that they are seen while the daemon still serves. */
import { basename } from "node:path"
import { DaemonFacts } from "@waiaas/domain/DaemonFacts"
import { DatabaseInUse } from "@waiaas/domain/DataErrors"
import { oneLine } from "@waiaas/domain/Printable"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { DurableFile, readJsonIfValid } from "./DurableFile.ts"
import { processesWithArgument } from "./Processes.ts"

export interface Reader {
  readonly pid: number
  /** Name of its program. */
  readonly name: string
}

/** Bytes of `-shm` that a transaction of SQLite locks: the writer's, the checkpoint's and the readers'. Byte 128 is every connection's. */
const FIRST_BYTE = 120
const LAST_BYTE = 127
const CONNECTION_BYTE = 128

/** `1: POSIX  ADVISORY  READ 4242 08:01:131 123 127`; a line with `->` is of one that waits. */
const LINE =
  /^\d+: (?:POSIX|OFDLCK) +ADVISORY +(?:READ|WRITE) +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) (\d+) (\d+|EOF)$/

/** How long a transaction of another process may still go on: most of them end in a moment. */
const PATIENCE = Duration.seconds(1)

/** How long a command of ours has the database open at most. */
const MOMENT = Duration.millis(500)

type Files = typeof DurableFile.Service

/** Processes that lock one of the bytes from `first` to `last` of the database's `-shm`. */
const holdersOf = (
  files: Files,
  database: string,
  except: ReadonlyArray<number>,
  range: { readonly first: number; readonly last: number },
): Effect.Effect<ReadonlyArray<Reader>> =>
  Effect.gen(function* () {
    const locks = yield* files.readTextIfThere("/proc/locks")
    // Where there is none no connection is open.
    const shared = yield* files.statIfThere(`${database}-shm`)
    const inode = Option.flatMap(shared, ({ ino }) => ino)
    if (Option.isNone(locks) || Option.isNone(inode)) return []
    const pids = new Set<number>()
    for (const line of locks.value.split("\n")) {
      const [, pid, file, first, last] = LINE.exec(line) ?? []
      if (Number(file) !== inode.value || Number(first) > range.last) continue
      if (last === "EOF" || Number(last) >= range.first) pids.add(Number(pid))
    }
    const found: Array<Reader> = []
    for (const pid of pids) {
      if (except.includes(pid)) continue
      // Another file system may have a file of the same number: a process whose files are readable must have this one open.
      const name = yield* nameOf(files, pid)
      const open = yield* Effect.option(isOpenIn(files, pid, `${database}-shm`))
      if (Option.isNone(name) || Option.contains(open, false)) continue
      found.push({ pid, name: oneLine(name.value) })
    }
    return found
  }).pipe(
    // What cannot be read says nothing: the step that needs the database alone finds out itself.
    Effect.orElseSucceed(() => []),
  )

/**
 * Finds the processes that have a transaction of the database open right now, without those in `except`. Empty where the
 * system does not say: on another one than Linux, and for processes of another container.
 */
export const readersOf = (files: Files, database: string, except: ReadonlyArray<number>) =>
  holdersOf(files, database, except, { first: FIRST_BYTE, last: LAST_BYTE })

/** Finds the processes that have the database open, in a transaction or not, and stay. */
const connectedTo = (files: Files, database: string, except: ReadonlyArray<number>) =>
  Effect.gen(function* () {
    const look = holdersOf(files, database, except, { first: FIRST_BYTE, last: CONNECTION_BYTE })
    const before = yield* look
    if (before.length === 0) return []
    // Commands of ours that read a row come and go.
    yield* Effect.sleep(MOMENT)
    const now = yield* look
    return before.filter(({ pid }) => now.some((each) => each.pid === pid))
  })

/** The program's file, without its arguments, which are not ours to show; else what the system calls its first thread. */
const nameOf = (files: Files, pid: number) =>
  Effect.gen(function* () {
    const line = Option.getOrElse(yield* files.readAnyTextIfThere(`/proc/${pid}/cmdline`), () => "")
    const program = basename(line.split("\0")[0] ?? "")
    if (program !== "") return Option.some(program)
    return Option.map(yield* files.readAnyTextIfThere(`/proc/${pid}/comm`), (text) => text.trim())
  })

const isOpenIn = (files: Files, pid: number, path: string) =>
  Effect.gen(function* () {
    const directory = `/proc/${pid}/fd`
    const names = yield* files.list(directory)
    // Another user's files are not shown.
    if (names.length === 0) return yield* Effect.fail("not shown")
    const real = yield* files.realPath(path)
    for (const name of names)
      if (Option.contains(yield* files.readLink(`${directory}/${name}`), real)) return true
    return false
  })

export const readersInWords = (readers: ReadonlyArray<Reader>): string =>
  readers.map(({ name, pid }) => `${name} (process ${pid})`).join(", ")

type Environs = { readonly pid: number }
interface Place {
  readonly database: string
  /** The file in which the daemon says who it is. */
  readonly facts: string
}

/** This process, and the daemon that serves by now. */
const ownOf = (files: Files, { pid }: Environs, facts: string) =>
  readJsonIfValid(DaemonFacts, facts).pipe(
    Effect.provideService(DurableFile, files),
    Effect.orElseSucceed(() => Option.none()),
    Effect.map((daemon) => [pid, ...Option.toArray(Option.map(daemon, (each) => each.pid))]),
  )

/**
 * Finds a daemon that has the database open though its lock, its facts and its `daemon.json` are all gone: somebody has
 * removed them under it. Its command line names the data directory and its connection is in the system's list of locks;
 * a process of yet another user could pretend the one, and not the other. A start that waits has no connection.
 */
export const unnamedDaemon = (
  files: Files,
  { pid }: Environs,
  { database, root }: { readonly database: string; readonly root: string },
): Effect.Effect<Option.Option<string>> =>
  Effect.gen(function* () {
    const found = yield* holdersOf(files, database, [pid], { first: FIRST_BYTE, last: CONNECTION_BYTE })
    if (found.length === 0) return Option.none()
    const served = processesWithArgument(root, "serve")
    return Option.map(
      Option.fromNullable(found.find((each) => served.includes(each.pid))),
      (daemon) =>
        `a daemon whose files were removed under it, process ${daemon.pid} (to end it: kill ${daemon.pid})`,
    )
  })

/** Which other programs have the database open, in a sentence; null where it is the daemon's alone. */
export const othersInWords = (
  files: Files,
  environment: Environs,
  { database, facts }: Place,
): Effect.Effect<string | null> =>
  Effect.gen(function* () {
    const others = yield* connectedTo(files, database, yield* ownOf(files, environment, facts))
    return others.length === 0
      ? null
      : `${readersInWords(others)} ${others.length === 1 ? "has" : "have"} the database open: what it writes while the upgrade runs is lost if that is undone; close it first`
  })

/**
 * Fails where another process stays in a transaction of the database: its last checkpoint, and so a backup, would wait
 * for it. Neither this process nor the daemon of these facts is one; who that is is read anew each time, since another
 * one may have come.
 */
export const expectAlone = (
  files: Files,
  environment: Environs,
  { database, facts }: Place,
): Effect.Effect<void, DatabaseInUse> =>
  Effect.gen(function* () {
    const own = yield* ownOf(files, environment, facts)
    const readers = yield* readersOf(files, database, own)
    if (readers.length > 0)
      return yield* new DatabaseInUse({
        path: database,
        pids: readers.map(({ pid }) => pid),
        by: readersInWords(readers),
      })
  }).pipe(Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo(PATIENCE))))
