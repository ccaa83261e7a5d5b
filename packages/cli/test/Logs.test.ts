/** What `waiaas logs` shows of a log. */
import { execFileSync } from "node:child_process"
import { appendFileSync, mkdirSync, renameSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import * as Command from "@effect/cli/Command"
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { layerSimulated } from "@waiaas/services/testing/SimulatedUpgrade"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { lineInWords, logs, WrongLines } from "../src/commands/Logs.ts"
import { Output } from "../src/Output.ts"

const line = (message: string) =>
  `${JSON.stringify({ time: "2026-11-25T13:34:37.217Z", level: "INFO", message })}\n`

/** Runs the command with what it writes to standard output kept; `meanwhile`: while it runs. */
const shown = (
  args: ReadonlyArray<string>,
  mode: "human" | "json",
  meanwhile?: (until: (text: string) => Effect.Effect<void>) => Effect.Effect<void>,
  files: Layer.Layer<FileSystem.FileSystem> = NodeFileSystem.layer,
) =>
  Effect.gen(function* () {
    let text = ""
    const notes: Array<string> = []
    const output = Layer.succeed(Output, {
      mode,
      columns: undefined,
      result: () => Effect.void,
      verbatim: (value, lines) =>
        Effect.sync(() => {
          text += mode === "json" ? `${JSON.stringify(value)}\n` : `${lines.join("\n")}\n`
        }),
      note: (note) => Effect.sync(() => void notes.push(note)),
      event: () => Effect.void,
    })
    const command = Command.run(logs, { name: "waiaas", version: "2.0.0" })(["node", "waiaas", ...args]).pipe(
      Effect.provide(Layer.mergeAll(output, NodeContext.layer, files)),
    )
    const until = (wanted: string): Effect.Effect<void> =>
      Effect.suspend(() =>
        text.includes(wanted) ? Effect.void : Effect.zipRight(Effect.sleep("20 millis"), until(wanted)),
      )
    yield* meanwhile === undefined ? command : Effect.raceFirst(command, meanwhile(until))
    return { text, notes }
  })

const machine = layerSimulated().pipe(Layer.provideMerge(NodeContext.layer))

it.scopedLive(
  "the last lines of the log are shown, of its older files where it is short, and where it is",
  () =>
    Effect.gen(function* () {
      const { logFile } = yield* (yield* ConfigFile).load
      mkdirSync(dirname(logFile), { recursive: true })
      writeFileSync(`${logFile}.1`, line("one") + line("two"))
      writeFileSync(logFile, line("three"))
      const { text, notes } = yield* shown(["--lines", "2"], "human")
      assert.strictEqual(text, "2026-11-25T13:34:37Z INFO two\n2026-11-25T13:34:37Z INFO three\n")
      assert.deepStrictEqual(notes, [`The log: ${logFile}`])
      // For a script each line is what it is in the file.
      assert.strictEqual((yield* shown(["--lines", "1"], "json")).text, line("three"))
    }).pipe(Effect.provide(machine)),
)

it.scopedLive("a number of lines that is none is refused in plain words", () =>
  Effect.gen(function* () {
    for (const given of ["0", "x", "1.5", "-3", "100001", "99999999999999999999"]) {
      const failure = yield* Effect.flip(shown([`--lines=${given}`], "human"))
      assert.instanceOf(failure, WrongLines)
      assert.strictEqual(
        failure instanceof WrongLines && failure.message,
        `--lines is a number from 1 to 100000, not "${given}".`,
      )
    }
  }).pipe(Effect.provide(machine)),
)

it.scopedLive("a log that this user may not read is not called a broken disk", () =>
  Effect.gen(function* () {
    const { logFile } = yield* (yield* ConfigFile).load
    mkdirSync(dirname(logFile), { recursive: true })
    writeFileSync(logFile, line("one"))
    const fs = yield* FileSystem.FileSystem
    // To root every file is open.
    const denied = new SystemError({
      module: "FileSystem",
      method: "open",
      reason: "PermissionDenied",
      pathOrDescriptor: logFile,
    })
    const failure = yield* Effect.flip(
      shown([], "human", undefined, Layer.succeed(FileSystem.FileSystem, { ...fs, open: () => denied })),
    )
    assert.include(String(failure), "permission denied (EACCES)")
  }).pipe(Effect.provide(machine)),
)

it.scopedLive("what is written is followed, into the next file when the log is renamed", () =>
  Effect.gen(function* () {
    const { logFile } = yield* (yield* ConfigFile).load
    mkdirSync(dirname(logFile), { recursive: true })
    writeFileSync(logFile, line("before"))
    const { text } = yield* shown(["--follow"], "human", (until) =>
      Effect.gen(function* () {
        yield* until("before")
        // The rest of a line comes later.
        appendFileSync(logFile, line("second").slice(0, 20))
        yield* Effect.sleep("400 millis")
        appendFileSync(logFile, line("second").slice(20))
        yield* until("second")
        appendFileSync(logFile, line("last of it"))
        renameSync(logFile, `${logFile}.1`)
        writeFileSync(logFile, line("next file"))
        yield* until("next file")
      }),
    )
    assert.deepStrictEqual(
      text
        .trim()
        .split("\n")
        .map((each) => each.replace(/^\S+ INFO /, "")),
      ["before", "second", "last of it", "next file"],
    )
  }).pipe(Effect.provide(machine)),
)

it.scopedLive("a log that is not there yet is said to be empty, with its place", () =>
  Effect.gen(function* () {
    const { logFile } = yield* (yield* ConfigFile).load
    const { text, notes } = yield* shown([], "human")
    assert.strictEqual(text, "")
    assert.deepStrictEqual(notes, [
      `The log: ${logFile}`,
      "It is empty: the daemon has written nothing there yet.",
    ])
  }).pipe(Effect.provide(machine)),
)

it.scopedLive("a named pipe in the place of the log is named, and not waited for", () =>
  Effect.gen(function* () {
    const { logFile } = yield* (yield* ConfigFile).load
    mkdirSync(dirname(logFile), { recursive: true })
    execFileSync("mkfifo", [logFile])
    const failure = yield* Effect.flip(shown([], "human"))
    assert.include(String(failure), `${logFile}: it is not an ordinary file`)
  }).pipe(Effect.provide(machine)),
)

it("a line is shown with all that it has, and one that is no JSON as it is", () => {
  assert.strictEqual(
    lineInWords(
      '{"time":"2026-11-25T13:34:37.217Z","level":"ERROR","message":"no","annotations":{"a":1},"cause":"why"}',
    ),
    '2026-11-25T13:34:37Z ERROR no\n  annotations: {"a":1}\n  cause: why',
  )
  assert.strictEqual(lineInWords("plain"), "plain")
})
