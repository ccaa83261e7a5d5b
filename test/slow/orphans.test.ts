import assert from "node:assert/strict"
import { setTimeout as sleep } from "node:timers/promises"
import { describe, it } from "vitest"
import { readJournal } from "../../scripts/lib/chaos/journal.mts"
import { toolsOf } from "../../scripts/lib/chaos/processes.mts"
import { until } from "../support/net.mts"
import { expectStands, oldRelease, slowWorld } from "./support.ts"

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
