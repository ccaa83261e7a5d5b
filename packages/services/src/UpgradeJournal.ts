import { join } from "node:path"
import { crc32 } from "node:zlib"
import type { FileFailed } from "@waiaas/domain/DataErrors"
import { NOT_A_FILE } from "@waiaas/domain/FileWords"
import { CommitFile, foldRun, JournalRecord, type Run, type Started } from "@waiaas/domain/JournalRecord"
import { JournalDamaged } from "@waiaas/domain/RunErrors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { ConfigFile } from "./ConfigFile.ts"
import { makePlaces } from "./JournalPlaces.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment, unixSeconds } from "./platform/Environment.ts"

/** How many ended runs are kept as history. */
const HISTORY = 50

/** A record without what every record has. */
type Body<R> = R extends unknown ? Omit<R, "format" | "at"> : never
export type RecordBody = Body<Exclude<JournalRecord, Started>>

/**
 * The first records after something went wrong, perhaps a sync. After a failed sync the system counts the bytes as
 * written, and the next sync answers for nothing: so these never follow in the same file, a new one is written.
 */
const afterTrouble: ReadonlyArray<JournalRecord["_tag"]> = ["Failed", "Recovering", "Paused"]

const Line = Schema.parseJson(JournalRecord)
const CommitLine = Schema.parseJson(CommitFile)
const checksum = (json: string): string => crc32(json).toString(16).padStart(8, "0")
const lineOf = (json: string): string => `${checksum(json)} ${json}\n`
const encodeLine = (record: JournalRecord): string => lineOf(Schema.encodeSync(Line)(record))
const isWhole = (line: string): boolean => line.slice(0, 9) === `${checksum(line.slice(9))} `

/** A run's lines are read again before each that is added: what they say is worked out once. */
const decoded = new Map<string, Option.Option<JournalRecord>>()
const MOST_DECODED = 1000

const decodeLine = (line: string): Option.Option<JournalRecord> => {
  const known = decoded.get(line)
  if (known !== undefined) return known
  const record = isWhole(line)
    ? Option.getRight(Schema.decodeUnknownEither(Line)(line.slice(9)))
    : Option.none()
  if (decoded.size >= MOST_DECODED) decoded.clear()
  decoded.set(line, record)
  return record
}

/** What a power cut leaves of an append: no end, or a hole that never got its bytes. A changed end is neither. */
const isTorn = (line: string, isEnded: boolean): boolean =>
  isEnded ? line.includes("\0") : Option.isNone(decodeLine(line.slice(0, -1)))

/**
 * The records of a journal's text, and how many of its bytes they take. A torn last line is what a
 * crash leaves and is dropped; anything else that is wrong is damage, which no recovery may guess about:
 * the last line can be the one that decides.
 */
export const parseJournal = (
  text: string,
): Either.Either<{ readonly records: ReadonlyArray<JournalRecord>; readonly validBytes: number }, string> => {
  const records: Array<JournalRecord> = []
  let validBytes = 0
  const lines = text.split("\n")
  for (const [index, line] of lines.entries()) {
    const isEnded = index < lines.length - 1
    const record = isEnded ? decodeLine(line) : Option.none()
    if (Option.isNone(record)) {
      if (lines.slice(index + 1).join("") === "" && isTorn(line, isEnded)) break
      return Either.left(`line ${index + 1} is not what was written`)
    }
    records.push(record.value)
    validBytes += Buffer.byteLength(line) + 1
  }
  return Either.right({ records, validBytes })
}

/** Whether a commit file's text is the commit of this run. */
const isCommitOf = (run: number, text: string): boolean => {
  const line = text.replace(/\n$/, "")
  if (text === line || !isWhole(line)) return false
  const commit = Schema.decodeUnknownEither(CommitLine)(line.slice(9))
  return Either.isRight(commit) && commit.right.run === run
}

const nameOf = (run: number): string => String(run).padStart(6, "0")
/** The records of a run. */
export const journalPath = (journals: string, run: number): string => join(journals, `${nameOf(run)}.jsonl`)
/** Its commit: there once it is decided. */
export const commitPath = (journals: string, run: number): string =>
  join(journals, `${nameOf(run)}.committed`)

