import { strict as assert } from "node:assert"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { installedMachine } from "../support/scoped.mts"

/** Tells on stderr, at a process's end, which of the modules of Node's own that cost most it has loaded. */
const telltale = `process.on("exit", () => {
  const loaded = ["internal/deps/undici/undici", "https", "crypto", "child_process", "zlib"].filter((name) =>
    process.moduleLoadList.includes("NativeModule " + name))
  require("node:fs").writeSync(2, "loaded: " + loaded.join() + "\\n")
})`

it.scopedLive("the help that the first file has is the command's own", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine({ start: false })
    const [first, own] = yield* Effect.promise(() =>
      Promise.all([machine.mustWaiaas(["--help"]), machine.mustWaiaas(["--quiet", "--help"])]),
    )
    assert.match(first.stdout, /^\$ waiaas <command>$/m)
    assert.match(first.stdout, /Exit codes: 0 done, [\s\S]*; 130\s+interrupted\./)
    assert.equal(first.stdout, own.stdout)
  }),
)

it.scopedLive("status loads nothing heavy that it has no use for", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine()
    const { stdout, stderr } = yield* Effect.promise(async () => {
      const script = join(machine.directory, "telltale.cjs")
      await writeFile(script, telltale)
      return machine.mustWaiaas(["status"], { env: { NODE_OPTIONS: `--require=${script}` } })
    })
    assert.match(stdout, /daemon: ok/)
    assert.equal(stderr, "loaded: \n")
  }),
)
