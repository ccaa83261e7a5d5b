/** `npm run bench [-- --quick] [-- --write]`: one table, measured side by side in one run; medians. `--write` puts it into docs/performance.md. */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { createSchemaVersion, migrations } from "@waiaas/services/migrations/index"
import { OutageMeter } from "../test/support/load.mts"
import { type Machine, makeMachine } from "../test/support/machine.mts"
import { freePort, request, until } from "../test/support/net.mts"
import { Registry } from "../test/support/registry.mts"
import { release } from "../test/support/releases.mts"
import { machineLine, writePart } from "./lib/document.mts"
import { fill } from "./lib/fill.mts"
import { requestsPerSecond } from "./lib/http-load.mts"
import { interruption } from "./lib/interruption.mts"
import { mustRun } from "./lib/run.mts"

const { values: flags } = parseArgs({
  options: { quick: { type: "boolean", default: false }, write: { type: "boolean", default: false } },
})

interface Row {
  readonly what: string
  readonly measured: string
  /** What it was measured against, in the same run. */
  readonly against: string
  readonly budget: string
  readonly kept: boolean
}

const rows: Array<Row> = []
const row = (what: string, measured: string, against = "", budget = "", kept = true) => {
  rows.push({ what, measured, against, budget, kept })
  console.error(
    `${kept ? "    " : "OVER"} ${what}: ${measured}${against && ` (${against})`}${budget && ` [${budget}]`}`,
  )
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted[Math.floor(sorted.length / 2)]
  assert.ok(middle !== undefined)
  return middle
}

const times = async (count: number, measure: () => Promise<number>): Promise<ReadonlyArray<number>> => {
  const values: Array<number> = []
  for (let index = 0; index < count; index++) values.push(await measure())
  return values
}

const ms = (value: number) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`
const ratio = (value: number) => `${value.toFixed(2)}x`

/** All that were made, so that an interruption leaves none behind. */
const machines: Array<Machine> = []

const emptyMachine = async (registry: Registry): Promise<Machine> => {
  const machine = await makeMachine({ registryUrl: registry.url })
  machines.push(machine)
  return machine
}

const newMachine = async (registry: Registry, version: string): Promise<Machine> => {
  const machine = await emptyMachine(registry)
  await machine.installGlobal(`@waiaas/cli@${version}`)
  return machine
}

const initialise = async (machine: Machine): Promise<number> => {
  await machine.mustWaiaas(["init"])
  const port = await freePort()
  await machine.configure({ port })
  return port
}

const coldStart = async (machine: Machine) => {
  await machine.mustWaiaas(["start", "--background"])
  const commands = [
    { args: ["--version"], budget: 1.5 },
    { args: ["--help"], budget: 5 },
    { args: ["status"], budget: 5 },
  ].map((command) => ({ ...command, values: [] as Array<number> }))
  const floor: Array<number> = []
  // In turns, so that a busy moment of the machine falls on all of them.
  for (let round = 0; round < 21; round++) {
    floor.push((await mustRun(machine.node, ["-e", "0"], { env: machine.env() })).ms)
    for (const command of commands) command.values.push((await machine.mustWaiaas(command.args)).ms)
  }
  await machine.mustWaiaas(["stop"])
  for (const { args, budget, values } of commands) {
    const factor = median(values) / median(floor)
    row(
      `cold start of \`waiaas ${args.join(" ")}\``,
      `${ms(median(values))}, ${ratio(factor)}`,
      `\`node -e 0\`: ${ms(median(floor))}`,
      `at most ${budget}x`,
      factor <= budget,
    )
  }
}

const bytesBelow = (directory: string): number =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)

const install = async (registry: Registry, version: string) => {
  const seconds: Array<number> = []
  let packages = 0
  let bytes = 0
  for (let round = 0; round < 3; round++) {
    const machine = await emptyMachine(registry)
    try {
      seconds.push((await machine.installGlobal(`@waiaas/cli@${version}`)).ms)
      const { stdout } = await machine.npm(["ls", "--global", "--all", "--parseable"])
      packages = stdout.split("\n").filter((path) => path.includes("/@waiaas/cli")).length
      bytes = bytesBelow(machine.packageDir)
    } finally {
      await machine.destroy()
    }
  }
  row("packages in a production install", String(packages), "", "at most 4", packages <= 4)
  row("size of it, unpacked", mb(bytes))
  row("time of `npm i -g` from a registry on loopback, empty cache", ms(median(seconds)))
}

