/**
 * `npm run chaos -- --trials N --seed S [--workers W] [--only T] [--kind K] [--keep] [--short]`: real npm, registry, global
 * install, SQLite and daemon, under clients that write all through; kills and faults at random moments.
 */
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import type { Machine } from "../test/support/machine.mts"
import { Registry } from "../test/support/registry.mts"
import { release } from "../test/support/releases.mts"
import { endProcesses, removeMachine } from "./lib/chaos/clean.mts"
import { noClock, noImmutable, noSmallDisk } from "./lib/chaos/faults.mts"
import { describePlan, type Kind, kinds, type Plan, planOf } from "./lib/chaos/plan.mts"
import { runsv } from "./lib/chaos/supervisor.mts"
import { installedTemplate, newRelease, oldRelease, upgradedTemplate } from "./lib/chaos/template.mts"
import { type Length, logsOf, measure, type Result, runTrial, type World } from "./lib/chaos/trial.mts"
import { interruption } from "./lib/interruption.mts"

const { values } = parseArgs({
  options: {
    trials: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: String(availableParallelism() + 1) },
    only: { type: "string" },
    kind: { type: "string" },
    keep: { type: "boolean", default: false },
    /** What CI runs. */
    short: { type: "boolean", default: false },
  },
})
const seed = Number(values.seed)
const trials = values.short ? 12 : Number(values.trials)
const workers = Number(values.workers)
if (![seed, trials, workers].every((number) => Number.isInteger(number) && number >= 0))
  throw new Error("--trials, --seed and --workers are whole numbers")

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`

const table = (rows: ReadonlyArray<ReadonlyArray<string | number>>): string => {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => String(row[column]).length))) ?? []
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? String(cell).padEnd(widths[0] ?? 0) : String(cell).padStart(widths[column] ?? 0),
        )
        .join("  "),
    )
    .join("\n")
}

const longest = (a: Length, b: Length): Length => ({
  total: Math.max(a.total, b.total),
  phases: Object.fromEntries(
    Object.keys(a.phases).map((phase) => [phase, Math.max(a.phases[phase] ?? 0, b.phases[phase] ?? 0)]),
  ),
})

const tell = (result: Result): void => {
  const { plan, problems, outcome, kills, exitCode, ms } = result
  const how = kills.length > 0 ? `killed in ${kills.join(", ")}` : `exit ${exitCode}`
  console.log(
    `${problems.length === 0 ? "ok  " : "FAIL"} ${String(plan.number).padStart(4)}  ${describePlan(plan)}: ${how} -> ${outcome} (${seconds(ms)})`,
  )
  for (const problem of problems) console.log(`       ${problem.replaceAll("\n", "\n       ")}`)
  if (problems.length > 0)
    console.log(
      `       again: npm run chaos -- --seed ${seed} --only ${plan.number} --keep${values.keep ? `; kept: ${result.directory}` : ""}`,
    )
}

const summary = (results: ReadonlyArray<Result>, ms: number): void => {
  const names = [...new Set(results.map(({ plan }) => `${plan.kind}, ${plan.command}`))].sort()
  const count = (of: ReadonlyArray<Result>, test: (result: Result) => boolean) => of.filter(test).length
  const row = (name: string, of: ReadonlyArray<Result>) => [
    name,
    of.length,
    count(of, ({ plan }) => plan.supervised),
    count(of, ({ kills }) => kills.length > 0),
    of.reduce((sum, { kills }) => sum + kills.length, 0),
    count(of, ({ outcome }) => outcome === "old"),
    count(of, ({ outcome }) => outcome === "new"),
    count(of, ({ problems }) => problems.length > 0),
  ]
  console.log(
    `\n${table([
      ["kind", "trials", "runsv", "cut off", "kills", "2.0.0 stands", "2.1.0 stands", "failed"],
      ...names.map((name) =>
        row(
          name,
          results.filter(({ plan }) => `${plan.kind}, ${plan.command}` === name),
        ),
      ),
      row("all", results),
    ])}`,
  )
  const places = new Map<string, number>()
  for (const { plan, kills } of results)
    for (const place of kills)
      places.set(`${plan.command}: ${place}`, (places.get(`${plan.command}: ${place}`) ?? 0) + 1)
  if (places.size > 0) console.log(`\n${table([["killed in", "times"], ...[...places].sort()])}`)
  const exits = new Map<string, number>()
  for (const { plan, exitCode } of results)
    if (exitCode !== null) {
      const key = `${plan.kind}, ${plan.command}: exit ${exitCode}`
      exits.set(key, (exits.get(key) ?? 0) + 1)
    }
  if (exits.size > 0) console.log(`\n${table([["ended by itself", "times"], ...[...exits].sort()])}`)
  const versionRuns = results.reduce((sum, result) => sum + result.versionRuns, 0)
  const acknowledged = results.reduce((sum, result) => sum + result.acknowledged, 0)
  const statuses = results.reduce((sum, result) => sum + result.statuses, 0)
  console.log(
    `\n${versionRuns} runs of waiaas --version meanwhile; ${acknowledged} acknowledged agents and ${statuses} suspensions and resumptions looked for afterwards`,
  )
  const bad = count(results, ({ problems }) => problems.length > 0)
  console.log(`seed ${seed}: ${results.length} trials, ${bad} failed, in ${seconds(ms)}`)
}

const chaos = async (): Promise<number> => {
  const begun = performance.now()
  const missing: Array<readonly [Kind, string]> = []
  for (const [kind, why] of [
    ["full disk", await noSmallDisk()],
    ["read-only", await noImmutable()],
    ["clock jump", noClock],
  ] as const)
    if (why !== undefined) missing.push([kind, why])
  for (const [kind, why] of missing) console.log(`skipped kind: ${kind}: ${why}`)
  if (runsv === undefined) console.log("no trial is supervised: no runsv here (Debian package runit)")
  const available = kinds.filter((kind) => !missing.some(([name]) => name === kind))

  const registry = await Registry.start()
  const machines: Array<Machine> = []
  const directories = new Set<string>()
  const results: Array<Result> = []
  const queue: Array<Plan> = []
  try {
    const work = async () => {
      for (const { version, schema } of [oldRelease, newRelease])
        await registry.publish(await release(version, schema))
      const installed = await installedTemplate(registry.url)
      machines.push(installed.machine)
      const upgraded = await upgradedTemplate(installed)
      machines.push(upgraded.machine)
      const templates = { upgrade: installed, rollback: upgraded }
      const measured = { registryUrl: registry.url, templates, directories }
      // Measured under the load that the trials make.
      const [firstUpgrade, firstRollback, upgrade, rollback] = [
        ...(await Promise.all([measure("upgrade", measured), measure("rollback", measured)])),
        ...(await Promise.all([measure("upgrade", measured), measure("rollback", measured)])),
      ]
      const lengths = { upgrade: longest(upgrade, firstUpgrade), rollback: longest(rollback, firstRollback) }
      const world: World = { ...measured, lengths }
      console.log(
        `measured: upgrade ${seconds(lengths.upgrade.total)}, rollback ${seconds(lengths.rollback.total)}; ${workers} at a time, ready after ${seconds(performance.now() - begun)}`,
      )
      const numbers =
        values.only === undefined
          ? Array.from({ length: trials }, (_, index) => index + 1)
          : values.only.split(",").map(Number)
      const plans = numbers.map((number) => planOf(seed, number, available, runsv !== undefined))
      queue.push(...plans.filter(({ kind }) => values.kind === undefined || kind === values.kind))
      const worker = async () => {
        for (let plan = queue.shift(); plan !== undefined; plan = queue.shift()) {
          const result = await runTrial(plan, world)
          results.push(result)
          tell(result)
          if (result.problems.length > 0 && values.keep) await endProcesses(result.directory)
          else {
            if (result.problems.length > 0) console.log(await logsOf(result.directory))
            await removeMachine(result.directory)
          }
          world.directories.delete(result.directory)
        }
      }
      await Promise.all(Array.from({ length: workers }, worker))
    }
    await Promise.race([work(), interruption])
  } finally {
    // After an interruption the trials that go on must not be followed by others.
    queue.length = 0
    for (const directory of directories) await removeMachine(directory)
    for (const machine of machines) await machine.destroy()
    await registry.stop()
  }
  summary(
    results.sort((a, b) => a.plan.number - b.plan.number),
    performance.now() - begun,
  )
  return results.some(({ problems }) => problems.length > 0) ? 1 : 0
}

process.exitCode = await chaos()
