/**
 * A machine for simulations: one disk, processes as fibers, locks, a clock that jumps to the next
 * timer. Everything runs synchronously and the same way each time; every operation has a number.
 */
import { Interrupted } from "@waiaas/domain/RunErrors"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Scheduler from "effect/Scheduler"
import { Disk } from "./SimulatedDisk.ts"
import type { DiskState } from "./SimulatedDiskState.ts"

const runFork = Runtime.runFork(
  Runtime.disableRuntimeFlag(Runtime.defaultRuntime, RuntimeFlags.RuntimeMetrics),
)

/** What an operation is, as far as faults depend on it. */
export type OperationKind = "read" | "write" | "rename" | "tool" | "npm" | "spawn" | "http" | "space" | "lock"

export interface Operation {
  /** Counted from 0 in a world. */
  readonly number: number
  readonly kind: OperationKind
  /** Such as `rename /d/data/waiaas.db`. */
  readonly what: string
  readonly process: SimulatedProcess
}

/** Ends with the world's word for an injected fault: an errno, or what the kind of operation knows. */
export type Fault = string

export type Serving = "held" | "ok"

/** A process that lives: its fiber is abandoned when it dies, its locks are free at once. */
export class SimulatedProcess {
  alive = true
  /** How many it has done. */
  operations = 0
  /** The package that its code was loaded from. */
  version: string
  packageDir: string
  /** Set while it answers on its port. */
  serving: Serving | null = null
  schema = 0
  /** The run that it was held for. */
  run: number | null = null
  /** A daemon between its start and its first answer, or between a stop and its end. */
  inTransit = false
  onStop: (() => void) | null = null
  /** The fiber of its program, while there is one. */
  fiber: Fiber.RuntimeFiber<unknown, unknown> | null = null
  /** Fails once the operator has typed Ctrl-C. */
  readonly requested = Deferred.unsafeMake<never, Interrupted>(FiberId.none)
  readonly world: World
  readonly pid: number
  readonly role: "command" | "daemon"
  constructor(
    world: World,
    pid: number,
    role: "command" | "daemon",
    code: { readonly version: string; readonly packageDir: string },
  ) {
    this.world = world
    this.pid = pid
    this.role = role
    this.version = code.version
    this.packageDir = code.packageDir
  }
  /** Ctrl-C, as a command gets it: a request to its run, and an interruption of its main fiber. */
  interrupt(): void {
    Deferred.unsafeDone(this.requested, new Interrupted({}))
    this.fiber?.unsafeInterruptAsFork(FiberId.none)
  }
  /** With the pid it names one process for good. */
  get start(): string {
    return `${this.world.boot}-${this.pid}`
  }
  get instance(): string {
    return `${this.world.boot}${this.pid}`.padStart(32, "0")
  }
}

interface Timer {
  readonly at: number
  readonly order: number
  readonly fire: () => void
  active: boolean
}

/** Virtual milliseconds after which a world that still goes on is stuck. */
const TOO_LONG = 3 * 3600 * 1000

export class SimulationStuck extends Error {}

/** A daemon that a crash of others leaves running, as data. */
export interface Survivor {
  readonly pid: number
  readonly version: string
  readonly packageDir: string
  readonly serving: Serving
  readonly schema: number
  /** The run that it was or is held for. */
  readonly run: number | null
}

/** All of a machine at one instant, as data: what a run can be forked from. */
export interface WorldState {
  readonly disk: DiskState
  readonly survivors: ReadonlyArray<Survivor>
  /** Rows that were acknowledged, in order; kept by the client, outside of the machine. */
  readonly acknowledged: ReadonlyArray<string>
  /** Names the machine's time since it was switched on; "0" for the first. */
  readonly boot: string
  /** Whether a supervisor starts the daemon again whenever it has ended. */
  readonly supervised?: boolean
}

export class World {
  readonly disk: Disk
  readonly boot: string
  readonly supervised: boolean
  /** Called when a daemon has ended. */
  daemonEnded: (() => void) | null = null
  readonly processes: Array<SimulatedProcess> = []
  /** Lock file to its owner. */
  readonly locks = new Map<string, SimulatedProcess>()
  acknowledged: ReadonlyArray<string>
  /** Operations so far. */
  count = 0
  time = 0
  /** Decides about an operation before it is done: a fault, or null. */
  judge: ((operation: Operation) => Fault | null) | null = null
  /** Called after an operation that changed something. */
  changed: ((operation: Operation) => void) | null = null
  /** Set to end the run of this world at once. */
  stopped = false
  readonly notes: Array<string> = []

  private tasks: Array<Scheduler.Task> = []
  private timers: Array<Timer> = []
  private order = 0
  private pids: number
  private readonly reserved: number | null

