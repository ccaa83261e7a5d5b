/** A real restarting supervisor for a machine's daemon: runit's `runsv`. */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, existsSync, openSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { Machine } from "../../../test/support/machine.mts"

const candidates = ["/usr/bin/runsv", "/sbin/runsv", "/usr/sbin/runsv", "/bin/runsv"]

/** Path of `runsv`; none where the Debian package `runit` is not installed. */
export const runsv = candidates.find((path) => existsSync(path))

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`

export class Supervisor {
  readonly log: string
  readonly #child: ChildProcess
  readonly #exited: Promise<void>

  private constructor(child: ChildProcess, log: string) {
    this.#child = child
    this.log = log
    this.#exited = new Promise((resolve) => child.once("exit", () => resolve()))
  }

  /** Supervises `waiaas start` of the machine: whenever it ends, it is started again (after a second). */
  static async start(machine: Machine, env: Record<string, string> = {}): Promise<Supervisor> {
    if (runsv === undefined) throw new Error("no runsv here: apt-get install runit")
    const service = join(machine.directory, "service")
    await mkdir(service, { recursive: true })
    const variables = Object.entries(machine.env(env)).map(([name, value]) => quoted(`${name}=${value}`))
    await writeFile(
      join(service, "run"),
      `#!/bin/sh\nexec 2>&1\ncd ${quoted(machine.home)}\nexec env -i ${variables.join(" ")} ${quoted(machine.bin)} start\n`,
      { mode: 0o755 },
    )
    const log = join(machine.directory, "service.log")
    const output = openSync(log, "a")
    const child = spawn(runsv, [service], { stdio: ["ignore", output, output], detached: true })
    closeSync(output)
    return new Supervisor(child, log)
  }

  /** Ends the supervisor only; what it supervised is the machine's. */
  async stop(): Promise<void> {
    this.#child.kill("SIGKILL")
    await this.#exited
  }
}
