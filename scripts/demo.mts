/** `npm run demo`: one version upgrades itself to the next for real, under load, and goes back. Leaves nothing behind. */
import assert from "node:assert/strict"
import { createPublicKey, verify } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { type Agent, OutageMeter, Writers } from "../test/support/load.mts"
import { type Machine, makeMachine, processesIn } from "../test/support/machine.mts"
import { freePort, request, until } from "../test/support/net.mts"
import { Registry } from "../test/support/registry.mts"
import { release } from "../test/support/releases.mts"
import { interruption } from "./lib/interruption.mts"

const oldRelease = { version: "2.0.0", schema: 4 }
const newRelease = { version: "2.1.0", schema: 5 }

let number = 0
const step = (title: string) => console.log(`\n${++number}. ${title}`)
const note = (text: string) => console.log(`   ${text}`)

/** A command as an operator types it, with what it says. */
const operator = async (machine: Machine, ...args: ReadonlyArray<string>): Promise<string> => {
  console.log(`   $ waiaas ${args.join(" ")}`)
  const { stdout, stderr } = await machine.mustWaiaas(args, { timeoutMs: 120_000 })
  for (const line of `${stderr}${stdout}`.trimEnd().split("\n")) console.log(`     ${line}`)
  return stdout
}

const health = async (machine: Machine) =>
  (await request(`${machine.daemonUrl()}/health`)).json<{ version: string; schemaVersion: number }>()

const expectRelease = async (machine: Machine, expected: typeof oldRelease) => {
  const { version, schemaVersion } = await health(machine)
  note(`GET /health says version ${version}, schema ${schemaVersion}`)
  assert.deepEqual({ version, schema: schemaVersion }, expected)
  assert.equal((await machine.mustWaiaas(["--version"])).stdout.trim(), expected.version)
}

const createAgent = async (machine: Machine, name: string): Promise<Agent> => {
  const answer = await machine.api("POST", "/v1/agents", { name })
  assert.equal(answer.status, 201, answer.text)
  return answer.json<Agent>()
}

const listAgents = async (machine: Machine) => {
  const answer = await machine.api("GET", "/v1/agents", undefined, 30_000)
  assert.equal(answer.status, 200, answer.text)
  return new Map(answer.json<ReadonlyArray<Agent>>().map((agent) => [agent.id, agent.publicKey]))
}

/** A signature of today's daemon against the key that was made at the agent's creation. */
const expectSignature = async (machine: Machine, agent: Agent) => {
  const message = `pay 1 SOL, says ${agent.name}`
  const answer = await machine.api("POST", `/v1/agents/${agent.id}/sign`, { message })
  assert.equal(answer.status, 200, answer.text)
  const x = Buffer.from(agent.publicKey, "hex").toString("base64url")
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" })
  const signature = Buffer.from(answer.json<{ signature: string }>().signature, "hex")
  assert.ok(verify(null, Buffer.from(message), key, signature), "the signature does not verify")
  note(`a signature by ${agent.name}'s key verifies`)
}

const upgradeUnderLoad = async (machine: Machine) => {
  const client = await machine.client()
  const meter = new OutageMeter(client)
  const writers = new Writers(client)
  await until("the writers write", async () => writers.acknowledged.length >= 20)
  await operator(machine, "upgrade")
  const after = writers.acknowledged.length + 20
  await until("the writers write again", async () => writers.acknowledged.length >= after)
  const acknowledged = await writers.stop()
  const outage = await meter.stop()
  assert.deepEqual(writers.unexpected, [], "a client got an answer that no retry explains")
  return { acknowledged, outage }
}

const story = async (machine: Machine, registry: Registry) => {
  step(`A registry on loopback with ${newRelease.version} and ${oldRelease.version}, and a fresh machine`)
  for (const { version, schema } of [oldRelease, newRelease]) {
    await registry.publish(await release(version, schema))
    note(`published @waiaas/cli@${version} (schema ${schema})`)
  }

  step("Install the older one")
  console.log(`   $ npm install --global @waiaas/cli@${oldRelease.version}`)
  const { stdout } = await machine.installGlobal(`@waiaas/cli@${oldRelease.version}`)
  note(stdout.trim())

  step("Initialise and start")
  await operator(machine, "init")
  await machine.configure({ port: await freePort() })
  await operator(machine, "start", "--background")
  await expectRelease(machine, oldRelease)

  step("Create agents")
  const agents = await Promise.all(["alice", "bob", "carol"].map((name) => createAgent(machine, name)))
  const [alice] = agents
  assert.ok(alice)
  note(agents.map((agent) => `${agent.name} ${agent.publicKey.slice(0, 16)}...`).join(", "))
  await expectSignature(machine, alice)

  step("Can it be upgraded?")
  assert.match(await operator(machine, "upgrade", "--check"), /Upgrade available/)

  step("Upgrade, while four clients go on creating agents")
  const { acknowledged, outage } = await upgradeUnderLoad(machine)
  note(`downtime seen from the outside, asking every 10 ms: ${Math.round(outage.ms)} ms`)
  await expectRelease(machine, newRelease)
  const present = await listAgents(machine)
  const lost = [...agents, ...acknowledged].filter((agent) => present.get(agent.id) !== agent.publicKey)
  assert.deepEqual(lost, [], "acknowledged writes were lost")
  note(`all ${acknowledged.length} writes that were acknowledged before, during and after it are there`)
  await expectSignature(machine, alice)

  step("Go back")
  // In the middle of the outage nothing is acknowledged: it parts the old version's writes from the new one's.
  const middle = (outage.from + outage.to) / 2
  const afterUpgrade = acknowledged.filter((agent) => agent.at > middle)
  const beforeUpgrade = [...agents, ...acknowledged.filter((agent) => agent.at <= middle)]
  assert.ok(afterUpgrade.length > 0)
  await operator(machine, "upgrade", "--rollback", "--yes")
  await expectRelease(machine, oldRelease)
  const restored = await listAgents(machine)
  assert.ok(
    beforeUpgrade.every((agent) => restored.get(agent.id) === agent.publicKey),
    "data from before the upgrade is missing",
  )
  assert.ok(!afterUpgrade.some((agent) => restored.has(agent.id)), "data of the newer version is still there")
  note(
    `the ${beforeUpgrade.length} agents of the old version are back; ${afterUpgrade.length} newer ones are set aside`,
  )
  await expectSignature(machine, alice)
  await operator(machine, "backup", "list")

  step("Stop")
  await operator(machine, "stop")
  assert.deepEqual(machine.processes(), [], "the product left a process behind")
}

const demo = async (): Promise<void> => {
  const registry = await Registry.start()
  const machine = await makeMachine({ registryUrl: registry.url })
  try {
    await Promise.race([story(machine, registry), interruption])
  } catch (error) {
    const log = join(machine.dataDir, "logs/daemon.log")
    if (existsSync(log)) {
      console.error(`\n${log}:\n${readFileSync(log, "utf8").split("\n").slice(-30).join("\n")}`)
    }
    throw error
  } finally {
    await machine.destroy()
    await registry.stop()
  }
  step("Nothing is left behind")
  assert.deepEqual(processesIn(machine.directory), [])
  for (const directory of [machine.directory, registry.directory])
    assert.ok(!existsSync(directory), directory)
  note("no process, no directory")
}

await demo()
