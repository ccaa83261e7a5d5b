import { strict as assert } from "node:assert"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it } from "vitest"
import { hoistGlobals, isRun } from "../src/Arguments.ts"

describe("a signal", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    it(`${signal} ends a command that waits in a call of the system which does not return`, async () => {
      const directory = await mkdtemp(join(tmpdir(), "waiaas-signal-"))
      try {
        const pipe = join(directory, "pipe")
        execFileSync("mkfifo", [pipe])
        const code = `
          const { endOnSignal } = await import(${JSON.stringify(join(import.meta.dirname, "../src/EndOnSignal.ts"))})
          endOnSignal(100)
          process.on("SIGTERM", () => {}).on("SIGINT", () => {})
          process.getBuiltinModule("fs").readFile(${JSON.stringify(pipe)}, () => {})
          console.log("waits")`
        const child = spawn(process.execPath, ["--input-type=module", "--eval", code], {
          stdio: ["ignore", "pipe", "inherit"],
        })
        await once(child.stdout, "data")
        child.kill(signal)
        const late = setTimeout(() => child.kill("SIGKILL"), 8000)
        const [, endedBy] = await once(child, "exit")
        clearTimeout(late)
        assert.equal(endedBy, signal)
      } finally {
        await rm(directory, { recursive: true })
      }
    })

  it("begins the way back of a run, which then has its time; every other command ends", () => {
    const read = (line: string) => isRun(hoistGlobals(line.split(" ")))
    for (const line of ["upgrade", "upgrade --rollback --yes", "--data-dir /d upgrade --to 2.1.0"])
      assert.equal(read(line), true, line)
    for (const line of ["upgrade --check", "upgrade --status", "status", "start --background", "backup list"])
      assert.equal(read(line), false, line)
  })
})
