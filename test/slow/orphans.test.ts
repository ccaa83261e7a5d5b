import assert from "node:assert/strict"
import { readFileSync, writeFileSync } from "node:fs"
import { rm, symlink } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { describe, it } from "vitest"
import { readJournal } from "../../scripts/lib/chaos/journal.mts"
import { toolsOf } from "../../scripts/lib/chaos/processes.mts"
import { until } from "../support/net.mts"
import { expectStands, newRelease, oldRelease, slowWorld } from "./support.ts"

const world = slowWorld()

describe("an upgrader that is killed alone, while its child lives on", () => {
  for (const delay of [0, 80, 160, 240])
    it(`a migrating child that was stopped after ${delay} ms does nothing after the recovery`, async () => {
      const place = await world.serving()
      const { machine, env } = place
      const live = machine.spawnWaiaas(["upgrade"], { env })
      const child = await until(
        "the new code migrates",
        async () => {
          const migrates = readJournal(machine).lines.some(
            (line) => line._tag === "PhaseBegun" && line.phase === "migrate",
          )
          return migrates ? toolsOf(machine)[0] : undefined
        },
        { timeoutMs: 60_000, everyMs: 2 },
      )
      await sleep(delay)
      // It may be through already; then there is nothing left to stop.
      const signal = (name: NodeJS.Signals | 0) => {
        try {
          return process.kill(child, name)
        } catch {
          return false
        }
      }
      signal("SIGSTOP")
      live.child.kill("SIGKILL")
      await live.exit
      const started = machine.waiaas(["start", "--background"], { env })
      await sleep(3000)
      signal("SIGCONT")
      const { code, stderr } = await started
      assert.equal(code, 0, stderr)
      await until("the child has ended", async () => !signal(0))
      await expectStands(place, oldRelease)
      await machine.mustWaiaas(["stop"])
      await machine.mustWaiaas(["start", "--background"], { env })
      await expectStands(place, oldRelease)
    })
})

describe("a commit that the old code finishes", () => {
  it("is followed by the command of the version that is in place then", async () => {
    const { machine, env } = await world.place()
    await machine.mustWaiaas(["upgrade"], { env })
    // As if it had been killed right after the commit: the command still is the retained code.
    const journal = join(machine.dataDir, "upgrade/journal/000001.jsonl")
    const lines = readFileSync(journal, "utf8").split("\n")
    const committed = lines.findIndex((line) => line.includes('"Committed"'))
    writeFileSync(journal, `${lines.slice(0, committed + 1).join("\n")}\n`)
    await rm(machine.bin)
    await symlink("../lib/node_modules/.waiaas/retained/2.0.0/dist/bin.js", machine.bin)
    assert.equal((await machine.mustWaiaas(["--version"])).stdout.trim(), oldRelease.version)
    const { stdout } = await machine.mustWaiaas(["--json", "backup", "create"], { env })
    // Before the result stand the events of the recovery.
    const made = JSON.parse(stdout.trim().split("\n").at(-1) ?? "")
    assert.deepEqual([made.from, made.schema], [newRelease.version, newRelease.schema])
    assert.equal((await machine.mustWaiaas(["--version"])).stdout.trim(), newRelease.version)
  })
})
