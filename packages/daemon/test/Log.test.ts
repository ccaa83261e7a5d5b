import { strict as assert } from "node:assert"
import { execFileSync, spawnSync } from "node:child_process"
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import { redactText } from "@waiaas/domain/Redact"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { type LogOptions, layerLog } from "../src/Log.ts"
import { redactValue } from "../src/Redact.ts"
import { makeRotatingFile } from "../src/RotatingFile.ts"
import { layerEnvironment, temporaryDirectory } from "./support.ts"

/** Runs `effect` with the daemon's log in `file`; gives what came on stderr. */
const logged = (effect: Effect.Effect<unknown>, options: Partial<LogOptions> = {}, variables = {}) =>
  Effect.gen(function* () {
    const stderr: Array<string> = []
    yield* effect.pipe(
      Effect.provide(
        layerLog({ level: "info", file: null, stderr: (line) => void stderr.push(line), ...options }).pipe(
          Layer.provide(layerEnvironment(variables)),
        ),
      ),
    )
    return stderr
  })

it.scopedLive(
  "one JSON object a line, the same on stderr and in the file, which is 0600 in a 0700 directory",
  () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const file = join(root, "logs", "daemon.log")
      const umask = process.umask(0)
      const stderr = yield* logged(
        Effect.logInfo("started", { port: 3100 }).pipe(
          Effect.annotateLogs("worker", "check"),
          Effect.zipRight(Effect.logError("failed\nin two lines", new Error("why"))),
        ),
        { file },
      ).pipe(Effect.ensuring(Effect.sync(() => process.umask(umask))))
      const lines = readFileSync(file, "utf8").trimEnd().split("\n")
      assert.deepEqual(lines, stderr)
      assert.equal(lines.length, 2)
      const [first, second] = lines.map((line) => JSON.parse(line))
      assert.deepEqual(
        { ...first, time: "" },
        {
          time: "",
          level: "INFO",
          message: "started",
          values: [{ port: 3100 }],
          annotations: { worker: "check" },
        },
      )
      assert.ok(!Number.isNaN(Date.parse(first.time)))
      assert.equal(second.level, "ERROR")
      assert.equal(statSync(file).mode & 0o777, 0o600)
      assert.equal(statSync(join(root, "logs")).mode & 0o777, 0o700)
    }),
)

it.scopedLive("no other logger writes besides it, and it is gone when its scope is", () =>
  Effect.gen(function* () {
    let others = 0
    const other = Logger.add(Logger.make(() => void others++))
    const lines = yield* Effect.provide(logged(Effect.logInfo("inside")), other)
    assert.deepEqual([lines.length, others], [1, 0])
    yield* Effect.provide(Effect.zipRight(logged(Effect.void), Effect.logInfo("outside")), other)
    assert.equal(others, 1)
  }),
)

it.scopedLive("the level of the configuration counts", () =>
  Effect.gen(function* () {
    const all = Effect.all([
      Effect.logDebug("d"),
      Effect.logInfo("i"),
      Effect.logWarning("w"),
      Effect.logError("e"),
    ])
    const messages = (level: LogOptions["level"]) =>
      Effect.map(logged(all, { level }), (lines) => lines.map((line) => JSON.parse(line).message).join(""))
    assert.equal(yield* messages("debug"), "diwe")
    assert.equal(yield* messages("info"), "iwe")
    assert.equal(yield* messages("warning"), "we")
    assert.equal(yield* messages("error"), "e")
  }),
)

it.scopedLive("a full file is renamed, five are kept, no line is lost before that", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    const file = join(root, "daemon.log")
    const lines = (count: number, from = 0) =>
      Effect.forEach(Array.from({ length: count }), (_, index) =>
        Effect.logInfo(`line ${from + index} ${"x".repeat(100)}`),
      )
    yield* logged(lines(20), { file, size: 1000, count: 5 })
    // A start goes on with the file that is there.
    yield* logged(lines(20, 20), { file, size: 1000, count: 5 })
    const names = readdirSync(root).sort()
    assert.deepEqual(names, ["daemon.log", "daemon.log.1", "daemon.log.2", "daemon.log.3", "daemon.log.4"])
    const numbers: Array<number> = []
    for (const name of ["daemon.log.4", "daemon.log.3", "daemon.log.2", "daemon.log.1", "daemon.log"]) {
      assert.ok(statSync(join(root, name)).size <= 1000)
      assert.equal(statSync(join(root, name)).mode & 0o777, 0o600)
      for (const line of readFileSync(join(root, name), "utf8").trimEnd().split("\n"))
        numbers.push(Number(JSON.parse(line).message.split(" ")[1]))
    }
    assert.equal(numbers.at(-1), 39)
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => (numbers[0] ?? 0) + index),
    )
  }),
)

