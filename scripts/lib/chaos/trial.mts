/** One trial: a machine, clients, a command, a fault at its moment, recovery, and what must hold then. */
import { appendFile, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { type Agent, type Status, StatusChanges, Writers } from "../../../test/support/load.mts"
import type { LiveWaiaas, Machine } from "../../../test/support/machine.mts"
import { until } from "../../../test/support/net.mts"
import * as checks from "./checks.mts"
import { allowWrites, RegistryWay, refuseWrites, SmallDisk, WallClock } from "./faults.mts"
import { isCommitted, isEnded, placeOf, readJournal } from "./journal.mts"
import type { Command, Moment, Plan } from "./plan.mts"
import { killCommand, killDaemons } from "./processes.mts"
import { Supervisor } from "./supervisor.mts"
import { cloneOf, freshDirectory, newRelease, oldRelease, type Template } from "./template.mts"
import { VersionWatch } from "./watch.mts"

/** Measured milliseconds of a command that nothing disturbs. */
export interface Length {
  readonly total: number
  readonly phases: Readonly<Record<string, number>>
}
export type Lengths = Readonly<Record<Command, Length>>

export interface World {
  readonly registryUrl: string
  readonly templates: Readonly<Record<Command, Template>>
  readonly lengths: Lengths
  /** Machines that are there now, for an end before the end. */
  readonly directories: Set<string>
}

export interface Result {
  readonly plan: Plan
  readonly problems: ReadonlyArray<string>
  readonly outcome: "new" | "old" | "none"
  /** Where the run stood when it was killed, and then its recovery. */
  readonly kills: ReadonlyArray<string>
  /** Exit code of the command; `null` where it was killed. */
  readonly exitCode: number | null
  readonly versionRuns: number
  readonly acknowledged: number
  /** Suspensions and resumptions. */
  readonly statuses: number
  readonly ms: number
  readonly directory: string
}

export const argsOf: Record<Command, ReadonlyArray<string>> = {
  upgrade: ["upgrade"],
  rollback: ["upgrade", "--rollback", "--yes"],
}
const COMMAND_LIMIT = 150_000
const FAULT_LENGTH = 12_000
const RECOVERY_LIMIT = 90_000
const RECOVERY_LENGTH = 3000

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(true))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(false)))
  })

let nextPort = 0
/**
 * A port below those that outgoing connections take: a client that asks a daemon which is down must not
 * get that very port for itself. In the environment, as a rollback restores `config.toml`.
 */
const portOf = async (): Promise<Record<string, string>> => {
  for (;;) {
    const port = 12_000 + ((process.pid * 100 + nextPort++) % 18_000)
    if (!(await listens(port))) return { WAIAAS_DAEMON_PORT: String(port) }
  }
}

const placeFor = (machine: Machine, where: string): string => {
  const root = join(machine.prefix, "lib/node_modules")
  const places: Readonly<Record<string, string>> = {
    "data directory": machine.dataDir,
    backups: join(machine.dataDir, "backups"),
    journal: join(machine.dataDir, "upgrade/journal"),
    database: join(machine.dataDir, "data"),
    "global root": root,
    scope: join(root, "@waiaas"),
    bin: join(machine.prefix, "bin"),
    hidden: join(root, ".waiaas"),
    retained: join(root, ".waiaas/retained"),
    data: machine.dataDir,
    package: root,
  }
  const place = places[where]
  if (place === undefined) throw new Error(`no place ${where}`)
  return place
}

/** Sleeps until the moment; false where the command ended first. */
const reach = async (
  machine: Machine,
  moment: Moment,
  length: Length,
  before: number,
  live: LiveWaiaas,
): Promise<boolean> => {
  let ended = false
  void live.exit.then(() => {
    ended = true
  })
  const begun = performance.now()
  if (moment.phase !== null) {
    for (;;) {
      if (ended || performance.now() - begun > COMMAND_LIMIT) return false
      const view = readJournal(machine)
      if (
        view.run > before &&
        view.lines.some((line) => line._tag === "PhaseBegun" && line.phase === moment.phase)
      )
        break
      await sleep(2)
    }
  }
  const ms = moment.phase === null ? length.total * 1.05 : (length.phases[moment.phase] ?? 100)
  await Promise.race([sleep(ms * moment.fraction), live.exit])
  return !ended
}

const inTime = async (
  live: LiveWaiaas,
  machine: Machine,
  problems: Array<string>,
): Promise<number | null> => {
  const late = Symbol("late")
  const ended = await Promise.race([live.exit, sleep(COMMAND_LIMIT, late, { ref: false })])
  if (typeof ended !== "symbol") return ended.code
  problems.push(`the command did not end within ${COMMAND_LIMIT / 1000} s`)
  killCommand(machine, live.pid)
  return null
}

