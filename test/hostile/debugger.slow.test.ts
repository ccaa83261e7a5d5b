/** SIGUSR1 opens Node's debugger to every user of the machine, in a process that does not see to it: each of ours does. */
import { strict as assert } from "node:assert"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { until } from "../support/net.mts"
import { installedMachine } from "../support/scoped.mts"

/** Real machines in here take seconds. */
const LIMIT = 90_000

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket.destroy() !== undefined))
    socket.once("error", () => resolve(false))
  })

/** Whether the debugger listens, a while after the signal. */
const opens = async (pid: number, port: number): Promise<boolean> => {
  for (let signals = 0; signals < 10; signals++) {
    process.kill(pid, "SIGUSR1")
    await sleep(50)
  }
  return isOpen(port)
}

it.scopedLive(
  "no signal opens a debugger in the daemon, in the background or in the foreground",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false }, start: false })
      yield* Effect.promise(async () => {
        const port = await machine.freePort()
        const env = { NODE_OPTIONS: `--inspect-port=${port}` }
        const plain = spawn(machine.node, ["-e", "setInterval(() => {}, 1000); console.log('up')"], {
          env: machine.env(env),
          stdio: ["ignore", "pipe", "ignore"],
        })
        await once(plain.stdout, "data")
        assert.ok(await opens(plain.pid ?? 0, port), "a Node that does not see to it opens one")
        plain.kill("SIGKILL")
        await until("it is closed", async () => !(await isOpen(port)))
        await machine.mustWaiaas(["start", "--background"], { env })
        assert.equal(await opens(machine.daemonPid() ?? 0, port), false)
        assert.equal((await machine.mustWaiaas(["health"])).code, 0, "it serves on")
        await machine.mustWaiaas(["stop"])
        const live = machine.spawnWaiaas(["start"], { env })
        await until("it serves", async () => (await machine.waiaas(["health"])).code === 0)
        assert.equal(await opens(live.pid, port), false)
        assert.equal((await machine.mustWaiaas(["health"])).code, 0, "it serves on")
        await machine.mustWaiaas(["stop"])
      })
    }),
  LIMIT,
)

it.scopedLive(
  "no signal opens a debugger in a command, in a database tool or in npm",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const port = await machine.freePort()
        const said = join(machine.home, "said")
        const hook = join(machine.home, "hook.cjs")
        // At the end of whatever runs: the signal, and a line about what it opened.
        writeFileSync(
          hook,
          `const { appendFileSync } = require("node:fs")
          const { exit } = process
          const end = (code) => {
            process.kill(process.pid, "SIGUSR1")
            setTimeout(() => {
              appendFileSync(${JSON.stringify(said)}, process.argv[1] + " " + (require("node:inspector").url() ?? "closed") + "\\n")
              exit(code)
            }, 300)
          }
          process.exit = end
          process.once("beforeExit", end)`,
        )
        const env = { NODE_OPTIONS: `--inspect-port=${port} --require=${hook}` }
        writeFileSync(said, "")
        await machine.waiaas(["status"], { env })
        await machine.waiaas(["agent", "list"], { env })
        await machine.waiaas(["backup", "create"], { env })
        await machine.waiaas(["upgrade", "--check"], { env })
        const lines = readFileSync(said, "utf8").trim().split("\n")
        for (const file of ["bin/waiaas", "dist/tool.js", "npm-cli.js"])
          assert.ok(
            lines.some((line) => line.includes(file)),
            `${file}: ${lines.join("\n")}`,
          )
        assert.deepEqual(
          lines.filter((line) => !line.endsWith(" closed")),
          [],
        )
      })
    }),
  LIMIT,
)
