/** Others on the daemon's port: nobody else is taken for the daemon of a data directory. */
import { strict as assert } from "node:assert"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { installedMachine } from "../support/scoped.mts"

/** Real machines in here take seconds. */
const LIMIT = 60_000

it.scopedLive(
  "two data directories with one port: the second start fails, and the first one's daemon is not taken for it",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const other = join(machine.home, "other")
        await machine.mustWaiaas(["init", "--data-dir", other])
        await writeFile(
          join(other, "config.toml"),
          await readFile(join(machine.dataDir, "config.toml"), "utf8"),
        )
        const { code, stdout, stderr } = await machine.waiaas(["start", "--background", "--data-dir", other])
        assert.notEqual(code, 0, stdout)
        assert.match(stderr, /another program listens/)
        const status = JSON.parse(
          (await machine.mustWaiaas(["--json", "status", "--data-dir", other])).stdout,
        )
        assert.deepEqual([status.daemon, status.health], ["Stopped", null])
        assert.equal((await machine.mustWaiaas(["health"])).code, 0)
      })
    }),
  LIMIT,
)
