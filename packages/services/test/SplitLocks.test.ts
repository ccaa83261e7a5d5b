/** Lock files that are removed or replaced while they are held: who lives and says to hold one keeps it. */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { ExclusiveLock, holderPath } from "@waiaas/services/platform/ExclusiveLock"
import { processName, processStart } from "@waiaas/services/platform/Processes"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { asOther, nodeForAll } from "../../../test/support/other-user.mts"
import { layerDataDir } from "./support.ts"

/** A process of its own: it locks a file, says so, and runs until it is killed. `code` is where it says what it does. */
const child = (code: string, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const process_ = spawn(process.execPath, ["--eval", code, ...args], {
        stdio: ["ignore", "pipe", "inherit"],
      })
      await once(process_.stdout, "data")
      return process_
    }),
    (process_) =>
      Effect.promise(async () => {
        if (process_.exitCode !== null || process_.signalCode !== null) return
        process_.kill("SIGKILL")
        await once(process_, "close")
      }),
  )
const open = `const { DatabaseSync } = require("node:sqlite"); const lock = new DatabaseSync(process.argv[1]);`
const exclusive = `${open} lock.exec("BEGIN EXCLUSIVE"); console.log("held"); setInterval(() => lock, 1e6)`
const shared = `${open} lock.exec("BEGIN"); lock.prepare("SELECT count(*) FROM sqlite_master").get(); console.log("held"); setInterval(() => lock, 1e6)`

const nameOf = (pid: number | undefined) => Option.getOrThrow(processName(pid ?? -1))

/** Another process that holds a lock as the product does, with what it says of itself. */
const holdElsewhere = (path: string) =>
  Effect.gen(function* () {
    mkdirSync(dirname(path), { recursive: true })
    const holder = yield* child(exclusive, path)
    const facts = { pid: holder.pid, what: "upgrade", since: 1_700_000_000, process: nameOf(holder.pid) }
    writeFileSync(holderPath(path), JSON.stringify(facts))
    return holder
  })

const damages: Readonly<Record<string, (path: string) => void>> = {
  removed: (path) => rmSync(path),
  replaced: (path) => {
    writeFileSync(`${path}.new`, "")
    renameSync(`${path}.new`, path)
  },
}

for (const [damage, act] of Object.entries(damages))
  describe(`a lock whose file was ${damage}`, () => {
    for (const lock of ["run", "data", "install"] as const)
      it.scopedLive(
        `stays with the ${lock} lock's holder as long as that lives, and is free afterwards`,
        () =>
          Effect.gen(function* () {
            const locks = yield* ExclusiveLock
            const { paths } = yield* DataDir
            const path = join(paths.upgrade, `${lock}.lock`)
            const holder = yield* holdElsewhere(path)
            act(path)
            assert.isTrue(yield* locks.isHeld(path))
            const acquired = locks.acquire({ lock, path, what: "another" })
            for (let attempt = 0; attempt < 2; attempt++) {
              const error = yield* Effect.flip(Effect.scoped(acquired))
              assert.strictEqual(error._tag, "LockBusy")
              assert.include(error.message, `upgrade, process ${holder.pid}, since 2023-11-14`)
            }
            assert.isTrue(yield* locks.isHeld(path))
            holder.kill("SIGKILL")
            yield* Effect.promise(() => once(holder, "close"))
            assert.isFalse(yield* locks.isHeld(path))
            yield* Effect.scoped(acquired)
          }).pipe(Effect.provide(layerDataDir())),
      )

    it.scopedLive(
      "stays with the daemon that daemon.json names, though its holder's facts are gone too",
      () =>
        Effect.gen(function* () {
          const locks = yield* ExclusiveLock
          const { paths } = yield* DataDir
          const daemon = yield* holdElsewhere(paths.dataLock)
          const start = Option.getOrThrow(processStart(daemon.pid ?? -1))
          const facts = (processStart_: string) =>
            writeFileSync(
              paths.facts,
              JSON.stringify({ pid: daemon.pid, processStart: processStart_, version: "2.0.0" }),
            )
          act(paths.dataLock)
          rmSync(holderPath(paths.dataLock))
          const acquired = Effect.scoped(
            locks.acquire({ lock: "data", path: paths.dataLock, what: "another" }),
          )
          facts(start)
          assert.isTrue(yield* locks.isHeld(paths.dataLock))
          assert.include(
            (yield* Effect.flip(acquired)).message,
            `the daemon of version 2.0.0, process ${daemon.pid}`,
          )
          // Its pid alone proves nothing.
          facts("1")
          assert.isFalse(yield* locks.isHeld(paths.dataLock))
          yield* acquired
        }).pipe(Effect.provide(layerDataDir())),
    )

    it.scopedLive("of the tools is waited for", () =>
      Effect.gen(function* () {
        const locks = yield* ExclusiveLock
        const { paths } = yield* DataDir
        yield* locks.drain(paths.toolLock, 0)
        const tool = yield* child(shared, paths.toolLock)
        act(paths.toolLock)
        for (let attempt = 0; attempt < 2; attempt++)
          assert.strictEqual((yield* Effect.flip(locks.drain(paths.toolLock, "100 millis")))._tag, "LockBusy")
        tool.kill("SIGKILL")
        yield* locks.drain(paths.toolLock, "5 seconds")
      }).pipe(Effect.provide(layerDataDir())),
    )
  })

