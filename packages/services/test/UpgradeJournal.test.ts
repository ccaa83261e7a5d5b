import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { installOf } from "@waiaas/domain/Install"
import { gateFor } from "@waiaas/domain/JournalRecord"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { parseJournal, UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerDataDir } from "./support.ts"

const begun = {
  kind: "upgrade",
  from: makeVersion("2.0.0"),
  to: makeVersion("2.1.0"),
  daemon: null,
  restart: true,
  pid: 1,
} as const

const packageDir = "/p/lib/node_modules/@waiaas/cli"
const layer = UpgradeJournal.layer.pipe(
  Layer.provideMerge(ConfigFile.layer),
  Layer.provideMerge(layerDataDir({ packageDir })),
)
/** What a run begins with here: the places of this code and of this data directory. */
const here = Effect.gen(function* () {
  const { paths } = yield* DataDir
  const { databasePath } = yield* (yield* ConfigFile).load
  const install = installOf(packageDir, "/nowhere/bin/node")
  if (install === null) throw new Error("no install")
  return { ...begun, dataDir: paths.root, databasePath, install }
})
type Begun = Effect.Effect.Success<typeof here>
const file = Effect.map(DataDir, ({ paths }) => `${paths.journals}/000001.jsonl`)
const written = Effect.gen(function* () {
  const journal = yield* UpgradeJournal
  const started = yield* here
  const run = yield* journal.begin(started)
  yield* journal.announce(yield* journal.append(run, { _tag: "PhaseBegun", phase: "check" }))
  const fs = yield* FileSystem.FileSystem
  const path = yield* file
  return { path, text: yield* fs.readFileString(path), fs, journal, started }
})

