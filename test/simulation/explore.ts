/**
 * Every crash of a run, then every crash of every recovery, until no state is new. A state is the disk
 * (with what a power cut would leave of it), the daemons that live on and the acknowledged rows; each
 * is recovered once, so that everything is counted and nothing sampled.
 */
import { crashed, crashesOf, diskKey } from "@waiaas/services/testing/SimulatedCrash"
import type { Operation, SimulatedProcess, World, WorldState } from "@waiaas/services/testing/SimulatedWorld"
import * as Exit from "effect/Exit"
import { type Actor, describeExit, simulate, switchedOn } from "./simulate.ts"
import { expectCommand, type Outcome, Violation, verify } from "./verify.ts"

/** A state, and how it comes about: replayed by following its steps. */
export interface Found {
  readonly state: WorldState
  /** Such as `upgrade@212:lose-all/recover@31:kill`. */
  readonly path: string
  /** Recoveries that were crashed on the way. */
  readonly depth: number
  /** Whether its recovery is carried out, but not crashed: for states that are like others but for one thing. */
  readonly isShallow?: boolean
}

export interface Counts {
  /** Operations after which a crash was looked at. */
  points: number
  /** Crashes: a point and what was lost. */
  crashes: number
  states: number
  recoveries: number
  deepest: number
  readonly outcomes: Record<string, number>
}

export const keyOf = ({ disk, survivors, acknowledged, boot }: WorldState): string =>
  `${diskKey(disk)}|${survivors.map((one) => `${boot}${one.pid}${one.version}${one.serving}${one.run}`).join()}|${acknowledged.slice(2).join()}`

/**
 * What is typed after a crash. Where nothing runs, both commands are tried after the run's own crash; a
 * recovery that was itself cut off is carried on by a start, as a supervisor's after a power cut.
 */
const actorsOf = ({ state, depth }: Found): ReadonlyArray<Actor> =>
  state.survivors.length > 0
    ? state.survivors.some(({ serving }) => serving === "held")
      ? ["recover", "later"]
      : ["recover"]
    : depth === 1
      ? ["start", "recover"]
      : ["start"]

/** So many crashes in a row are followed: what is left then is recovered, and not crashed again. */
const CRASHES = { usual: 2, deep: 4 }

/** So many operations of a recovery, or of a kind of fault, lie between two that are tried; `--deep` takes every one. */
export const STRIDE = 6

export class Explorer {
  readonly counts: Counts = { points: 0, crashes: 0, states: 0, recoveries: 0, deepest: 0, outcomes: {} }
  readonly violations: Array<string> = []
  private readonly sorts = new Map<string, number>()
  private readonly seen = new Set<string>()
  private readonly seenKills = new Set<string>()
  private readonly queue: Array<Found> = []
  readonly kind: "upgrade" | "rollback"
  /** Looks at what a second killed process leaves unsynced, and tries every name of an error: several times as long. */
  readonly isDeep: boolean

  constructor(kind: "upgrade" | "rollback", isDeep: boolean) {
    this.kind = kind
    this.isDeep = isDeep
  }

  /** A state that a crash leaves; looked at once. */
  add(found: Found): void {
    this.counts.crashes += 1
    const key = keyOf(found.state)
    if (this.seen.has(key)) return
    this.seen.add(key)
    this.counts.states += 1
    this.counts.deepest = Math.max(this.counts.deepest, found.depth)
    try {
      expectCommand(found.state)
      this.queue.push(found)
    } catch (cause) {
      this.report(found.path, cause)
    }
  }

  report(path: string, cause: unknown): void {
    const what =
      cause instanceof Violation ? cause.message : cause instanceof Error ? `${cause.stack}` : String(cause)
    const sort = what.replace(/\d+/g, "")
    const known = this.sorts.get(sort) ?? 0
    this.sorts.set(sort, known + 1)
    // One bug shows in many paths: the shortest few are enough to see it.
    if (known < 3) this.violations.push(`${path}: ${what}`)
  }