export const runTrial = async (plan: Plan, world: World): Promise<Result> => {
  const started = performance.now()
  const template = world.templates[plan.command]
  const machine = await cloneOf(template, await freshDirectory("waiaas-chaos-"))
  world.directories.add(machine.directory)
  const problems: Array<string> = []
  const kills: Array<string> = []
  const log = join(machine.directory, "trial.log")
  const tell = (text: string) =>
    appendFile(log, `${((performance.now() - started) / 1000).toFixed(2)} ${text}\n`)
  await tell(JSON.stringify(plan))
  let outcome: Result["outcome"] = "none"
  let exitCode: number | null = null
  let versionRuns = 0
  let acknowledged = 0
  let changed = 0
  const undo: Array<() => unknown> = []
  try {
    const way = plan.kind === "registry gone" ? await RegistryWay.to(world.registryUrl) : undefined
    if (way !== undefined) undo.push(() => way.cut())
    const clock = plan.kind === "clock jump" ? await WallClock.in(machine.directory) : undefined
    const env = { ...(await portOf()), ...clock?.env }
    const setRegistry = (url: string) =>
      writeFile(
        join(machine.prefix, "etc/npmrc"),
        `registry=${url}\nfund=false\naudit=false\nupdate-notifier=false\nfetch-retry-mintimeout=200\nfetch-retry-maxtimeout=500\n`,
      )
    await setRegistry(way?.url ?? world.registryUrl)
    if (plan.coldCache) await rm(join(machine.home, ".npm"), { recursive: true, force: true })
    const disk =
      plan.kind === "full disk"
        ? await SmallDisk.under(placeFor(machine, plan.where), plan.where === "data" ? 140 : 260)
        : undefined
    if (disk !== undefined) undo.push(() => disk.remove())

    const supervisor = plan.supervised ? await Supervisor.start(machine, env) : undefined
    if (supervisor !== undefined) {
      undo.unshift(() => supervisor.stop())
      await until("the supervised daemon serves", () => checks.standing(machine).catch(() => undefined), {
        timeoutMs: 30_000,
      })
    } else await machine.mustWaiaas(["start", "--background"], { env })

    const client = await machine.client()
    const writers = new Writers(client, { count: 2, label: "chaos", pauseMs: 25 })
    undo.unshift(() => writers.stop())
    const [signer, ...others] = template.before
    const older = others.filter(({ id }) => !template.statuses.has(id))
    let [turn, made] = [0, 0]
    // Of those that every database has and of those that were made just now, in turn.
    const changes = new StatusChanges(client, () =>
      turn++ % 2 === 0 && older.length > 0
        ? older.shift()
        : made < writers.acknowledged.length
          ? writers.acknowledged[made++]
          : undefined,
    )
    undo.unshift(() => changes.stop())
    const watch = new VersionWatch(machine, [oldRelease.version, newRelease.version], env)
    undo.unshift(() => watch.stop())
    await until("the clients write", async () => writers.acknowledged.length >= 4, { timeoutMs: 20_000 })

    const before = readJournal(machine).run
    const pidBefore = machine.daemonPid()
    const begun = performance.now()
    const live = machine.spawnWaiaas(argsOf[plan.command], { env })
    const reached = await reach(machine, plan.at, world.lengths[plan.command], before, live)
    let refusing: string | undefined
    if (plan.kind === "clock jump") await clock?.jump(plan.offset)
    if (plan.kind === "registry gone") way?.cut()
    if (plan.kind === "full disk") disk?.fill()
    if (plan.kind === "read-only") {
      refusing = placeFor(machine, plan.where)
      const place = refusing
      undo.unshift(() => allowWrites(place))
      if (!refuseWrites(place)) await tell(`${place} is not there yet: nothing refuses`)
    }
    if (plan.kind === "clock jump" && plan.kill) await sleep(100)
    if (plan.kill && reached) {
      const place = placeOf(readJournal(machine), before)
      const count = killCommand(machine, live.pid)
      if (plan.daemonToo) killDaemons(machine)
      kills.push(place)
      await tell(`killed ${count} processes in "${place}"`)
      await live.exit
    } else {
      const ending = inTime(live, machine, problems)
      // A disk or a directory that refuses for long is seen to by an operator while the command still waits.
      await Promise.race([ending, sleep(FAULT_LENGTH)])
      if (refusing !== undefined) allowWrites(refusing)
      await disk?.free()
      exitCode = await ending
      await tell(`ended with ${exitCode}`)
    }
    const said = live.stdout() + live.stderr()
    await tell(said)
    problems.push(...checks.badWords(argsOf[plan.command].join(" "), said))

    // The cause is removed; what was cut off has to come to one of the two outcomes.
    if (refusing !== undefined) allowWrites(refusing)
    await disk?.free()
    await setRegistry(world.registryUrl)
    const { run } = readJournal(machine)
    // A daemon that is killed while no run is open ran in none.
    let alone = run === before

    const untouched = plan.kind === "registry gone" && exitCode !== 0 && !plan.supervised
    if (untouched && machine.daemonPid() !== pidBefore)
      problems.push("the daemon was stopped for an upgrade without a registry")
    if (
      exitCode === 0 &&
      plan.kind === "registry gone" &&
      plan.at.phase === "check" &&
      plan.at.fraction < 0.02
    )
      await tell("npm was faster than the cut")

    const recovery = plan.recovery === "upgrade" ? ["upgrade"] : ["start", "--background"]
    for (const fraction of plan.recoveryKills) {
      if (supervisor === undefined) {
        const again = machine.spawnWaiaas(recovery, { env })
        await Promise.race([sleep(RECOVERY_LENGTH * fraction), again.exit])
        kills.push(`then ${placeOf(readJournal(machine), before)}`)
        killCommand(machine, again.pid)
        await again.exit
        if (plan.daemonToo) {
          alone = isEnded(readJournal(machine))
          killDaemons(machine)
        }
        problems.push(...checks.badWords(recovery.join(" "), again.stdout() + again.stderr()))
      } else {
        await sleep(RECOVERY_LENGTH * fraction)
        kills.push(`then ${placeOf(readJournal(machine), before)}`)
        killDaemons(machine)
      }
    }

    const deadline = performance.now() + RECOVERY_LIMIT
    if (supervisor !== undefined)
      await until(
        "the supervised daemon serves after the fault",
        () => checks.standing(machine).catch(() => undefined),
        { timeoutMs: RECOVERY_LIMIT },
      )
    for (;;) {
      const last = await machine.waiaas(recovery, { env, timeoutMs: COMMAND_LIMIT })
      await tell(`${recovery.join(" ")}: ${last.code ?? last.signal}\n${last.stdout}${last.stderr}`)
      problems.push(...checks.badWords(recovery.join(" "), last.stdout + last.stderr))
      if (last.code === 0) {
        // Then the run says so, and what it says is typed.
        const killedAlone = alone && plan.daemonToo && supervisor === undefined
        if (killedAlone && last.stdout.includes("The daemon was not started: waiaas start --background"))
          await machine.mustWaiaas(["start", "--background"], { env })
        break
      }
      // A start by the supervisor may be at it; nothing else may be in the way.
      const busy = last.code === 4 && plan.supervised
      if (!busy || performance.now() > deadline) {
        problems.push(
          `the recovery (${recovery.join(" ")}) ended with ${last.code ?? last.signal}: ${last.stderr.slice(-600)}`,
        )
        break
      }
      await sleep(500)
    }
    const stands = await until(
      "the daemon serves after the recovery",
      () => checks.standing(machine).catch(() => undefined),
      { timeoutMs: 30_000 },
    )
    // The clients must come through again, too.
    const many = writers.acknowledged.length + 2
    await until("the clients write again", async () => writers.acknowledged.length >= many, {
      timeoutMs: 20_000,
    })
    await watch.stop()
    await changes.stop()
    const written = await writers.stop()
    changed = changes.acknowledged.size
    versionRuns = watch.runs
    acknowledged = written.length
    problems.push(...new Set(watch.problems))
    // A full or read-only disk is an error that clients may see; anything else is not.
    if (plan.kind !== "full disk" && plan.kind !== "read-only")
      problems.push(
        ...[...new Set([...writers.unexpected, ...changes.unexpected])]
          .slice(0, 3)
          .map((text) => `a client was answered: ${text}`),
      )

    outcome = stands.version === newRelease.version ? "new" : "old"
    const schema = outcome === "new" ? newRelease.schema : oldRelease.schema
    if (stands.schema !== schema) problems.push(`${stands.version} serves schema ${stands.schema}`)
    const wasCommitted = run > before && isCommitted(readJournal(machine, run))
    const wanted =
      plan.command === "upgrade"
        ? wasCommitted || plan.recovery === "upgrade"
          ? "new"
          : "old"
        : wasCommitted
          ? "old"
          : "new"
    if (outcome !== wanted)
      problems.push(
        `${outcome} stands, but the run was ${wasCommitted ? "" : "not "}committed${exitCode === null ? "" : ` (exit ${exitCode})`}`,
      )
    if (exitCode === 0 && !wasCommitted) problems.push("exit 0 without a commit")
    if (plan.kind === "clock jump" && !plan.kill && exitCode !== 0)
      problems.push(`a clock jump ended it with ${exitCode}`)
    if (!isEnded(readJournal(machine))) problems.push("the run is still open in the journal")

    const known: ReadonlyArray<Agent> = [...template.before, ...template.after, ...written]
    problems.push(...(await checks.checkWrites(machine, known, plan.command === "rollback")))
    problems.push(...(await checks.checkWrites(machine, template.before, false)))
    const statuses = new Map<string, Status>([
      ...known.map(({ id }) => [id, "active"] as const),
      ...template.statuses,
      ...[...changes.acknowledged].map(([id, { status }]) => [id, status] as const),
    ])
    for (const id of changes.unknown) statuses.delete(id)
    const wentBack = plan.command === "rollback" && wasCommitted
    const again = wentBack ? template.suspendedThen : new Set<string>()
    problems.push(...(await checks.checkStatuses(machine, statuses, plan.command === "rollback", again)))
    if (wentBack && exitCode === 0) {
      const suspended = others.filter(({ id }) => {
        const change = changes.acknowledged.get(id)
        const isOlder = change === undefined || change.at < begun
        return isOlder && statuses.get(id) === "suspended" && !template.suspendedThen.has(id)
      })
      problems.push(...checks.checkNamed(said, suspended))
    }
    if (signer !== undefined) problems.push(...(await checks.checkServes(machine, signer)))
    problems.push(...(await checks.checkInstall(machine, stands.version, env)))
    if (plan.restart && supervisor === undefined) {
      await machine.mustWaiaas(["stop"], { env })
      await machine.mustWaiaas(["start", "--background"], { env })
      const again = await checks.standing(machine)
      if (again.version !== stands.version || again.schema !== stands.schema)
        problems.push(`after a restart ${again.version} serves schema ${again.schema}`)
    }
    problems.push(...checks.checkDebris(machine))
  } catch (error) {
    problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
  } finally {
    for (const each of undo) {
      try {
        await each()
      } catch (error) {
        problems.push(`clean up: ${String(error)}`)
      }
    }
  }
  const ms = performance.now() - started
  await tell([...problems, `${outcome} in ${Math.round(ms)} ms`].join("\n")).catch(() => undefined)
  return {
    plan,
    problems,
    outcome,
    kills,
    exitCode,
    versionRuns,
    acknowledged,
    statuses: changed,
    ms,
    directory: machine.directory,
  }
}