it.scopedLive("a full disk: one warning on stderr, and the program goes on", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    const file = join(root, "daemon.log")
    // Every write to /dev/full fails with ENOSPC.
    symlinkSync("/dev/full", file)
    const stderr = yield* logged(
      Effect.all([Effect.logInfo("a"), Effect.logInfo("b"), Effect.logInfo("c")]),
      { file },
    )
    assert.equal(stderr.filter((line) => line.includes("ENOSPC")).length, 1)
    assert.deepEqual(
      stderr.map((line) => JSON.parse(line).message).filter((message) => message.length === 1),
      ["a", "b", "c"],
    )
  }),
)

it.scopedLive("a log that can be written again says how much is missing", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    const file = join(root, "sub", "daemon.log")
    writeFileSync(join(root, "sub"), "in the way")
    const problems: Array<string> = []
    const log = makeRotatingFile({
      path: file,
      size: 1000,
      count: 5,
      onProblem: (text) => void problems.push(text),
    })
    log.write("one", 0)
    log.write("two", 5_000)
    log.write("three", 10_500)
    assert.equal(problems.length, 1, "one outage, one warning")
    assert.match(problems[0] ?? "", /ENOTDIR|EEXIST/)
    rmSync(join(root, "sub"))
    log.write("within the pause", 20_000)
    log.write("four", 20_500)
    log.write("five", 20_501)
    log.close(20_502)
    const lines = readFileSync(file, "utf8").trimEnd().split("\n")
    assert.deepEqual([lines[0], lines[2]], ["four", "five"])
    assert.match(lines[1] ?? "", /4 lines before/)
    assert.equal(problems.length, 1)
  }),
)

it.scopedLive("a log file that others could read is closed to them", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    const file = join(root, "daemon.log")
    writeFileSync(file, "", { mode: 0o644 })
    yield* logged(Effect.logInfo("x"), { file })
    assert.equal(statSync(file).mode & 0o777, 0o600)
  }),
)

it.scopedLive(
  "a log that is a link, or in a directory that is one, stays where the operator wants it when it rotates",
  () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const place = join(root, "var")
      mkdirSync(place)
      symlinkSync(join(place, "waiaas.log"), join(root, "daemon.log"))
      symlinkSync("var", join(root, "logs"))
      for (const name of ["daemon.log", "logs/other.log"]) {
        const log = makeRotatingFile({
          path: join(root, name),
          size: 20,
          count: 3,
          onProblem: (problem) => assert.fail(problem),
        })
        for (const now of [1, 2, 3, 4, 5]) log.write(`${now} ${"x".repeat(15)}`, now)
        log.close(6)
      }
      assert.equal(readlinkSync(join(root, "daemon.log")), join(place, "waiaas.log"))
      assert.deepEqual(readdirSync(root).sort(), ["daemon.log", "logs", "var"])
      assert.deepEqual(
        readdirSync(place).sort(),
        ["other.log", "waiaas.log"].flatMap((name) => [name, `${name}.1`, `${name}.2`]),
      )
      assert.match(readFileSync(join(place, "waiaas.log"), "utf8"), /^5 x+\n$/)
    }),
)

