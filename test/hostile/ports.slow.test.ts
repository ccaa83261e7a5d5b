/** Others on the daemon's port: nobody else is taken for the daemon of a data directory, or gets its token. */
import { strict as assert } from "node:assert"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { readFile, writeFile } from "node:fs/promises"
import { createServer, type IncomingHttpHeaders, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { request, until } from "../support/net.mts"
import { asOther, nodeForAll } from "../support/other-user.mts"
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
        assert.match(stderr, /^error: The daemon is not running\.\nnext: waiaas start --background$/m)
        assert.deepEqual(
          heard.filter(({ authorization }) => authorization !== undefined),
          [],
        )
      })
    }),
  LIMIT,
)

/**
 * Tries to listen until it can, and says whether that process went on after it. The system closes a process's sockets a
 * moment before it calls it ended.
 */
const bindAsSoonAsPossible = (node: string, port: number, pid: number) => {
  const code = `
    const { createServer } = require("node:net"), { readFileSync } = require("node:fs")
    const alive = () => { try { return !/\\) [ZX] /.test(readFileSync("/proc/${pid}/stat", "utf8")) } catch { return false } }
    const attempt = () => createServer()
      .on("error", () => setTimeout(attempt, 1))
      .listen(${port}, "127.0.0.1", () => setTimeout(() => { console.log(alive() ? "alive" : "gone"); process.exit() }, 300))
    attempt()`
  const child = spawn(node, ["-e", code], {
    cwd: "/",
    stdio: ["ignore", "pipe", "inherit"],
    ...asOther,
  })
  return new Promise<string>((resolve) => {
    let text = ""
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk
    })
    child.once("close", () => resolve(text.trim()))
  })
}

it.scopedLive(
  "another user cannot have the port of a daemon that stops before its process has ended",
  () =>
    Effect.gen(function* () {
      const silent = yield* Effect.acquireRelease(
        Effect.promise(
          () =>
            new Promise<Server>((resolve) => {
              // A registry that never answers keeps a request of ours in flight.
              const server = createServer(() => {}).listen(0, "127.0.0.1", () => resolve(server))
            }),
        ),
        (server) =>
          Effect.sync(() => {
            server.closeAllConnections()
            server.close()
          }),
      )
      const { port: registry } = silent.address() as AddressInfo
      const machine = yield* installedMachine({
        daemon: {
          update_check: false,
          update_registry: `http://127.0.0.1:${registry}`,
          shutdown_timeout: 5,
        },
      })
      const node = yield* nodeForAll
      yield* Effect.promise(async () => {
        const pid = machine.daemonPid() ?? 0
        const url = machine.daemonUrl()
        const inFlight = machine.api("POST", "/v1/version/check").catch(() => "cut off")
        await once(silent, "request")
        process.kill(pid, "SIGTERM")
        const bound = bindAsSoonAsPossible(node, Number(new URL(url).port), pid)
        await until("it stops", () =>
          request(`${url}/health`).then(
            ({ status }) => status === 503,
            // It came as the stop began.
            () => false,
          ),
        )
        const { code, stderr } = await machine.waiaas(["agent", "list"])
        assert.notEqual(code, 0)
        assert.match(stderr, /stopping/)
        assert.equal(await bound, "gone")
        await inFlight
      })
    }),
  LIMIT,
)
