/** One registry and one prepared machine a file; each test works on a copy, which ends with it. */
import assert from "node:assert/strict"
import { afterAll, afterEach, beforeAll } from "vitest"
import * as checks from "../../scripts/lib/chaos/checks.mts"
import { removeMachine } from "../../scripts/lib/chaos/clean.mts"
import { runsv, Supervisor } from "../../scripts/lib/chaos/supervisor.mts"
import {
  cloneOf,
  freshDirectory,
  installedTemplate,
  newRelease,
  oldRelease,
  type Template,
  upgradedTemplate,
} from "../../scripts/lib/chaos/template.mts"
import type { RunResult } from "../../scripts/lib/run.mts"
import { type Agent, Writers } from "../support/load.mts"
import type { Machine } from "../support/machine.mts"
import { freePort, request, until } from "../support/net.mts"
import { Registry } from "../support/registry.mts"
import { release } from "../support/releases.mts"

export { newRelease, oldRelease, runsv, stackTrace }

const { stackTrace } = checks

export interface Place {
  readonly machine: Machine
  /** Agents that were acknowledged before. */
  readonly agents: ReadonlyArray<Agent>
  readonly env: Record<string, string>
}

export const slowWorld = ({
  upgraded = false,
  releases = [newRelease] as ReadonlyArray<typeof newRelease>,
} = {}) => {
  let registry: Registry
  const templates: Array<Template> = []
  const open: Array<() => Promise<unknown>> = []

  beforeAll(async () => {
    registry = await Registry.start()
    for (const { version, schema } of [oldRelease, ...releases])
      await registry.publish(await release(version, schema))
    templates.push(await installedTemplate(registry.url))
    if (upgraded && templates[0]) templates.push(await upgradedTemplate(templates[0]))
  })
  afterEach(async () => {
    for (const end of open.splice(0).reverse()) await end()
  })
  afterAll(async () => {
    for (const { machine } of templates) await machine.destroy()
    await registry.stop()
  })

  return {
    /** A copy of the old release with agents, or of the upgraded one. Its daemon does not run. */
    place: async (which: "installed" | "upgraded" = "installed"): Promise<Place> => {
      const template = templates[which === "installed" ? 0 : 1]
      assert.ok(template)
      const machine = await cloneOf(template, await freshDirectory("waiaas-slow-"))
      open.push(() => removeMachine(machine.directory))
      const port = await freePort()
      // A rollback restores config.toml: the port must not come from it.
      const env = { WAIAAS_DAEMON_PORT: String(port) }
      return { machine, agents: [...template.before, ...template.after], env }
    },
    serving: async function (which: "installed" | "upgraded" = "installed"): Promise<Place> {
      const place = await this.place(which)
      await place.machine.mustWaiaas(["start", "--background"], { env: place.env })
      return place
    },
    writers: async ({ machine }: Place): Promise<Writers> => {
      const writers = new Writers(await machine.client(), { count: 2, pauseMs: 25 })
      open.push(() => writers.stop())
      await until("the clients write", async () => writers.acknowledged.length >= 4, { timeoutMs: 20_000 })
      return writers
    },
    supervise: async ({ machine, env }: Place): Promise<Supervisor> => {
      const supervisor = await Supervisor.start(machine, env)
      open.push(() => supervisor.stop())
      await until("the supervised daemon serves", () => checks.standing(machine).catch(() => undefined), {
        timeoutMs: 30_000,
      })
      return supervisor
    },
    registryUrl: () => registry.url,
    publish: async (version: string, schema: number, fault?: string) =>
      registry.publish(await release(version, schema, fault)),
  }
}

/** One of the two outcomes stands, whole: health, data, command, npm, and nothing left over. */
export const expectStands = async (
  { machine, agents, env }: Place,
  expected: typeof oldRelease,
  written: ReadonlyArray<Agent> = [],
  { aside = false } = {},
): Promise<void> => {
  assert.deepEqual(
    await until("the daemon serves", () => checks.standing(machine).catch(() => undefined), {
      timeoutMs: 30_000,
    }),
    expected,
  )
  const [signer] = agents
  assert.ok(signer)
  assert.deepEqual(
    [
      ...(await checks.checkWrites(machine, [...agents, ...written], aside)),
      ...(await checks.checkServes(machine, signer)),
      ...(await checks.checkInstall(machine, expected.version, env)),
      ...checks.checkDebris(machine),
    ],
    [],
  )
}

/** A failure that an operator can read: the code, one `error:`, what to type next, no stack trace, no bug. */
export const expectTold = (result: RunResult, codes: ReadonlyArray<number>, pattern?: RegExp): void => {
  const text = `${result.stdout}${result.stderr}`
  assert.ok(
    result.code !== null && codes.includes(result.code),
    `exit ${result.code ?? result.signal}: ${text}`,
  )
  assert.match(result.stderr, /^error: /m)
  assert.match(result.stderr, /^next: /m)
  expectNoTrace(result)
  if (pattern !== undefined) assert.match(text, pattern)
}

export const expectNoTrace = (result: Pick<RunResult, "stdout" | "stderr">): void => {
  const text = `${result.stdout}${result.stderr}`
  assert.doesNotMatch(text, stackTrace)
  assert.doesNotMatch(text, /bug in WAIaaS/i)
}

export const health = async (
  machine: Machine,
): Promise<{ status: string; version: string; schemaVersion: number }> =>
  (await request(`${machine.daemonUrl()}/health`, { timeoutMs: 2000 })).json()