/** The highest number that a file's name can have. */
const LAST_RUN = 999_999_999_999_999

/** The runs whose files have these names, lowest number first. Names are read as if a stranger had made them. */
export const runsOf = (names: ReadonlyArray<string>): ReadonlyArray<number> => {
  const runs = names.flatMap((name) => {
    const [, digits] = /^(\d{6,15})\.(?:jsonl|committed)$/.exec(name) ?? []
    return digits !== undefined && Number(digits) > 0 && nameOf(Number(digits)) === digits
      ? [Number(digits)]
      : []
  })
  return [...new Set(runs)].sort((a, b) => a - b)
}

/** What a file of a run never is: a directory, a named pipe, larger than any journal. */
const oddCodes = ["EISDIR", "EFBIG", NOT_A_FILE]

/** The durable story of every run: what was announced, done, committed, undone. */
export class UpgradeJournal extends Context.Tag("@waiaas/services/UpgradeJournal")<
  UpgradeJournal,
  {
    /**
     * The newest run; none where no run ever changed anything. Its paths are this code's own: a run that is not over
     * fails where its journal names others.
     */
    readonly latest: Effect.Effect<Option.Option<Run>, JournalDamaged | FileFailed>
    /** Every run that is kept, oldest first. */
    readonly history: Effect.Effect<ReadonlyArray<Run>, JournalDamaged | FileFailed>
    /** Begins a run under the run lock; gives it its number. */
    readonly begin: (
      started: Omit<Started, "_tag" | "format" | "at" | "run">,
    ) => Effect.Effect<Run, JournalDamaged | FileFailed>
    /** Makes a record durable, before the act that it announces. Gives the run as it is then. */
    readonly append: (run: Run, record: RecordBody) => Effect.Effect<Run, JournalDamaged | FileFailed>
    /**
     * Decides for good that a run goes forward: the decision is durable when this ends, in a file that was not there
     * before. A failure is final. The file may be seen then, but the run goes back once its failure is appended.
     */
    readonly commit: (run: Run) => Effect.Effect<Run, JournalDamaged | FileFailed>
    /** Announces a durable commit: a held daemon opens. */
    readonly announce: (run: Run) => Effect.Effect<Run, JournalDamaged | FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const files = yield* DurableFile
      const { paths } = yield* DataDir
      const environment = yield* Environment
      const now = unixSeconds.pipe(Effect.provideService(Environment, environment))
      const places = makePlaces(paths, environment, yield* ConfigFile)
      const pathOf = (run: number) => journalPath(paths.journals, run)

      const numbers = Effect.map(files.list(paths.journals), runsOf)
      /** None where it is not there. */
      const readFile = (path: string) =>
        Effect.gen(function* () {
          // Whoever may write elsewhere must not be the one who says what a run did.
          if (Option.isSome(yield* files.readLink(path)))
            return yield* new JournalDamaged({ path, problem: "it is a link" })
          // A power cut can leave anything at its end.
          return yield* files.readAnyTextIfThere(path).pipe(
            Effect.catchIf(
              ({ code }) => oddCodes.includes(code),
              ({ message }) => new JournalDamaged({ path, problem: message.replace(/\.$/, "") }),
            ),
          )
        })

      const read = (number: number) =>
        Effect.gen(function* () {
          const path = pathOf(number)
          // The commit first: whoever undoes a run says so in its journal before anything else.
          const commit = yield* readFile(commitPath(paths.journals, number))
          const text = Option.getOrElse(yield* readFile(path), () => "")
          const parsed = parseJournal(text)
          if (Either.isLeft(parsed)) return yield* new JournalDamaged({ path, problem: parsed.left })
          const run = foldRun(parsed.right.records, Option.isSome(commit))
          if (run === null && parsed.right.records.length > 0)
            return yield* new JournalDamaged({ path, problem: "its first record does not begin a run" })
          // Without its journal it decides nothing any more: somebody took that away.
          if (run !== null && Option.isSome(commit) && !isCommitOf(number, commit.value))
            return yield* new JournalDamaged({
              path: commitPath(paths.journals, number),
              problem: "it is not what was written",
            })
          return { run, text, isCommitted: Option.isSome(commit), ...parsed.right }
        })

      /** The run of a file: none where its first record never became durable, since that run changed nothing. */
      const runIn = (number: number) =>
        Effect.gen(function* () {
          const { run } = yield* read(number)
          if (run === null || run.started.run === number) return run
          return yield* new JournalDamaged({
            path: pathOf(number),
            problem: `it is about run ${run.started.run}`,
          })
        })
      const newestFirst = Effect.map(numbers, (all) => all.toReversed())

      const add = (run: Run, body: RecordBody, anew: boolean) =>
        Effect.gen(function* () {
          const path = pathOf(run.started.run)
          const before = yield* read(run.started.run)
          const record = { format: 1, at: yield* now, ...body } as JournalRecord
          const size = Buffer.byteLength(before.text)
          // A line that a crash tore is left behind, so that what follows it can be read.
          if (anew || size > before.validBytes) {
            const whole = Buffer.from(before.text).subarray(0, before.validBytes).toString()
            yield* files.write(path, `${whole}${encodeLine(record)}`)
          } else yield* files.append(path, encodeLine(record))
          const [, ...rest] = before.run?.records ?? run.records
          // The begin as this process knows it: somebody may have written another one into the file since.
          const after = foldRun([run.started, ...rest, record], before.isCommitted)
          return after ?? (yield* new JournalDamaged({ path, problem: "it does not begin with its run" }))
        })

      return UpgradeJournal.of({
        latest: Effect.gen(function* () {
          for (const number of yield* newestFirst) {
            const run = yield* runIn(number)
            if (run !== null) return Option.some(yield* places.confirmed(run, pathOf(number)))
          }
          return Option.none()
        }),
        history: Effect.gen(function* () {
          const runs: Array<Run> = []
          for (const number of yield* numbers) {
            const run = yield* runIn(number)
            if (run !== null) runs.push(places.shown(run))
          }
          return runs
        }),
        begin: Effect.fn("UpgradeJournal.begin")(function* (body) {
          const known = yield* numbers
          const number = (known.at(-1) ?? 0) + 1
          if (number > LAST_RUN)
            return yield* new JournalDamaged({
              path: pathOf(number - 1),
              problem: "no number comes after it",
            })
          for (const old of known.slice(0, -HISTORY)) {
            yield* files.remove(pathOf(old))
            yield* files.remove(commitPath(paths.journals, old))
          }
          const started: Started = { _tag: "Started", format: 1, at: yield* now, run: number, ...body }
          yield* files
            .append(pathOf(number), encodeLine(started))
            // A run that could not be begun is none.
            .pipe(Effect.onError(() => Effect.orElseSucceed(files.remove(pathOf(number)), () => undefined)))
          const run = foldRun([started])
          return (
            run ?? (yield* new JournalDamaged({ path: pathOf(number), problem: "it could not be begun" }))
          )
        }),
        append: Effect.fn("UpgradeJournal.append")((run: Run, body: RecordBody) =>
          add(run, body, afterTrouble.includes(body._tag)),
        ),
        commit: Effect.fn("UpgradeJournal.commit")(function* (run: Run) {
          const { run: number } = run.started
          const commit = Schema.encodeSync(CommitLine)({
            _tag: "CommitFile",
            format: 1,
            at: yield* now,
            run: number,
          })
          yield* files.write(commitPath(paths.journals, number), lineOf(commit))
          return { ...run, committed: true }
        }),
        announce: Effect.fn("UpgradeJournal.announce")((run: Run) =>
          // It cannot go back any more, so it is said again, in a new file.
          Effect.orElse(add(run, { _tag: "Committed" }, false), () => add(run, { _tag: "Committed" }, true)),
        ),
      })
    }),
  )
}