  /** `reserved`: a pid that must not be given again, since somebody may still believe in it. */
  constructor(state: WorldState, reserved: number | null = null) {
    this.reserved = reserved
    this.disk = new Disk(state.disk)
    this.acknowledged = state.acknowledged
    this.boot = state.boot
    this.supervised = state.supervised === true
    this.pids = 100
  }

  newPid(): number {
    this.pids += 1
    while (this.pids === this.reserved || this.processes.some(({ pid }) => pid === this.pids)) this.pids += 1
    return this.pids
  }

  kill(process: SimulatedProcess): void {
    if (process.alive && process.role === "daemon") this.daemonEnded?.()
    process.alive = false
    process.serving = null
    process.inTransit = false
    for (const [path, owner] of this.locks) if (owner === process) this.locks.delete(path)
  }

  /**
   * One operation: a crash point before and after it. `act` is done unless a fault is injected, and
   * says whether it changed anything. A process that is dead does nothing any more.
   */
  perform<A>(
    process: SimulatedProcess,
    kind: OperationKind,
    what: string,
    act: (fault: Fault | null) => A,
  ): A {
    if (!process.alive || this.stopped) throw new ProcessDead()
    const operation: Operation = { number: this.count, kind, what, process }
    this.count += 1
    process.operations += 1
    const fault = this.judge?.(operation) ?? null
    if (!process.alive || this.stopped) throw new ProcessDead()
    const before = this.disk.root
    const pending = this.disk.pending
    try {
      return act(fault)
    } finally {
      if (before !== this.disk.root || pending !== this.disk.pending || kind === "lock" || kind === "spawn")
        this.changed?.(operation)
      if (this.stopped) process.alive = false
    }
  }

  readonly scheduler: Scheduler.Scheduler = {
    shouldYield: () => false,
    scheduleTask: (task) => {
      this.tasks.push(task)
    },
  }

  after(milliseconds: number, fire: () => void): Timer {
    this.order += 1
    const timer: Timer = { at: this.time + milliseconds, order: this.order, fire, active: true }
    this.timers.push(timer)
    return timer
  }

  readonly clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => this.time,
    currentTimeMillis: Effect.sync(() => this.time),
    unsafeCurrentTimeNanos: () => BigInt(Math.round(this.time * 1e6)),
    currentTimeNanos: Effect.sync(() => BigInt(Math.round(this.time * 1e6))),
    sleep: (duration) =>
      Effect.async<void>((resume) => {
        const timer = this.after(Duration.toMillis(duration), () => resume(Effect.void))
        return Effect.sync(() => {
          timer.active = false
        })
      }),
  }

  /** Starts a program as a process's fiber. */
  launch<A, E>(
    program: Effect.Effect<A, E>,
    ended: (exit: Exit.Exit<A, E>) => void,
  ): Fiber.RuntimeFiber<A, E> {
    const fiber = runFork(program.pipe(Effect.withClock(this.clock), Effect.withTracerEnabled(false)), {
      scheduler: this.scheduler,
    })
    fiber.addObserver(ended)
    return fiber
  }

  /** Lets everything happen until `until` holds, nothing is left to happen, or the world is stopped. */
  run(until: () => boolean): void {
    while (!this.stopped) {
      for (let task = this.tasks.shift(); task !== undefined; task = this.tasks.shift()) {
        task()
        if (this.stopped) return
      }
      if (until()) return
      let next: Timer | undefined
      for (const timer of this.timers)
        if (
          timer.active &&
          (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order))
        )
          next = timer
      this.timers = this.timers.filter((timer) => timer.active && timer !== next)
      if (next === undefined) throw new SimulationStuck("nothing is left to happen")
      this.time = next.at
      if (this.time > TOO_LONG) throw new SimulationStuck(`still going on after ${this.time / 1000} s`)
      next.fire()
    }
  }

  daemons(): ReadonlyArray<SimulatedProcess> {
    return this.processes.filter((process) => process.alive && process.role === "daemon")
  }

  /** This instant without the process `dying`; null while another one is in transit, which no data describes. */
  stateWithout(dying: SimulatedProcess | null, disk: DiskState = this.disk.state): WorldState | null {
    const others = this.processes.filter((process) => process.alive && process !== dying)
    if (others.some((process) => process.inTransit || process.role === "command")) return null
    return {
      disk,
      acknowledged: this.acknowledged,
      boot: this.boot,
      supervised: this.supervised,
      survivors: others.flatMap(({ pid, version, packageDir, serving, schema, run }) =>
        serving === null ? [] : [{ pid, version, packageDir, serving, schema, run }],
      ),
    }
  }
}

/** Thrown into the code of a process that was killed: its fiber goes no further. */
export class ProcessDead extends Error {}
