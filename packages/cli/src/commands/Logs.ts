/** `waiaas logs`: the daemon's log, for a person or, with `--json`, as one JSON value a line. */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as FileSystem from "@effect/platform/FileSystem"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { ExitCode } from "@waiaas/domain/ExitCode"
import { NOT_A_FILE } from "@waiaas/domain/FileWords"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile, errnoOf } from "@waiaas/services/platform/DurableFile"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Output } from "../Output.ts"

const LINES = 50
/** As many rotated files as the daemon keeps beside the one that it writes. */
const ROTATED = [1, 2, 3, 4]
/** Bytes that are read at once. */
const CHUNK = 65_536
const INTERVAL = "300 millis"

export class WrongLines extends Schema.TaggedError<WrongLines>()("WrongLines", { given: Schema.String }) {
  override get message() {
    return `--lines is a number from 1 to 100000, not ${JSON.stringify(this.given)}.`
  }
  get next() {
    return "waiaas logs --help"
  }
  get exitCode() {
    return ExitCode.usage
  }
}

const Line = Schema.parseJson(
  Schema.Struct(
    { time: Schema.String, level: Schema.String, message: Schema.String },
    Schema.Record({ key: Schema.String, value: Schema.Unknown }),
  ),
)

/** For a script: what the line is as JSON; one that is none, as a text. */
const valueOf = (line: string): unknown =>
  Option.getOrElse(Schema.decodeUnknownOption(Schema.parseJson())(line), () => line)

/** A line of the log as a person reads it; one that is no JSON, as it is. */
export const lineInWords = (line: string): string =>
  Either.match(Schema.decodeUnknownEither(Line)(line), {
    onLeft: () => line,
    onRight: ({ time, level, message, ...more }) => {
      const rest = Object.entries(more).map(([key, value]) =>
        typeof value === "string" ? `\n  ${key}: ${value}` : `\n  ${key}: ${JSON.stringify(value)}`,
      )
      return `${time.replace(/\.\d+Z$/, "Z")} ${level} ${message}${rest.join("")}`
    },
  })

const linesOf = (text: string): ReadonlyArray<string> => text.split("\n").filter((line) => line !== "")

/** What was appended to a file since `from`, in bytes, as whole lines, and how far they reach. */
const appended = (path: string, from: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = yield* (yield* FileSystem.FileSystem).open(path)
      yield* file.seek(from, "start")
      const parts: Array<Uint8Array> = []
      for (;;) {
        const part = yield* file.readAlloc(CHUNK)
        if (Option.isNone(part)) break
        parts.push(part.value)
      }
      const bytes = Buffer.concat(parts)
      const end = bytes.lastIndexOf(10) + 1
      return { lines: linesOf(bytes.subarray(0, end).toString("utf8")), end: from + end }
    }),
  ).pipe(
    Effect.catchAll((error) =>
      // It is renamed just now, because it is full: what was appended is read under its next name.
      error._tag === "SystemError" && error.reason === "NotFound"
        ? Effect.succeed({ lines: [], end: from })
        : new FileFailed({ operation: "read", path, code: errnoOf(error) }),
    ),
  )

export const logs = Command.make(
  "logs",
  {
    follow: Options.boolean("follow").pipe(
      Options.withAlias("f"),
      Options.withDescription("Go on with what is written from now on, until Ctrl-C"),
    ),
    // A text, so that a wrong one is refused in words of ours.
    lines: Options.text("lines").pipe(
      Options.withAlias("n"),
      Options.withDescription(`How many of the last lines (default: ${LINES})`),
      Options.withDefault(String(LINES)),
    ),
  },
  ({ follow, lines: given }) =>
    Effect.gen(function* () {
      const count = /^\d{1,6}$/.test(given) ? Number(given) : 0
      if (count < 1 || count > 100_000) return yield* new WrongLines({ given })
      const output = yield* Output
      const files = yield* DurableFile
      const { paths, check } = yield* DataDir
      yield* check
      // Whoever reads the log may well have a wrong configuration: where it has the log is known all the same, or guessed.
      const config = yield* Effect.either((yield* ConfigFile).load)
      const path = Either.match(config, {
        onLeft: () => `${paths.logs}/daemon.log`,
        onRight: ({ logFile }) => logFile,
      })
      const there = yield* files.statIfThere(path)
      if (Option.exists(there, ({ type }) => type !== "File"))
        return yield* new FileFailed({ operation: "read", path, code: NOT_A_FILE })
      yield* output.note(`The log: ${path}`)
      const write = (lines: ReadonlyArray<string>) =>
        Effect.forEach(lines, (line) => output.verbatim(valueOf(line), [lineInWords(line)]), {
          discard: true,
        })
      const read = (file: string) =>
        Effect.map(files.readAnyTextIfThere(file), (text) => Option.map(text, linesOf))
      let last = Option.isNone(there) ? { lines: [], end: 0 } : yield* appended(path, 0)
      let shown = last.lines
      for (const number of ROTATED) {
        if (shown.length >= count) break
        const older = yield* read(`${path}.${number}`)
        if (Option.isNone(older)) break
        shown = [...older.value, ...shown]
      }
      if (shown.length === 0) yield* output.note("It is empty: the daemon has written nothing there yet.")
      yield* write(shown.slice(-count))
      if (!follow) return
      let inode = Option.flatMap(there, (info) => info.ino)
      while (!process.stdout.destroyed) {
        yield* Effect.sleep(INTERVAL)
        const now = yield* files.statIfThere(path)
        if (Option.isNone(now)) continue
        const isNew = Option.getOrNull(now.value.ino) !== Option.getOrNull(inode)
        // It was renamed when it was full: its last lines are in the first of the older ones.
        if (isNew && Option.isSome(inode) && (yield* files.exists(`${path}.1`)))
          yield* write((yield* appended(`${path}.1`, last.end)).lines)
        if (isNew || Number(now.value.size) < last.end) last = { lines: [], end: 0 }
        inode = now.value.ino
        if (Number(now.value.size) === last.end) continue
        last = yield* appended(path, last.end)
        yield* write(last.lines)
      }
    }),
).pipe(
  Command.withDescription(
    "Show the end of the daemon's log, and where it is; the daemon need not run. With --json each line is the JSON that it is in the file.",
  ),
)