describe("the journal", () => {
  it.scoped("keeps a run's story, 0600, and numbers runs upwards", () =>
    Effect.gen(function* () {
      const { path, fs, journal, started } = yield* written
      const run = Option.getOrThrow(yield* journal.latest)
      assert.deepStrictEqual([run.started.run, run.begun, run.committed], [1, ["check"], true])
      assert.strictEqual((yield* fs.stat(path)).mode & 0o777, 0o600)
      assert.strictEqual((yield* journal.begin(started)).started.run, 2)
      assert.strictEqual((yield* journal.history).length, 2)
    }).pipe(Effect.provide(layer)),
  )

  it.scoped("a torn last line is normal: it is dropped, and what follows can be read", () =>
    Effect.gen(function* () {
      const { path, text, fs, journal } = yield* written
      const whole = text.trimEnd().split("\n").slice(0, 2).join("\n")
      for (let cut = whole.length + 2; cut < text.length; cut++) {
        yield* fs.writeFileString(path, text.slice(0, cut))
        const run = Option.getOrThrow(yield* journal.latest)
        assert.isFalse(run.committed, `cut at ${cut}`)
        const after = yield* journal.append(run, { _tag: "Starting", version: makeVersion("2.1.0") })
        assert.strictEqual(after.starting, "2.1.0")
        assert.strictEqual(Option.getOrThrow(yield* journal.latest).starting, "2.1.0")
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scoped("a run whose first record was torn has changed nothing and is no run", () =>
    Effect.gen(function* () {
      const { path, text, fs, journal, started } = yield* written
      yield* fs.writeFileString(path, text.slice(0, 40))
      assert.isTrue(Option.isNone(yield* journal.latest))
      assert.strictEqual((yield* journal.begin(started)).started.run, 2)
    }).pipe(Effect.provide(layer)),
  )

  it.scoped(
    "every flipped bit is damage, in the last line and its end too, named with its line, and nothing is touched",
    () =>
      Effect.gen(function* () {
        const { path, text, fs, journal } = yield* written
        for (let at = 0; at < text.length; at++) {
          const bytes = Buffer.from(text)
          bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
          yield* fs.writeFile(path, bytes)
          const result = yield* Effect.either(journal.latest)
          assert.isTrue(Either.isLeft(result), `bit at ${at}`)
          if (Either.isLeft(result)) assert.strictEqual(result.left._tag, "JournalDamaged")
          assert.deepStrictEqual(Buffer.from(yield* fs.readFile(path)), bytes)
        }
      }).pipe(Effect.provide(layer)),
  )

  it.scoped("a hole that a power cut left in the last line is torn, not damage", () =>
    Effect.gen(function* () {
      const { path, text, fs, journal } = yield* written
      const last = text.trimEnd().lastIndexOf("\n") + 1
      yield* fs.writeFileString(path, `${text.slice(0, last)}${"\0".repeat(20)}${text.slice(last + 20)}`)
      assert.isFalse(Option.getOrThrow(yield* journal.latest).committed)
    }).pipe(Effect.provide(layer)),
  )

  const forged: Readonly<Record<string, (started: Begun) => Begun>> = {
    prefix: (started) => ({ ...started, install: { ...started.install, prefix: "/usr" } }),
    binLink: (started) => ({ ...started, install: { ...started.install, binLink: "/usr/bin/passwd" } }),
    packageDir: (started) => ({ ...started, install: { ...started.install, packageDir: "/srv/other" } }),
    hidden: (started) => ({ ...started, install: { ...started.install, hidden: "/srv/hidden" } }),
    databasePath: (started) => ({ ...started, databasePath: "/srv/foreign/waiaas.db" }),
    dataDir: (started) => ({ ...started, dataDir: "/srv/data" }),
  }
  for (const [place, forge] of Object.entries(forged))
    it.scoped(`a run that is not over and names another ${place} is not followed: both are named`, () =>
      Effect.gen(function* () {
        const journal = yield* UpgradeJournal
        const started = yield* here
        const run = yield* journal.begin(forge(started))
        const error = yield* Effect.flip(journal.latest)
        assert.deepStrictEqual([error._tag, "exitCode" in error && error.exitCode], ["JournalDamaged", 7])
        assert.include(error.message, "is not followed")
        const values = (from: Begun) => [...Object.values(from.install), from.dataDir, from.databasePath]
        const [was, is] = [values(started), values(forge(started))]
        const at = is.findIndex((value, index) => value !== was[index])
        assert.include(error.message, `${is[at]}`)
        assert.include(error.message, `${was[at]}`)
        // Once it is over it is history: shown, with the places of this code.
        yield* journal.append(run, { _tag: "Ended", outcome: "untouched" })
        assert.deepStrictEqual(Option.getOrThrow(yield* journal.latest).started.install, started.install)
        assert.deepStrictEqual((yield* journal.history)[0]?.started.install, started.install)
      }).pipe(Effect.provide(layer)),
    )

  it.scoped("a begin that somebody writes into the file while the run goes on is not taken up by it", () =>
    Effect.gen(function* () {
      const { path, fs, journal, started } = yield* written
      const run = Option.getOrThrow(yield* journal.latest)
      const other = yield* journal.begin(forged.binLink?.(started) ?? started)
      const line = yield* fs.readFileString(path.replace("000001", "000002"))
      yield* fs.writeFileString(path, line)
      const after = yield* journal.append(run, { _tag: "Starting", version: makeVersion("2.1.0") })
      assert.deepStrictEqual(after.started.install, started.install)
      assert.notDeepEqual(other.started.install, started.install)
    }).pipe(Effect.provide(layer)),
  )

  it.scoped("a backup's name in it is no path", () =>
    Effect.gen(function* () {
      const journal = yield* UpgradeJournal
      const run = yield* journal.begin(yield* here)
      for (const backup of ["../../elsewhere", "/etc", "..", ".partial-x", "a/b"])
        assert.isTrue(
          Exit.isFailure(
            yield* Effect.exit(
              journal.append(run, { _tag: "PhaseDone", phase: "backup", facts: { backup } }),
            ),
          ),
          backup,
        )
    }).pipe(Effect.provide(layer)),
  )

  it("a record of another format is no record", () => {
    assert.isTrue(Either.isRight(parseJournal("")))
    assert.isTrue(Either.isLeft(parseJournal('00000000 {"format":2}\n00000000 {"format":2}\n')))
  })
})

describe("the directory of the journal", () => {
  const put: Record<string, (path: string) => void> = {
    "a named pipe": (path) => execFileSync("mkfifo", [path]),
    "a directory": (path) => mkdirSync(path),
    "a link": (path) => symlinkSync("/dev/zero", path),
    "a file that is far too large": (path) => {
      writeFileSync(path, "")
      truncateSync(path, 2 ** 40)
    },
    "another run's file": (path) => writeFileSync(path, readFileSync(`${dirname(path)}/000001.jsonl`)),
  }
  for (const [what, make] of Object.entries(put))
    it.scopedLive(`${what} in it is named at once, and neither read nor waited for`, () =>
      Effect.gen(function* () {
        const { journal } = yield* written
        const { paths } = yield* DataDir
        const path = `${paths.journals}/000009.jsonl`
        make(path)
        const failed = yield* Effect.flip(journal.latest).pipe(Effect.timeout("5 seconds"))
        assert.strictEqual(failed._tag === "JournalDamaged" ? failed.path : failed._tag, path)
      }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("names that are no run's are passed over, and a run after the six digits is read", () =>
    Effect.gen(function* () {
      const { journal, started } = yield* written
      const { paths } = yield* DataDir
      for (const name of [
        "0000008.jsonl",
        "1e9.jsonl",
        "-00001.jsonl",
        "000002.jsonl~",
        `${"9".repeat(40)}.jsonl`,
      ])
        execFileSync("mkfifo", [`${paths.journals}/${name}`])
      writeFileSync(`${paths.journals}/999999.jsonl`, "")
      const { started: begun } = yield* journal.begin(started)
      assert.strictEqual(begun.run, 1_000_000)
      const latest = Option.getOrThrow(yield* journal.latest)
      assert.strictEqual(latest.started.run, 1_000_000)
      assert.strictEqual((yield* journal.begin(started)).started.run, 1_000_001)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("no run is begun that its own name would hide", () =>
    Effect.gen(function* () {
      const { journal, started } = yield* written
      const { paths } = yield* DataDir
      const last = `${paths.journals}/${"9".repeat(15)}.jsonl`
      writeFileSync(last, "")
      const failed = yield* Effect.flip(journal.begin(started))
      assert.strictEqual(failed._tag === "JournalDamaged" ? failed.path : failed._tag, last)
    }).pipe(Effect.provide(layer)),
  )

  it.scoped("keeps the newest fifty runs, and lists all of them", () =>
    Effect.gen(function* () {
      const journal = yield* UpgradeJournal
      const started = yield* here
      for (let run = 1; run <= 52; run++) {
        const begun = yield* journal.begin(started)
        yield* journal.append(begun, { _tag: "Ended", outcome: "untouched" })
      }
      const runs = (yield* journal.history).map((run) => run.started.run)
      assert.deepStrictEqual(
        runs,
        Array.from({ length: 51 }, (_, index) => index + 2),
      )
    }).pipe(Effect.provide(layer)),
  )
})

describe("the commit", () => {
  const decidable = Effect.gen(function* () {
    const journal = yield* UpgradeJournal
    const started = yield* here
    const run = yield* journal.append(yield* journal.begin(started), { _tag: "PhaseBegun", phase: "check" })
    return { journal, run, started, path: (yield* file).replace("jsonl", "committed") }
  })
  const newest = Effect.flatMap(UpgradeJournal, ({ latest }) => Effect.map(latest, Option.getOrThrow))

  it.scoped("decides which way a run goes; a held daemon opens only once it is announced", () =>
    Effect.gen(function* () {
      const { journal, run, started, path } = yield* decidable
      const going = yield* journal.append(run, { _tag: "Starting", version: started.to })
      yield* journal.commit(going)
      const seen = yield* newest
      assert.deepStrictEqual([seen.committed, seen.announced], [true, false])
      assert.strictEqual(gateFor(seen, true, started.to)._tag, "Held")
      yield* journal.announce(seen)
      const announced = yield* newest
      assert.deepStrictEqual([announced.committed, announced.announced], [true, true])
      assert.strictEqual(gateFor(announced, true, started.to)._tag, "Open")
      assert.strictEqual((yield* (yield* FileSystem.FileSystem).stat(path)).mode & 0o777, 0o600)
    }).pipe(Effect.provide(layer)),
  )

  it.scoped(
    "counts for nothing once its run has failed or is undone, also where a power cut brings it back",
    () =>
      Effect.gen(function* () {
        const { journal, run, started } = yield* decidable
        yield* journal.commit(run)
        yield* journal.append(run, { _tag: "Recovering", direction: "back", pid: 1 })
        assert.isFalse((yield* newest).committed)
        const other = yield* journal.begin(started)
        yield* journal.commit(other)
        const failure = { phase: "restart", error: "FileFailed", message: "m", next: "n" } as const
        yield* journal.append(other, { _tag: "Failed", ...failure })
        assert.isFalse((yield* newest).committed)
      }).pipe(Effect.provide(layer)),
  )

  it.scoped("goes with its run's journal, and one that is left of a lost journal is no other run's", () =>
    Effect.gen(function* () {
      const { journal, run, started, path } = yield* decidable
      const fs = yield* FileSystem.FileSystem
      yield* fs.writeFileString(path.replace("000001", "000007"), "")
      const next = yield* journal.begin(started)
      assert.strictEqual(next.started.run, 8)
      assert.deepStrictEqual(Option.getOrThrow(yield* journal.latest).committed, false)
      yield* journal.commit(run)
      for (let more = 9; more <= 60; more++) yield* journal.begin(started)
      const names = yield* fs.readDirectory((yield* DataDir).paths.journals)
      assert.isEmpty(names.filter((name) => name.endsWith(".committed")))
    }).pipe(Effect.provide(layer)),
  )

  it.scoped("that was changed, or is another run's, is damage", () =>
    Effect.gen(function* () {
      const { journal, run, started, path } = yield* decidable
      const fs = yield* FileSystem.FileSystem
      yield* journal.commit(run)
      const text = yield* fs.readFileString(path)
      for (const changed of ["", text.trimEnd(), text.replace("1", "2"), "\0".repeat(text.length)]) {
        yield* fs.writeFileString(path, changed)
        assert.strictEqual((yield* Effect.flip(journal.latest))._tag, "JournalDamaged", changed)
      }
      const other = yield* Effect.flip(
        Effect.gen(function* () {
          yield* fs.writeFileString(path, text)
          yield* journal.begin(started)
          yield* fs.writeFileString(path.replace("000001", "000002"), text)
          return yield* journal.latest
        }),
      )
      assert.strictEqual(other._tag, "JournalDamaged")
    }).pipe(Effect.provide(layer)),
  )
})