const start = async (machine: Machine, port: number) => {
  const values = await times(7, async () => {
    const started = performance.now()
    const live = machine.spawnWaiaas(["start"])
    await until(
      "healthy",
      () =>
        request(`http://127.0.0.1:${port}/health`).then(
          ({ status }) => status === 200,
          () => false,
        ),
      { everyMs: 2 },
    )
    const elapsed = performance.now() - started
    await machine.mustWaiaas(["stop"])
    await live.exit
    return elapsed
  })
  row("`waiaas start` to the first `/health`", ms(median(values)), "", "at most 1 s", median(values) <= 1000)
}

const idleMemory = async (machine: Machine) => {
  await sleep(5000)
  const status = readFileSync(`/proc/${machine.daemonPid()}/status`, "utf8")
  const rss = Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
  row("resident memory of the idle daemon", mb(rss), "", "at most 110 MB", rss <= 110e6)
}

/** A `node:http` server that answers `body` and nothing else. */
const bareServer = (body: string) => {
  const code = `
    const body = ${JSON.stringify(body)}
    require("node:http").createServer((request, response) => {
      response.setHeader("content-type", "application/json")
      response.end(body)
    }).listen(0, "127.0.0.1", function () { console.log(this.address().port) })`
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] })
  return new Promise<{ url: string; stop: () => void }>((resolve, reject) => {
    child.once("error", reject)
    child.stdout.once("data", (port: Buffer) =>
      resolve({ url: `http://127.0.0.1:${String(port).trim()}/health`, stop: () => child.kill() }),
    )
  })
}

const healthRate = async (port: number) => {
  const url = `http://127.0.0.1:${port}/health`
  const bare = await bareServer((await request(url)).text)
  try {
    const [ours, theirs]: [Array<number>, Array<number>] = [[], []]
    for (let round = 0; round < 5; round++) {
      ours.push(await requestsPerSecond(url))
      theirs.push(await requestsPerSecond(bare.url))
    }
    const factor = median(ours) / median(theirs)
    row(
      "`/health` requests a second, 32 connections",
      `${Math.round(median(ours))}, ${ratio(factor)}`,
      `bare \`node:http\`, same body: ${Math.round(median(theirs))}`,
      "at least 0.35x",
      factor >= 0.35,
    )
  } finally {
    bare.stop()
  }
}

interface Size {
  readonly label: string
  readonly bytes: number
  readonly rounds: number
  readonly budgetMs?: number
}

const sizes: ReadonlyArray<Size> = [
  { label: "1 MB", bytes: 1e6, rounds: 5 },
  { label: "100 MB", bytes: 100e6, rounds: 5, budgetMs: 2500 },
  { label: "1 GB", bytes: 1e9, rounds: 3 },
]

const upgrades = async (machine: Machine, size: Size) => {
  const [downtimes, wholes]: [Array<number>, Array<number>] = [[], []]
  for (let round = 0; round < size.rounds; round++) {
    const meter = new OutageMeter(await machine.client())
    await sleep(200)
    const { ms: whole } = await machine.mustWaiaas(["upgrade"], { timeoutMs: 900_000 })
    await sleep(200)
    downtimes.push((await meter.stop()).ms)
    wholes.push(whole)
    await machine.mustWaiaas(["upgrade", "--rollback", "--yes"], { timeoutMs: 900_000 })
  }
  const downtime = median(downtimes)
  row(
    `downtime of an upgrade, database of ${size.label}`,
    ms(downtime),
    `whole upgrade: ${ms(median(wholes))}`,
    size.budgetMs === undefined ? "" : `at most ${size.budgetMs / 1000} s`,
    size.budgetMs === undefined || downtime <= size.budgetMs,
  )
}

const throughput = (bytes: number, elapsed: number) => `${Math.round(bytes / 1e6 / (elapsed / 1000))} MB/s`

const backups = async (machine: Machine, database: string, size: Size) => {
  const target = join(machine.directory, "tmp/copy.db")
  const bytes = statSync(database).size
  const [ours, theirs]: [Array<number>, Array<number>] = [[], []]
  for (let round = 0; round < size.rounds; round++) {
    ours.push((await machine.mustWaiaas(["backup", "create"], { timeoutMs: 300_000 })).ms)
    // `sync FILE` is fsync.
    theirs.push((await mustRun("sh", ["-c", 'cp "$0" "$1" && sync "$1"', database, target])).ms)
    rmSync(target)
  }
  row(
    `\`waiaas backup create\`, database of ${size.label} (copies, hashes, checks, syncs; command's start included)`,
    `${throughput(bytes, median(ours))} (${ms(median(ours))})`,
    `cp + fsync: ${throughput(bytes, median(theirs))} (${ms(median(theirs))})`,
  )
}

