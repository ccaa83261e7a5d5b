/** Prepared machines that each trial gets a copy of, at a place of its own. */
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { mkdir, mkdtemp, realpath } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import type { Agent, Status } from "../../../test/support/load.mts"
import { Machine, makeMachine } from "../../../test/support/machine.mts"

export const oldRelease = { version: "2.0.0", schema: 4 }
export const newRelease = { version: "2.1.0", schema: 5 }

export interface Template {
  readonly machine: Machine
  /** Acknowledged while the old release served. */
  readonly before: ReadonlyArray<Agent>
  /** Acknowledged since the upgrade. */
  readonly after: ReadonlyArray<Agent>
  /** Ids of the agents that are suspended in the backup that a rollback takes. */
  readonly suspendedThen: ReadonlySet<string>
  /** What the agents are that were suspended or resumed, by id. */
  readonly statuses: ReadonlyMap<string, Status>
}

const createAgents = (machine: Machine, label: string, count: number): Promise<ReadonlyArray<Agent>> =>
  Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const answer = await machine.api("POST", "/v1/agents", { name: `${label}-${index}` })
      if (answer.status !== 201) throw new Error(`an agent was not created: ${answer.status} ${answer.text}`)
      return answer.json<Agent>()
    }),
  )

/** As many as a client changes the status of in a trial, one after the other. */
const AGENTS = 80

const setStatus = (
  machine: Machine,
  agents: ReadonlyArray<Agent>,
  status: Status,
): Promise<ReadonlyArray<readonly [id: string, status: Status]>> =>
  Promise.all(
    agents.map(async ({ id, name }) => {
      const act = status === "suspended" ? "suspend" : "resume"
      const answer = await machine.api("POST", `/v1/agents/${id}/${act}`)
      if (answer.status !== 200) throw new Error(`${act} ${name}: ${answer.status} ${answer.text}`)
      return [id, status] as const
    }),
  )

/** The old release, initialised, with agents, a few of them suspended, stopped. */
export const installedTemplate = async (registryUrl: string): Promise<Template> => {
  const machine = await makeMachine({ registryUrl })
  await machine.installGlobal(`@waiaas/cli@${oldRelease.version}`)
  await machine.mustWaiaas(["init"])
  await machine.configure({ port: await machine.freePort() })
  await machine.mustWaiaas(["start", "--background"])
  const before = await createAgents(machine, "before", AGENTS)
  const statuses = new Map(await setStatus(machine, before.slice(1, 7), "suspended"))
  await machine.mustWaiaas(["stop"])
  return { machine, before, after: [], suspendedThen: new Set(), statuses }
}

/** The same, upgraded to the new release, with agents of that time too, and some that were suspended or resumed in it. */
export const upgradedTemplate = async (installed: Template): Promise<Template> => {
  const machine = await cloneOf(installed, await freshDirectory("waiaas-machine-"))
  await machine.mustWaiaas(["start", "--background"])
  await machine.mustWaiaas(["upgrade"], { timeoutMs: 120_000 })
  const after = await createAgents(machine, "after", 10)
  const { before } = installed
  const statuses = new Map([
    ...installed.statuses,
    ...(await setStatus(machine, before.slice(1, 4), "active")),
    ...(await setStatus(machine, before.slice(7, 10), "suspended")),
    ...(await setStatus(machine, after.slice(0, 2), "suspended")),
  ])
  await machine.mustWaiaas(["stop"])
  return { machine, before, after, suspendedThen: new Set(installed.statuses.keys()), statuses }
}

export const freshDirectory = async (prefix: string): Promise<string> =>
  realpath(await mkdtemp(join(tmpdir(), prefix)))

/** A journal names its machine's paths; each of its lines carries a checksum. */
const moveJournal = (path: string, from: string, to: string): void => {
  const lines = readFileSync(path, "utf8").split("\n").filter(Boolean)
  const moved = lines.map((line) => {
    const json = line.slice(9).replaceAll(`"${from}/`, `"${to}/`)
    return `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`
  })
  writeFileSync(path, moved.join(""))
}

/** Hard links for what nobody writes in place (Node, npm, packages), copies for everything else. */
export const cloneOf = async (template: Template, directory: string): Promise<Machine> => {
  const source = template.machine
  const machine = Machine.at(directory)
  execFileSync("cp", ["-al", source.prefix, machine.prefix])
  const hidden = "lib/node_modules/.waiaas"
  if (existsSync(join(source.prefix, hidden))) {
    rmSync(join(machine.prefix, hidden), { recursive: true })
    execFileSync("cp", ["-a", join(source.prefix, hidden), join(machine.prefix, hidden)])
  }
  const npmrc = readFileSync(join(source.prefix, "etc/npmrc"))
  rmSync(join(machine.prefix, "etc/npmrc"))
  writeFileSync(join(machine.prefix, "etc/npmrc"), npmrc)
  execFileSync("cp", ["-a", source.home, machine.home])
  await mkdir(join(directory, "tmp"))
  const journals = join(machine.dataDir, "upgrade/journal")
  if (existsSync(journals))
    for (const name of readdirSync(journals)) moveJournal(join(journals, name), source.directory, directory)
  return machine
}
