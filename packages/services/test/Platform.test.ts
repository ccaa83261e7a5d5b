/** The platform's Layers on real files and real processes. */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { dirname } from "node:path"
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { NOT_A_FILE } from "@waiaas/domain/FileWords"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { ExclusiveLock, holderPath } from "@waiaas/services/platform/ExclusiveLock"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerPlatform, temporaryDirectory } from "./support.ts"

const layer = layerPlatform()
/** A zombie has ended, though nobody has looked yet: a signal would still find it. */
const isAlive = (pid: number) =>
  Effect.flatMap(ProcessRunner, (runner) => Effect.map(runner.identity(pid), Option.isSome))

/** Another process that holds a lock until it is killed. */
const holdElsewhere = (path: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const code = `const D = require("better-sqlite3"); const d = new D(${JSON.stringify(path)}); d.exec("BEGIN EXCLUSIVE"); console.log("held"); setInterval(() => d, 1e6)`
      const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] })
      await once(child.stdout, "data")
      return child
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL")),
  )

describe("ExclusiveLock", () => {
  it.scopedLive(
    "is refused while another process holds it, names the holder, and is free when that dies",
    () =>
      Effect.gen(function* () {
        const lock = yield* ExclusiveLock
        const fs = yield* FileSystem.FileSystem
        const path = `${yield* temporaryDirectory}/data.lock`
        yield* Effect.scoped(lock.acquire({ lock: "data", path, what: "first" }))
        const child = yield* holdElsewhere(path)
        yield* fs.writeFileString(
          holderPath(path),
          JSON.stringify({ pid: child.pid, what: "the daemon", since: 1_700_000_000 }),
        )
        assert.isTrue(yield* lock.isHeld(path))
        const error = yield* Effect.flip(Effect.scoped(lock.acquire({ lock: "data", path, what: "second" })))
        assert.strictEqual(error._tag, "LockBusy")
        assert.include(error.message, `the daemon, process ${child.pid}, since 2023-11-14`)
        child.kill("SIGKILL")
        yield* lock.acquire({ lock: "data", path, what: "second", wait: "5 seconds" })
        assert.strictEqual(Option.getOrThrow(yield* lock.holder(path)).what, "second")
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("a probe does not disturb the holder, and ends with it", () =>
    Effect.gen(function* () {
      const lock = yield* ExclusiveLock
      const path = `${yield* temporaryDirectory}/run.lock`
      assert.isFalse(yield* lock.isHeld(path))
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* lock.acquire({ lock: "run", path, what: "me" })
          for (let index = 0; index < 20; index++) assert.isTrue(yield* lock.isHeld(path))
          const other = yield* Effect.either(
            Effect.scoped(lock.acquire({ lock: "run", path, what: "other" })),
          )
          assert.strictEqual(other._tag, "Left")
        }),
      )
      assert.isFalse(yield* lock.isHeld(path))
    }).pipe(Effect.provide(layer)),
  )
})

/** This machine's files, where a write of new content to some path fails. */
const failingAt = (isFailing: (path: string) => boolean, code: string) =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (fs) => ({
      ...fs,
      open: (path, options) =>
        options?.flag === "w" && isFailing(path)
          ? new SystemError({
              module: "FileSystem",
              method: "open",
              reason: "Unknown",
              pathOrDescriptor: path,
              cause: { code },
            })
          : fs.open(path, options),
    })),
  ).pipe(Layer.provide(NodeFileSystem.layer))

const layerFailing = (code: string) =>
  ExclusiveLock.layer.pipe(
    Layer.provideMerge(DurableFile.layer),
    Layer.provideMerge(
      Layer.merge(
        failingAt((path) => path.includes(".holder.json"), code),
        layerEnvironment({}),
      ),
    ),
  )