  /** Runs an actor from a state, and notes every crash of it. */
  crashEverywhere(
    from: Found,
    actor: Actor,
    path: string,
    { stride = 1 }: { readonly stride?: number } = {},
  ): ReturnType<typeof simulate> {
    const kills: Array<number> = []
    let changes = 0
    const ended = simulate(from.state, actor, {
      changed: (operation, world, main) => {
        changes += 1
        if (changes % stride !== 0) return
        this.counts.points += 1
        this.crashAt(operation, world, main, path, from, kills)
      },
    })
    for (const number of kills) this.killAt(from, actor, path, number)
    return ended
  }

  private crashAt(
    { number }: Operation,
    world: World,
    main: SimulatedProcess | null,
    path: string,
    { depth, isShallow = false }: Found,
    kills: Array<number>,
  ): void {
    const at = `${path}@${number}`
    for (const [loss, disk] of crashesOf(world.disk.state, this.isDeep ? (depth === 0 ? 5 : 0) : 0))
      this.add({ state: switchedOn(disk, world), path: `${at}:${loss}`, depth: depth + 1, isShallow })
    // What a killed process left unsynced can be lost later. A recovery makes it durable before it
    // concludes anything from it, which is looked at for the run itself.
    const unsynced = depth === 0 || this.isDeep
    if (unsynced && world.disk.pending.length > 0)
      this.add({
        state: switchedOn(world.disk.state, world),
        path: `${at}:kill-all`,
        depth: depth + 1,
        isShallow: isShallow || depth > 0,
      })
    if (main?.role !== "command" || !main.alive || world.daemons().length === 0) return
    const state = world.stateWithout(
      main,
      unsynced ? world.disk.state : { root: world.disk.root, pending: [] },
    )
    if (state !== null) this.add({ state, path: `${at}:kill`, depth: depth + 1, isShallow })
    else {
      // A daemon that is just starting or stopping is no data: the run is done again up to here.
      const key = `${diskKey(world.disk.state)}|${world
        .daemons()
        .map((daemon) => `${daemon.version} ${daemon.operations}`)
        .join()}|${world.acknowledged.join()}`
      if (this.seenKills.has(key)) return
      this.seenKills.add(key)
      kills.push(number)
    }
  }

  private killAt(from: Found, actor: Actor, path: string, number: number): void {
    const at = `${path}@${number}:kill-live`
    this.counts.recoveries += 1
    try {
      const { world } = simulate(from.state, actor, { killAfter: number })
      const state = world.stateWithout(null)
      if (state === null) throw new Violation("a daemon is still in transit")
      this.add({ ...from, state, path: at, depth: from.depth + 1 })
    } catch (cause) {
      this.report(at, cause)
    }
  }

  /** Recovers, and loses at the end what a failed sync left before. */
  private recoverOnce(from: Found, actor: Actor, path: string): ReturnType<typeof simulate> {
    let last = 0
    const ended = simulate(from.state, actor, {
      changed: ({ number }) => {
        last = number
      },
    })
    const { world } = ended
    if (world.disk.pending.length > 0)
      this.add({
        ...from,
        state: switchedOn(crashed(world.disk.state, "lose-failed"), world),
        path: `${path}@${last}:lose-failed`,
        depth: from.depth + 1,
      })
    return ended
  }

  /** Recovers every state that is known, and every state that this brings about. */
  exhaust(): void {
    for (let found = this.queue.shift(); found !== undefined; found = this.queue.shift()) {
      const actors: ReadonlyArray<Actor> = actorsOf(found)
      for (const actor of actors) {
        const path = `${found.path}/${actor}`
        this.counts.recoveries += 1
        try {
          const { world, exit } =
            found.isShallow === true || found.depth >= (this.isDeep ? CRASHES.deep : CRASHES.usual)
              ? this.recoverOnce(found, actor, path)
              : this.crashEverywhere(found, actor, path, { stride: this.isDeep ? 1 : STRIDE })
          if (exit !== null && Exit.isFailure(exit))
            throw new Violation(`the recovery failed: ${describeExit(exit)}`)
          this.end(verify(world, this.kind), "recovered")
        } catch (cause) {
          this.report(path, cause)
        }
        if (this.violations.length >= 30) return
      }
    }
  }

  end(outcome: Outcome, how: string): void {
    const key = `${how}: ${outcome}`
    this.counts.outcomes[key] = (this.counts.outcomes[key] ?? 0) + 1
  }
}
