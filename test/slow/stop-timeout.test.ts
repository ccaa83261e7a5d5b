/** In a file of its own: it waits long, and others need not wait for it. */
import { strict as assert } from "node:assert"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { installedMachine } from "../support/scoped.mts"

it.scopedLive(
  "a daemon that does not stop in time, and is not proven to be one any more, is left alive: exit 5",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { shutdown_timeout: 5 } })
      yield* Effect.promise(async () => {
        const pid = machine.daemonPid() ?? 0
        process.kill(pid, "SIGSTOP")
        const stopping = machine.waiaas(["stop"])
        // It is proven once before it is asked, and once more before it would be killed.
        await new Promise((resolve) => setTimeout(resolve, 3000))
        rmSync(join(machine.dataDir, "daemon.json"))
        const { code, stderr } = await stopping
        assert.equal(code, 5, stderr)
        assert.match(
          stderr,
          new RegExp(`The daemon \\(process ${pid}\\) did not stop within 10 s, and was not killed`),
        )
        assert.match(
          stderr,
          new RegExp(`^next: Look at \`waiaas status\`; .* end it with \`kill ${pid}\``, "m"),
        )
        assert.ok(machine.processes().includes(pid))
      })
    }),
  30_000,
)