describe("ExclusiveLock on a disk that takes no facts", () => {
  const begin = Effect.gen(function* () {
    const lock = yield* ExclusiveLock
    const fs = yield* FileSystem.FileSystem
    const path = `${yield* temporaryDirectory}/run.lock`
    yield* fs.writeFileString(holderPath(path), JSON.stringify({ pid: 1, what: "a dead one", since: 0 }))
    return { fs, lock, path, acquire: lock.acquire({ lock: "run", path, what: "me" }) }
  })

  it.scopedLive(
    "full: the lock holds, makes no other file, and gives nobody's name rather than a wrong one",
    () =>
      Effect.gen(function* () {
        const { fs, lock, path, acquire } = yield* begin
        yield* acquire
        assert.isTrue(yield* lock.isHeld(path))
        assert.isTrue(Option.isNone(yield* lock.holder(path)))
        assert.deepStrictEqual(yield* fs.readDirectory(dirname(path)), ["run.lock"])
      }).pipe(Effect.provide(layerFailing("ENOSPC"))),
  )

  it.scopedLive("read-only: it is refused, with the cause", () =>
    Effect.gen(function* () {
      const { acquire } = yield* begin
      const error = yield* Effect.flip(Effect.scoped(acquire))
      assert.strictEqual(error._tag === "FileFailed" ? error.code : error._tag, "EROFS")
    }).pipe(Effect.provide(layerFailing("EROFS"))),
  )
})

