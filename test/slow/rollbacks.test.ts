/** `waiaas upgrade --rollback` on a whole machine: which backup it takes, and what it says that it undoes. */
import assert from "node:assert/strict"
import { describe, it } from "vitest"
import { release } from "../support/releases.mts"
import { expectStands, newRelease, oldRelease, slowWorld } from "./support.ts"

const world = slowWorld({ upgraded: true })

describe("a rollback after `npm install --global` of the new version and its start", () => {
  it("brings back the data of that start's backup and the version that wrote them, from npm", async () => {
    const place = await world.serving()
    const { machine, env } = place
    await machine.mustWaiaas(["stop"], { env })
    await machine.installGlobal(await release(newRelease.version, newRelease.schema))
    await machine.mustWaiaas(["start", "--background"], { env })
    const later = await machine.mustWaiaas(["agent", "create", "later"], { env })
    assert.match(later.stdout, /later/)
    const back = await machine.mustWaiaas(["upgrade", "--rollback", "--yes"], { env, timeoutMs: 180_000 })
    assert.match(back.stdout, /^Restored: +pre-migrate-2\.0\.0-/m)
    await expectStands(place, oldRelease)
  })
})

describe("a rollback off a terminal", () => {
  it("names what it undoes, and the agent that was suspended since does not sign in the old version", async () => {
    const place = await world.serving("upgraded")
    const { machine, agents, env } = place
    const [alice] = agents
    assert.ok(alice)
    await machine.mustWaiaas(["agent", "create", "later"], { env })
    await machine.mustWaiaas(["agent", "suspend", alice.id], { env })
    const asked = await machine.waiaas(["upgrade", "--rollback"], { env })
    assert.equal(asked.code, 4)
    const said = [
      /^Since then: \d+ agents? (was|were) added: /m,
      new RegExp(
        `^Since then: \\d+ agents? (was|were) suspended: .*${alice.name}[,.].* stays? suspended `,
        "m",
      ),
    ]
    for (const line of said) assert.match(asked.stderr, line)
    const back = await machine.mustWaiaas(["upgrade", "--rollback", "--yes"], { env, timeoutMs: 180_000 })
    for (const line of said) assert.match(back.stderr, line)
    const signed = await machine.api("POST", `/v1/agents/${alice.id}/sign`, { message: "x" })
    assert.equal(signed.status, 409)
  })
})