it.scopedLive("a log that is a device is written to, and neither renamed nor closed to others", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    const [pipe, device] = [join(root, "pipe"), join(root, "null")]
    execFileSync("mkfifo", [pipe])
    // What /dev/null is; only root may make one, and the machine's own is not for tests.
    const isMade = spawnSync("mknod", ["-m", "666", device, "c", "1", "3"]).status === 0
    const problems: Array<string> = []
    for (const path of isMade ? [device, pipe] : [pipe]) {
      const log = makeRotatingFile({
        path,
        size: 10,
        count: 2,
        onProblem: (text) => void problems.push(text),
      })
      for (const now of [1, 2, 3]) log.write("x".repeat(15), now)
      log.close(4)
    }
    if (isMade)
      assert.deepEqual([statSync(device).isCharacterDevice(), statSync(device).mode & 0o777], [true, 0o666])
    // Nobody reads it: that is said, and keeps nobody.
    assert.equal(problems.length, 1)
    assert.match(problems[0] ?? "", /ENXIO/)
    assert.deepEqual(readdirSync(root), isMade ? ["null", "pipe"] : ["pipe"])
  }),
)

it.scopedLive("a directory that the operator chose keeps its mode", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    const chosen = join(root, "var")
    mkdirSync(chosen)
    chmodSync(chosen, 0o755)
    yield* logged(Effect.logInfo("x"), { file: join(chosen, "daemon.log") })
    assert.equal(statSync(chosen).mode & 0o777, 0o755)
  }),
)

it("secrets are taken out of text", () => {
  const token = "0123456789abcdef".repeat(4)
  for (const text of [
    `authorization: Bearer ${token}`,
    `{"authorization":"bearer ${token}"}`,
    `//registry.example/:_authToken=${token}`,
    `_authToken = "${token}"`,
    `npm_${token}`,
    `https://user:${token}@registry.example/x`,
    `https://${token}@registry.example/x`,
    `WAIAAS_MASTER_PASSWORD=${token}`,
    `{\\"password\\":\\"${token}\\"}`,
    `{"masterPassword": "${token} with spaces"}`,
    `api_key: '${token}'`,
    `secret=${token};`,
    `https://registry.example/x?access_key=${token}&a=1`,
    `x ${token} y`,
  ]) {
    const result = redactText(text, text.startsWith("x ") ? [token] : [])
    assert.ok(!result.includes(token), result)
    assert.ok(!result.includes("with spaces"), result)
    assert.match(result, /\[redacted\]/)
  }
  for (const text of [
    "GET https://registry.example/@waiaas/cli",
    "Set WAIAAS_MASTER_PASSWORD_FILE or another",
    "The API token /data/api.token cannot be used: it does not exist.",
    `agent 3f public key ${token}`,
  ])
    assert.equal(redactText(text), text)
})

it("secrets are taken out of structures", () => {
  const value = redactValue({
    headers: { Authorization: "x", accept: "y" },
    list: [{ password: { deep: 1 } }],
    error: new Error("https://u:p@h/"),
    bytes: Buffer.from("key"),
    big: 1n,
  })
  assert.deepEqual(value, {
    headers: { Authorization: "[redacted]", accept: "y" },
    list: [{ password: "[redacted]" }],
    error: "https://[redacted]@h/",
    bytes: "[3 bytes]",
    big: "1",
  })
  const loop: Record<string, unknown> = {}
  loop.self = loop
  assert.ok(JSON.stringify(redactValue(loop)).includes("[...]"))
})

it.scopedLive("the master password of the environment is hidden in every place", () =>
  Effect.gen(function* () {
    const stderr = yield* logged(
      Effect.zipRight(
        Effect.logError("correct horse", { note: "correct horse" }),
        Effect.logError("cause", new Error("correct horse")),
      ).pipe(Effect.annotateLogs("a", "correct horse")),
      {},
      { WAIAAS_MASTER_PASSWORD: "correct horse" },
    )
    assert.equal(stderr.length, 2)
    assert.ok(!stderr.join("").includes("horse"), stderr.join("\n"))
  }),
)

it.runIf(process.platform === "linux")(
  "a place in which no directory can be made is said, and not tried for ever",
  () => {
    const problems: Array<string> = []
    const file = makeRotatingFile({
      path: "/proc/waiaas/logs/daemon.log",
      size: 1000,
      count: 1,
      onProblem: (problem) => void problems.push(problem),
    })
    file.write("a line", 0)
    file.close(0)
    assert.match(problems.join(), /ENOENT/)
  },
)
