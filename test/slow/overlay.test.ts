/** A package in a lower layer of an overlay file system, as in an image of one's own or a devcontainer. */
import { strict as assert } from "node:assert"
import { mkdirSync, renameSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mustRun } from "../../scripts/lib/run.mts"
import { release } from "../support/releases.mts"
import { installedMachine } from "../support/scoped.mts"

it.runIf(process.getuid?.() === 0)(
  "a package that cannot be renamed is refused in step 1 while the daemon serves, and the command that it names helps",
  () =>
    Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const machine = yield* installedMachine({ start: false, daemon: { update_check: false } })
          const root = join(machine.prefix, "lib/node_modules")
          const [lower, upper, work] = ["lower", "upper", "work"].map((name) => join(machine.directory, name))
          yield* Effect.acquireRelease(
            Effect.promise(async () => {
              renameSync(root, lower as string)
              for (const path of [root, upper, work]) mkdirSync(path as string)
              const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`
              await mustRun("mount", ["-t", "overlay", "overlay", "-o", options, root])
            }),
            () =>
              Effect.promise(async () => {
                await machine.waiaas(["stop"])
                await mustRun("umount", ["--lazy", root])
              }),
          )
          yield* Effect.promise(async () => {
            await machine.mustWaiaas(["start", "--background"])
            const pid = machine.daemonPid()
            const [old, next] = [await release("2.0.0", 4), await release("2.1.0", 5)]
            for (const args of [["--dry-run"], []]) {
              const { code, stderr } = await machine.waiaas(["upgrade", "--from", next, ...args])
              assert.equal(code, 4, stderr)
              assert.match(stderr, /cannot be renamed \(EXDEV: it is part of an image, a lower layer/)
              assert.match(stderr, /^next: npm install --global @waiaas\/cli@2\.0\.0$/m)
              assert.equal(machine.daemonPid(), pid)
            }
            await machine.mustWaiaas(["status"])
            // What the message names, from a file here: npm copies where it cannot rename.
            await machine.installGlobal(old)
            const upgraded = await machine.mustWaiaas(["upgrade", "--from", next])
            assert.match(upgraded.stdout, /Upgraded WAIaaS from 2\.0\.0 to 2\.1\.0\./)
          })
        }),
      ),
    ),
  120_000,
)