/** How long a command and its phases take here when nothing disturbs it. */
export const measure = async (command: Command, world: Omit<World, "lengths">): Promise<Length> => {
  const env = await portOf()
  const machine = await cloneOf(world.templates[command], await freshDirectory("waiaas-chaos-"))
  try {
    await machine.mustWaiaas(["start", "--background"], { env })
    const before = readJournal(machine).run
    const live = machine.spawnWaiaas(argsOf[command], { env })
    const begun = performance.now()
    const seen: Array<readonly [phase: string, at: number]> = []
    let done = false
    const exit = live.exit.finally(() => {
      done = true
    })
    while (!done) {
      const view = readJournal(machine)
      if (view.run > before)
        for (const line of view.lines)
          if (line._tag === "PhaseBegun" && line.phase && !seen.some(([phase]) => phase === line.phase))
            seen.push([line.phase, performance.now()])
      await sleep(2)
    }
    const { code } = await exit
    if (code !== 0)
      throw new Error(`the undisturbed ${command} ended with ${code}:\n${live.stderr()}${live.stdout()}`)
    const end = performance.now()
    const phases = Object.fromEntries(
      seen.map(([phase, at], index) => [phase, (seen[index + 1]?.[1] ?? end) - at]),
    )
    return { total: end - begun, phases }
  } finally {
    await machine.destroy()
  }
}

/** The end of a daemon's log, for a trial that failed. */
export const logsOf = async (directory: string): Promise<string> => {
  const parts: Array<string> = []
  for (const name of [
    "trial.log",
    "service.log",
    "home/.waiaas/logs/daemon.log",
    "home/.waiaas/logs/daemon.out.log",
  ]) {
    const text = await readFile(join(directory, name), "utf8").catch(() => "")
    if (text !== "") parts.push(`--- ${name}\n${text.split("\n").slice(-25).join("\n")}`)
  }
  return parts.join("\n")
}
