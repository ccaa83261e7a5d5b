/** Places of the data that are mounted, immutable or append-only, and a strict umask: what step 1, an undo and a rollback do with them. */
import { strict as assert } from "node:assert"
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mustRun } from "../../scripts/lib/run.mts"
import { release } from "../support/releases.mts"
import { installedMachine } from "../support/scoped.mts"

type Machine = Effect.Effect.Success<ReturnType<typeof installedMachine>>

const isRoot = process.getuid?.() === 0

const stoppedMachine = installedMachine({ start: false, daemon: { update_check: false } })

/** Mounts a copy of what is there over it: another mount of the same device. */
const mounted = (path: string, copy: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      await mustRun("cp", ["-a", path, copy])
      await mustRun("mount", ["--bind", copy, path])
    }),
    () => Effect.promise(() => mustRun("umount", ["--lazy", path])),
  )

const run = <E>(test: Effect.Effect<void, E, import("effect/Scope").Scope>) =>
  Effect.runPromise(Effect.scoped(test))

it.runIf(isRoot)(
  "a failing upgrade goes back where backups and database are two mounts of one device",
  () =>
    run(
      Effect.gen(function* () {
        const machine = yield* stoppedMachine
        yield* mounted(join(machine.dataDir, "backups"), join(machine.directory, "backups"))
        yield* Effect.promise(async () => {
          await machine.mustWaiaas(["start", "--background"])
          const failing = await release("2.1.0", 5, "start")
          const { code, stderr } = await machine.waiaas(["upgrade", "--from", failing])
          assert.equal(code, 6, stderr)
          assert.match(stderr, /Everything was put back: WAIaaS 2\.0\.0 with its own data/)
          assert.match((await machine.mustWaiaas(["status"])).stdout, /daemon: ok, version 2\.0\.0/)
          await machine.mustWaiaas(["stop"])
        })
      }),
    ),
  120_000,
)

it.runIf(isRoot)(
  "a rollback leaves a config.toml alone that is the backup's already, mounted or not",
  () =>
    run(
      Effect.gen(function* () {
        const machine = yield* stoppedMachine
        yield* mounted(join(machine.dataDir, "config.toml"), join(machine.directory, "config.toml"))
        yield* Effect.promise(async () => {
          await machine.mustWaiaas(["start", "--background"])
          await machine.mustWaiaas(["upgrade", "--from", await release("2.1.0", 5)])
          const { stdout } = await machine.mustWaiaas(["upgrade", "--rollback", "--yes"])
          assert.match(stdout, /Rolled back to WAIaaS 2\.0\.0, schema 4\./)
          await machine.mustWaiaas(["stop"])
        })
      }),
    ),
  120_000,
)

/** As `act` runs, and no longer. */
const during = (begin: ReadonlyArray<string>, end: ReadonlyArray<string>, act: () => Promise<void>) => {
  const call = ([command = "", ...args]: ReadonlyArray<string>) => mustRun(command, args)
  return call(begin).then(() => act().finally(() => call(end)))
}
const attribute = (flag: string, path: string, act: () => Promise<void>) =>
  during(["chattr", `+${flag}`, path], ["chattr", `-${flag}`, path], act)
const readOnly = async (path: string, act: () => Promise<void>) => {
  await mustRun("mount", ["--bind", path, path])
  await during(["mount", "-o", "remount,bind,ro", path], ["umount", "--lazy", path], act)
}

/** Refused in step 1 with the place's name, and the daemon has never stopped. */
const refused = async (machine: Machine, args: ReadonlyArray<string>, said: RegExp, next: RegExp) => {
  const pid = machine.daemonPid()
  const { code, stderr } = await machine.waiaas(["upgrade", ...args])
  assert.equal(code, 4, stderr)
  assert.match(stderr, said)
  assert.match(stderr, next)
  assert.equal(machine.daemonPid(), pid)
  assert.match((await machine.mustWaiaas(["status"])).stdout, /daemon: ok/)
}