it.scopedLive("another user of the machine reads who has a lock, and cannot keep anybody from it", () =>
  Effect.gen(function* () {
    const locks = yield* ExclusiveLock
    const directory = mkdtempSync(join(tmpdir(), "waiaas-lock-"))
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true, force: true })))
    chmodSync(directory, 0o755)
    const path = join(directory, "install.lock")
    // As a copy of the directory may leave it.
    writeFileSync(path, "", { mode: 0o644 })
    const acquired = locks.acquire({ lock: "install", path, what: "upgrade", mode: 0o644 })
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* acquired
        assert.strictEqual(statSync(path).mode & 0o777, 0o600)
        assert.strictEqual(statSync(holderPath(path)).mode & 0o777, 0o644)
      }),
    )
    if (asOther.uid === undefined) return
    const node = yield* nodeForAll
    const tried = spawnSync(node, ["--eval", shared, path], {
      ...asOther,
      cwd: "/",
      timeout: 20_000,
      encoding: "utf8",
    })
    assert.match(tried.stderr, /unable to open database file/)
    yield* Effect.scoped(acquired)
  }).pipe(Effect.provide(layerDataDir())),
)

it.scopedLive("what a holder says of itself is one short line, whatever it is", () =>
  Effect.gen(function* () {
    const locks = yield* ExclusiveLock
    const { paths } = yield* DataDir
    const holder = yield* holdElsewhere(paths.runLock)
    const what = `\u001b[2Jupgrade\nnext: rm ${"x".repeat(10_000)}`
    writeFileSync(holderPath(paths.runLock), JSON.stringify({ pid: holder.pid, what, since: 1 }))
    const busy = yield* Effect.flip(
      Effect.scoped(locks.acquire({ lock: "run", path: paths.runLock, what: "another" })),
    )
    assert.include(busy.message, "\\u001b[2Jupgrade\\u000anext: rm xxx")
    assert.isBelow(busy.message.length, 600)
  }).pipe(Effect.provide(layerDataDir())),
)

it.scopedLive("who gave a lock back and lives on is not its holder", () =>
  Effect.gen(function* () {
    const locks = yield* ExclusiveLock
    const { paths } = yield* DataDir
    const path = paths.runLock
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* locks.acquire({ lock: "run", path, what: "first" })
        assert.strictEqual(Option.getOrThrow(yield* locks.holder(path)).what, "first")
      }),
    )
    assert.isTrue(Option.isNone(yield* locks.holder(path)))
    assert.isFalse(yield* locks.isHeld(path))
  }).pipe(Effect.provide(layerDataDir())),
)

it.scopedLive("facts of another boot, or of a pid that another process has now, hold nothing", () =>
  Effect.gen(function* () {
    const locks = yield* ExclusiveLock
    const { paths } = yield* DataDir
    const path = paths.runLock
    const other = yield* child(`console.log("alive"); setInterval(() => {}, 1e6)`)
    const [boot, start] = nameOf(other.pid).split(" ")
    for (const process_ of [`another-boot ${start}`, `${boot} 1`, undefined]) {
      writeFileSync(
        holderPath(path),
        JSON.stringify({ pid: other.pid, what: "upgrade", since: 1, process: process_ }),
      )
      assert.isFalse(yield* locks.isHeld(path))
    }
    yield* Effect.scoped(locks.acquire({ lock: "run", path, what: "me" }))
  }).pipe(Effect.provide(layerDataDir())),
)