/** The statements that the new release runs, for the `sqlite3` shell. */
const migrationSql = (from: number): string =>
  [
    "PRAGMA journal_mode = WAL;",
    "PRAGMA synchronous = FULL;",
    "BEGIN IMMEDIATE;",
    `${createSchemaVersion};`,
    ...migrations
      .filter(({ id }) => id > from)
      .flatMap(({ statements }) => statements.map((one) => `${one};`)),
    "COMMIT;",
    "PRAGMA wal_checkpoint(TRUNCATE);",
  ].join("\n")

const migration = async (
  machine: Machine,
  original: string,
  fromSchema: number,
  tool: string,
  size: Size,
) => {
  const copy = join(machine.directory, "tmp/migrate.db")
  const fresh = async () => {
    copyFileSync(original, copy)
    await mustRun("sync", [copy])
  }
  const clear = () => {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(`${copy}${suffix}`, { force: true })
  }
  const [ours, theirs]: [Array<number>, Array<number>] = [[], []]
  const shell = await mustRun("sqlite3", ["--version"]).then(
    () => true,
    () => false,
  )
  for (let round = 0; round < size.rounds; round++) {
    await fresh()
    const input = JSON.stringify({ _tag: "Migrate", protocol: 1, database: copy })
    const options = { env: machine.env(), input, timeoutMs: 600_000 }
    const { stdout, ms: elapsed } = await mustRun(machine.node, [tool], options)
    assert.match(stdout, /"Done"/)
    ours.push(elapsed)
    clear()
    if (!shell) continue
    await fresh()
    theirs.push(
      (await mustRun("sqlite3", ["-bail", copy], { input: migrationSql(fromSchema), timeoutMs: 600_000 })).ms,
    )
    clear()
  }
  row(
    `migration of schema ${fromSchema} to ${migrations.length}, database of ${size.label} (process start included)`,
    ms(median(ours)),
    shell ? `same SQL in the \`sqlite3\` shell: ${ms(median(theirs))}` : "no `sqlite3` shell on this machine",
  )
}

const bySize = async (registry: Registry, candidate: Machine, size: Size) => {
  const machine = await newMachine(registry, "2.0.0")
  try {
    await initialise(machine)
    await machine.mustWaiaas(["start", "--background"])
    await machine.mustWaiaas(["stop"])
    const database = join(machine.dataDir, "data/waiaas.db")
    const agents = fill(database, size.bytes)
    console.error(`     (${size.label}: ${agents} agents, ${mb(statSync(database).size)})`)
    const original = join(machine.directory, "tmp/original.db")
    copyFileSync(database, original)
    await machine.mustWaiaas(["start", "--background"])
    await backups(machine, database, size)
    await upgrades(machine, size)
    await machine.mustWaiaas(["stop"])
    await migration(machine, original, 4, join(candidate.packageDir, "dist/tool.js"), size)
  } finally {
    await machine.destroy()
  }
}

const table = (): string => {
  const cells = rows.map(({ what, measured, against, budget, kept }) =>
    [what, measured, against, budget === "" ? "" : `${budget}: ${kept ? "kept" : "**not kept**"}`].join(
      " | ",
    ),
  )
  return ["what | measured | against | budget", "--- | --- | --- | ---", ...cells]
    .map((line) => `| ${line} |`)
    .join("\n")
}

const measureAll = async (registry: Registry) => {
  await registry.publish(await release("2.0.0", 4))
  await registry.publish(await release("2.1.0", 5))
  const machine = await newMachine(registry, "2.1.0")
  const port = await initialise(machine)
  await coldStart(machine)
  await install(registry, "2.1.0")
  await start(machine, port)
  await machine.mustWaiaas(["start", "--background"])
  await idleMemory(machine)
  await healthRate(port)
  await machine.mustWaiaas(["stop"])
  for (const size of sizes.filter(({ bytes }) => !flags.quick || bytes < 1e9)) {
    await bySize(registry, machine, size)
  }
}

const bench = async () => {
  const registry = await Registry.start()
  try {
    await Promise.race([measureAll(registry), interruption])
  } finally {
    for (const machine of machines) await machine.destroy()
    await registry.stop()
  }
  const text = `${machineLine()}\n\n${table()}`
  console.log(text)
  if (flags.write) writePart("docs/performance.md", "bench", text)
  process.exitCode = rows.every(({ kept }) => kept) ? 0 : 1
}

assert.ok(existsSync("/proc"), "the benchmark reads /proc: it runs on Linux")
await bench()