it.runIf(isRoot)(
  "a place that no step could change is refused in step 1 while the daemon serves, and the upgrade works once it can be",
  () =>
    run(
      Effect.gen(function* () {
        const machine = yield* stoppedMachine
        yield* Effect.promise(async () => {
          await machine.mustWaiaas(["start", "--background"])
          const next = await release("2.1.0", 5)
          const place = (name: string) => join(machine.dataDir, name)
          const both = (name: string, code: string, advice: RegExp) => async () => {
            // One of each kind in a rehearsal as well: its step 1 is the same.
            for (const args of ["logs", "backups"].includes(name) ? [["--dry-run"], []] : [[]])
              await refused(
                machine,
                ["--from", next, ...args],
                new RegExp(`${place(name)} cannot be changed \\(${code}`),
                advice,
              )
          }
          for (const name of [".", "daemon.json", "logs", "logs/daemon.out.log", "backups", "data/waiaas.db"])
            await attribute("i", place(name), both(name === "." ? "" : name, "EPERM", /^next: .*lsattr -d/m))
          for (const name of ["backups", "data", "logs"])
            await attribute("a", place(name), both(name, "EPERM", /^next: .*chattr -i -a/m))
          for (const name of ["backups", "logs"])
            await readOnly(place(name), both(name, "EROFS", /^next: .*findmnt --target/m))
          // Nobody needs the old package after the commit: what may not be removed is named, and the run ends all the same.
          const note = join(machine.packageDir, "note.txt")
          writeFileSync(note, "mine")
          await mustRun("chattr", ["+i", note])
          const { stderr } = await machine.mustWaiaas(["upgrade", "--from", next])
          const [, left = ""] =
            /warning: (\S+) is not needed any more, and may not be removed: is something in it immutable/.exec(
              stderr,
            ) ?? []
          await mustRun("chattr", ["-i", join(left, "note.txt")])
          assert.match((await machine.mustWaiaas(["status"])).stdout, /daemon: ok, version 2\.1\.0/)
          await machine.mustWaiaas(["stop"])
        })
      }),
    ),
  480_000,
)

it.runIf(isRoot)(
  "a database or a changed config.toml that is a mount of its own is refused in step 1, and the daemon serves",
  () =>
    run(
      Effect.gen(function* () {
        const machine = yield* stoppedMachine
        const next = yield* Effect.promise(() => release("2.1.0", 5))
        const by = (name: string) =>
          [
            new RegExp(
              `${join(machine.dataDir, name)} cannot be changed \\(EBUSY: it is mounted by itself\\)`,
            ),
            /^next: Run `waiaas stop[^`]*`, unmount .*umount/m,
          ] as const
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* mounted(join(machine.dataDir, "data/waiaas.db"), join(machine.directory, "waiaas.db"))
            yield* Effect.promise(async () => {
              await machine.mustWaiaas(["start", "--background"])
              for (const args of [["--dry-run"], []])
                await refused(machine, ["--from", next, ...args], ...by("data/waiaas.db"))
              await machine.mustWaiaas(["stop"])
            })
          }),
        )
        yield* Effect.promise(async () => {
          await machine.mustWaiaas(["start", "--background"])
          await machine.mustWaiaas(["upgrade", "--from", next])
        })
        const config = join(machine.dataDir, "config.toml")
        yield* Effect.promise(async () => appendFileSync(config, "# changed since\n"))
        yield* mounted(config, join(machine.directory, "config.toml"))
        yield* Effect.promise(async () => {
          await refused(machine, ["--rollback", "--yes"], ...by("config.toml"))
          await machine.mustWaiaas(["stop"])
        })
      }),
    ),
  120_000,
)

it(
  "an upgrade from a shell with umask 0777 leaves a command that everybody may run",
  () =>
    run(
      Effect.gen(function* () {
        const machine = yield* stoppedMachine
        yield* Effect.promise(async () => {
          const next = await release("2.1.0", 5)
          const script = join(machine.directory, "strict")
          mkdirSync(join(machine.directory, "tmp"), { recursive: true })
          writeFileSync(script, `#!/bin/sh\numask 0777\nexec ${machine.bin} "$@"\n`, { mode: 0o755 })
          await mustRun(script, ["upgrade", "--from", next], { cwd: machine.home, env: machine.env() })
          assert.match((await machine.mustWaiaas(["--version"])).stdout, /2\.1\.0/)
        })
      }),
    ),
  120_000,
)