describe("ProcessRunner", () => {
  const node = (code: string) => ({ command: process.execPath, args: ["-e", code] })

  it.scopedLive("drains both outputs and gives the exit code", () =>
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const ended = yield* runner.run({
        ...node(
          "process.stdout.write('o'.repeat(300000)); process.stderr.write('e'.repeat(300000)); process.exitCode = 3",
        ),
        timeout: "20 seconds",
      })
      assert.deepStrictEqual(
        [ended.exitCode, ended.stdout.length, ended.stderr.length],
        [3, 300_000, 300_000],
      )
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "a child that hangs is ended at its limit, and so are its own children, though they ignore SIGTERM",
    () =>
      Effect.gen(function* () {
        const runner = yield* ProcessRunner
        const pids: Array<number> = []
        const inner = "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)"
        const error = yield* Effect.flip(
          runner.run({
            ...node(
              `const c = require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(inner)}]); console.log(process.pid); console.log(c.pid); ${inner}`,
            ),
            timeout: "1500 millis",
            onLine: (line) => pids.push(Number(line)),
          }),
        )
        assert.strictEqual(error.reason, "timeout")
        assert.strictEqual(pids.length, 2)
        yield* Effect.sleep("100 millis")
        for (const pid of pids) assert.isFalse(yield* isAlive(pid), `process ${pid}`)
      }).pipe(Effect.provide(layer)),
  )

  /** A grandchild in a group of its own: no signal to the child's reaches it, and it keeps the pipes. */
  const leaving = (then: string) =>
    node(
      `const c = require('child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 30000)'], { detached: true, stdio: ['ignore', 'inherit', 'inherit'] }); c.unref(); console.log(c.pid); ${then}`,
    )
  const endLeft = (pids: ReadonlyArray<number>) =>
    Effect.sync(() => {
      for (const pid of pids) process.kill(pid, "SIGKILL")
    })

  for (const [when, then, limit] of [
    ["that is ended at its limit", "setInterval(() => {}, 1000)", "1 second"],
    ["that has ended by itself", "process.exitCode = 3", "20 seconds"],
  ] as const)
    it.scopedLive(
      `a child ${when} is not waited for where something that it left behind keeps its pipes`,
      () =>
        Effect.gen(function* () {
          const runner = yield* ProcessRunner
          const pids: Array<number> = []
          yield* Effect.addFinalizer(() => endLeft(pids))
          const [took, ended] = yield* Effect.timed(
            Effect.either(
              runner.run({ ...leaving(then), timeout: limit, onLine: (line) => pids.push(Number(line)) }),
            ),
          )
          assert.lengthOf(pids, 1)
          assert.isBelow(Duration.toSeconds(took), 8)
          assert.strictEqual(
            ended._tag === "Right" ? ended.right.exitCode : ended.left.reason,
            limit === "1 second" ? "timeout" : 3,
          )
        }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("an interruption ends the child", () =>
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      let pid = 0
      const fiber = yield* Effect.fork(
        runner.run({
          ...node("console.log(process.pid); setInterval(() => {}, 1000)"),
          timeout: "1 minute",
          onLine: (line) => {
            pid = Number(line)
          },
        }),
      )
      while (pid === 0) yield* Effect.sleep("10 millis")
      yield* Fiber.interrupt(fiber)
      assert.isFalse(yield* isAlive(pid))
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("what is not there is a typed error", () =>
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const error = yield* Effect.flip(
        runner.run({ command: "/no/such/program", args: [], timeout: "5 seconds" }),
      )
      assert.strictEqual(error.reason, "not-found")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "what the system refuses to start at once is a typed error as well, attached or detached",
    () =>
      Effect.gen(function* () {
        const runner = yield* ProcessRunner
        const cwd = yield* temporaryDirectory
        // One argument may be 128 KiB long (E2BIG).
        const long = { command: process.execPath, args: ["-e", "", "x".repeat(4_000_000)], cwd, env: {} }
        const errors = [
          yield* Effect.flip(runner.run({ ...long, timeout: "5 seconds" })),
          yield* Effect.flip(runner.detach({ ...long, log: `${cwd}/out.log` })),
        ]
        for (const error of errors) {
          assert.strictEqual(error._tag, "ProcessFailed")
          assert.strictEqual(error._tag === "ProcessFailed" ? error.code : "", "E2BIG")
        }
      }).pipe(Effect.provide(layer)),
  )

  it("a file that would be larger than the process may write is a failure with a name, and no end without a word", () => {
    const code = `
      await import(${JSON.stringify(new URL("../src/platform/NoDebugger.ts", import.meta.url).href)})
      try { require("node:fs").writeFileSync(process.argv[1], "text") } catch (error) { console.log(error.code) }`
    const said = execFileSync(
      "/bin/sh",
      [
        "-c",
        'ulimit -f 0; exec "$@"',
        "sh",
        process.execPath,
        "--eval",
        `(async () => {${code}})()`,
        "large",
      ],
      { encoding: "utf8" },
    )
    assert.strictEqual(said, "EFBIG\n")
  })

  it("a child that cannot begin for want of open files is a typed error", () => {
    const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
    const code = `
      const { ProcessRunner } = await import(${url("../src/platform/ProcessRunner.ts")})
      const Effect = await import("effect/Effect")
      const { openSync, closeSync } = await import("node:fs")
      const open = []
      try { for (;;) open.push(openSync("/dev/null")) } catch {}
      // Less than three pipes need.
      closeSync(open.pop())
      const ran = Effect.flatMap(ProcessRunner, (runner) => runner.run({ command: process.execPath, args: [], timeout: "5 seconds" }))
      const error = await Effect.runPromise(Effect.flip(Effect.provide(ran, ProcessRunner.layer)))
      for (const each of open) closeSync(each)
      console.log(error._tag, error.output)`
    const said = execFileSync(
      "/bin/sh",
      ["-c", 'ulimit -n 64; exec "$@"', "sh", process.execPath, "--input-type=module", "--eval", code],
      { encoding: "utf8", cwd: dirname(new URL(import.meta.url).pathname) },
    )
    assert.match(said, /^ProcessFailed spawn .*EMFILE/)
  })

  it.scopedLive("a process has an identity that another with its pid would not have", () =>
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const mine = yield* runner.identity(process.pid)
      assert.isTrue(Option.isSome(mine))
      assert.isTrue(Option.isNone(yield* runner.identity(4_194_304)))
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("a detached process outlives its starter's scope and logs to its file, 0600", () =>
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const fs = yield* FileSystem.FileSystem
      const cwd = yield* temporaryDirectory
      const log = `${cwd}/out.log`
      const pid = yield* Effect.scoped(
        runner.detach({ ...node("console.log('started'); setTimeout(() => {}, 60000)"), cwd, env: {}, log }),
      )
      const said = yield* Effect.eventually(
        Effect.filterOrFail(fs.readFileString(log), (text) => text.includes("started")),
      ).pipe(Effect.timeout(Duration.seconds(10)))
      assert.strictEqual(said, "started\n")
      assert.isTrue(yield* isAlive(pid))
      assert.strictEqual((yield* fs.stat(log)).mode & 0o777, 0o600)
      // A link of the operator's stays one: what it leads to is replaced.
      const link = `${cwd}/link.log`
      yield* fs.symlink(log, link)
      yield* runner.detach({ ...node(""), cwd, env: {}, log: link })
      assert.strictEqual(yield* fs.readLink(link), log)
      assert.strictEqual(yield* fs.readFileString(`${log}.1`), "started\n")
      assert.isTrue(yield* runner.signal(pid, "SIGKILL"))
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "what cannot take a detached process's output is named and stays, and nothing is started",
    () =>
      Effect.gen(function* () {
        const runner = yield* ProcessRunner
        const fs = yield* FileSystem.FileSystem
        const cwd = yield* temporaryDirectory
        const detach = (log: string) =>
          runner.detach({ ...node("require('fs').writeFileSync('ran', '')"), cwd, env: {}, log })
        const refused = (log: string) =>
          Effect.gen(function* () {
            const error = yield* Effect.flip(detach(log)).pipe(Effect.timeout("2 seconds"))
            assert.strictEqual(error._tag, "FileFailed")
            assert.isFalse(yield* fs.exists(`${cwd}/ran`))
            return error.message
          })
        execFileSync("mkfifo", [`${cwd}/pipe.log`])
        assert.strictEqual(
          yield* refused(`${cwd}/pipe.log`),
          `Could not write ${cwd}/pipe.log: it is not an ordinary file (${NOT_A_FILE}).`,
        )
        assert.strictEqual((yield* fs.stat(`${cwd}/pipe.log`)).type, "FIFO")
        yield* fs.symlink(`${cwd}/pipe.log`, `${cwd}/to-pipe.log`)
        assert.include(yield* refused(`${cwd}/to-pipe.log`), `${cwd}/pipe.log: it is not an ordinary file`)
        yield* fs.makeDirectory(`${cwd}/directory.log`)
        assert.include(yield* refused(`${cwd}/directory.log`), "directory.log: it is not an ordinary file")
        yield* fs.writeFileString(`${cwd}/out.log`, "before")
        yield* fs.makeDirectory(`${cwd}/out.log.1`)
        assert.include(yield* refused(`${cwd}/out.log`), "out.log.1: it is not an ordinary file")
        assert.strictEqual(yield* fs.readFileString(`${cwd}/out.log`), "before")
        assert.include(yield* refused(`${cwd}/none/out.log`), "none/out.log: it does not exist (ENOENT)")
        assert.include(yield* refused(`${cwd}/out.log/x`), "out.log/x: a part of its path is no directory")
        yield* fs.symlink("circle.log", `${cwd}/circle.log`)
        assert.include(yield* refused(`${cwd}/circle.log`), "circle.log: its links lead in a circle (ELOOP)")
        // A link to a file that is yet to come, and to where nothing is kept.
        yield* fs.symlink("later", `${cwd}/later.log`)
        yield* fs.symlink("/dev/null", `${cwd}/null.log`)
        for (const name of ["later.log", "null.log"])
          yield* runner.detach({ ...node("console.log(1)"), cwd, env: {}, log: `${cwd}/${name}` })
        assert.isTrue(yield* fs.exists(`${cwd}/later`))
        assert.strictEqual(yield* fs.readLink(`${cwd}/null.log`), "/dev/null")
      }).pipe(Effect.provide(layer)),
  )
})

describe("DurableFile", () => {
  it.scopedLive(
    "makes a directory that somebody else makes at the same time; a file in its place is reported",
    () =>
      Effect.gen(function* () {
        const files = yield* DurableFile
        const root = yield* temporaryDirectory
        const both = files.makeDirectory(`${root}/one/two`)
        yield* Effect.all([both, both, both], { concurrency: 3 })
        yield* files.write(`${root}/file`, "x")
        assert.strictEqual((yield* Effect.flip(files.makeDirectory(`${root}/file`))).code, "EEXIST")
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("writes 0600 and makes directories 0700 under any umask", () =>
    Effect.gen(function* () {
      const files = yield* DurableFile
      const root = yield* temporaryDirectory
      const before = process.umask(0o000)
      yield* Effect.gen(function* () {
        yield* files.makeDirectory(`${root}/a/b`)
        yield* files.write(`${root}/a/b/c`, "x")
        yield* files.append(`${root}/a/b/d`, "y")
      }).pipe(Effect.ensuring(Effect.sync(() => process.umask(before))))
      for (const [path, mode] of [
        ["a", 0o700],
        ["a/b", 0o700],
        ["a/b/c", 0o600],
        ["a/b/d", 0o600],
      ] as const)
        assert.strictEqual((yield* files.stat(`${root}/${path}`)).mode & 0o777, mode, path)
      assert.deepStrictEqual(yield* files.list(`${root}/a/b`), ["c", "d"])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("never opens what is no file: a named pipe would keep it for ever", () =>
    Effect.gen(function* () {
      const files = yield* DurableFile
      const lock = yield* ExclusiveLock
      const root = yield* temporaryDirectory
      const pipe = `${root}/pipe`
      execFileSync("mkfifo", [pipe])
      const acts = {
        read: files.readText(pipe),
        hash: files.hash(pipe),
        hashTree: files.hashTree(root),
        copy: files.copy(pipe, `${root}/copy`),
        append: files.append(pipe, "x"),
        syncTree: files.syncTree(root),
        acquire: Effect.scoped(lock.acquire({ lock: "run", path: pipe, what: "me" })),
        isHeld: lock.isHeld(pipe),
        drain: lock.drain(pipe, "1 second"),
      }
      for (const [name, act] of Object.entries(acts)) {
        const failed = yield* Effect.flip(Effect.asVoid(act)).pipe(Effect.timeout("5 seconds"))
        assert.strictEqual(failed._tag === "FileFailed" ? failed.code : failed._tag, "ENOTFILE", name)
      }
      execFileSync("mkfifo", [`${root}/.facts.json.tmp`])
      yield* files.write(`${root}/facts.json`, "{}").pipe(Effect.timeout("5 seconds"))
      assert.strictEqual(yield* files.readText(`${root}/facts.json`), "{}")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("copies trees with links and modes, and the hashes agree", () =>
    Effect.gen(function* () {
      const files = yield* DurableFile
      const fs = yield* FileSystem.FileSystem
      const root = yield* temporaryDirectory
      yield* files.makeDirectory(`${root}/from/sub`, 0o755)
      yield* files.write(`${root}/from/sub/run`, "#!", 0o755)
      yield* fs.symlink("sub/run", `${root}/from/link`)
      yield* files.copyTree(`${root}/from`, `${root}/to`)
      assert.strictEqual(yield* files.hashTree(`${root}/to`), yield* files.hashTree(`${root}/from`))
      assert.strictEqual((yield* files.stat(`${root}/to/sub/run`)).mode & 0o777, 0o755)
      assert.deepStrictEqual(yield* files.readLink(`${root}/to/link`), Option.some("sub/run"))
      yield* files.write(`${root}/to/sub/run`, "##", 0o755)
      assert.notStrictEqual(yield* files.hashTree(`${root}/to`), yield* files.hashTree(`${root}/from`))
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("replaces a link in one rename, also a dangling one", () =>
    Effect.gen(function* () {
      const files = yield* DurableFile
      const root = yield* temporaryDirectory
      yield* files.link("nowhere", `${root}/bin`)
      yield* files.link("elsewhere", `${root}/bin`)
      assert.deepStrictEqual(yield* files.readLink(`${root}/bin`), Option.some("elsewhere"))
      assert.isTrue(yield* files.exists(`${root}/bin`))
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("names operation, path and the system's code when it fails", () =>
    Effect.gen(function* () {
      const files = yield* DurableFile
      const error = yield* Effect.flip(files.readText("/no/such/file"))
      assert.deepStrictEqual([error.code, error.path], ["ENOENT", "/no/such/file"])
    }).pipe(Effect.provide(layer)),
  )
})
