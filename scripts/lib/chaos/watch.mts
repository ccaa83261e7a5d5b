/** `waiaas --version` again and again, beside everything that happens to the package. */
import { existsSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import type { Machine } from "../../../test/support/machine.mts"

export class VersionWatch {
  /** What was seen that must not be. */
  readonly problems: Array<string> = []
  runs = 0
  readonly #machine: Machine
  readonly #loops: ReadonlyArray<Promise<void>>
  #running = true

  constructor(machine: Machine, versions: ReadonlyArray<string>, env: Record<string, string> = {}) {
    this.#machine = machine
    this.#loops = [this.#run(versions, env), this.#stat()]
  }

  async #run(versions: ReadonlyArray<string>, env: Record<string, string>): Promise<void> {
    while (this.#running) {
      const { code, signal, stdout, stderr } = await this.#machine.waiaas(["--version"], {
        env,
        timeoutMs: 30_000,
      })
      this.runs++
      if (code !== 0 || !versions.includes(stdout.trim()))
        this.problems.push(
          `waiaas --version: ${code ?? signal} ${JSON.stringify(stdout + stderr).slice(0, 300)}`,
        )
      await sleep(150)
    }
  }

  /** The command's link leads to a file at far more instants than a process can be started at. */
  async #stat(): Promise<void> {
    while (this.#running) {
      if (!existsSync(this.#machine.bin)) this.problems.push("the command's link leads nowhere")
      await sleep(5)
    }
  }

  async stop(): Promise<void> {
    this.#running = false
    await Promise.all(this.#loops)
  }
}
