/** Places of the data that are mounted by themselves, and a strict umask: what an undo and a rollback do with them. */
import { strict as assert } from "node:assert"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mustRun } from "../../scripts/lib/run.mts"
import { release } from "../support/releases.mts"
import { installedMachine } from "../support/scoped.mts"

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
