/** Others on the daemon's port: nobody else is taken for the daemon of a data directory, or gets its token. */
import { strict as assert } from "node:assert"
import { existsSync } from "node:fs"
import { readFile, writeFile } from "node:fs/promises"
import { createServer, type IncomingHttpHeaders } from "node:http"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { until } from "../support/net.mts"
import { installedMachine } from "../support/scoped.mts"
import { setKeys } from "../support/sqlite.mts"

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

it.scopedLive(
  "a stranger on a dead daemon's port gets no token and is not believed",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      const heard: Array<IncomingHttpHeaders> = []
      const stranger = yield* Effect.acquireRelease(
        Effect.sync(() =>
          createServer((request, response) => {
            heard.push(request.headers)
            response.setHeader("content-type", "application/json").end("[]")
          }),
        ),
        (server) => Effect.sync(() => server.close()),
      )
      yield* Effect.promise(async () => {
        const pid = machine.daemonPid() ?? 0
        const port = Number(new URL(machine.daemonUrl()).port)
        process.kill(pid, "SIGKILL")
        await until("it has ended", async () => !machine.processes().includes(pid))
        assert.ok(existsSync(join(machine.dataDir, "daemon.json")), "it left its facts behind")
        // Its port is free a moment after it has ended.
        await until(
          "the stranger listens",
          () =>
            new Promise<boolean>((resolve) => {
              stranger.once("error", () => resolve(false))
              stranger.listen(port, "127.0.0.1", () => resolve(true))
            }),
        )
        setKeys(join(machine.dataDir, "data/waiaas.db"), { latest_version: "2.1.0" })
        const { code, stdout, stderr } = await machine.waiaas(["agent", "list"])
        assert.notEqual(code, 0, stdout)
        assert.match(stderr, /it does not run\.\nnext: waiaas start --background$/m)
        assert.deepEqual(
          heard.filter(({ authorization }) => authorization !== undefined),
          [],
        )
      })
    }),
  LIMIT,
)
