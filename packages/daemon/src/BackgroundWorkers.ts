import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { HeldGate } from "./HeldGate.ts"

/** How far an interval strays, up and down, so that a fleet does not ask one registry at one moment. */
const JITTER = 0.1
/** How long a stop waits for what a worker cannot be interrupted in. */
export const STOP_LIMIT = Duration.seconds(5)

export interface WorkerOptions {
  readonly runImmediately: boolean
}

/**
 * Work that comes back: one run at a time, a failed run is logged and stops neither its worker nor the
 * daemon. Nothing runs while the daemon is held. A stop interrupts runs, and waits at most 5 s for them.
 */
export class BackgroundWorkers extends Context.Tag("@waiaas/daemon/BackgroundWorkers")<
  BackgroundWorkers,
  {
    /** The interval counts from the end of a run to the begin of the next. */
    readonly register: <R>(
      name: string,
      interval: Duration.DurationInput,
      effect: Effect.Effect<unknown, unknown, R>,
      options: WorkerOptions,
    ) => Effect.Effect<void, never, R>
  }
>() {
  static readonly layer = Layer.scoped(
    this,
    Effect.gen(function* () {
      const gate = yield* HeldGate
      const fibers = new Map<string, Fiber.RuntimeFiber<never>>()

      yield* Effect.addFinalizer(() =>
        Fiber.interruptAll([...fibers.values()]).pipe(
          // A finalizer cannot be interrupted; this wait has to be, to be given up.
          Effect.interruptible,
          Effect.timeoutOption(STOP_LIMIT),
          Effect.tap((ended) =>
            Option.isNone(ended)
              ? Effect.logWarning(`Background workers did not stop within ${Duration.format(STOP_LIMIT)}.`)
              : Effect.void,
          ),
        ),
      )

      return {
        register: Effect.fn("BackgroundWorkers.register")(function* <R>(
          name: string,
          interval: Duration.DurationInput,
          effect: Effect.Effect<unknown, unknown, R>,
          options: WorkerOptions,
        ) {
          const pause = Effect.flatMap(Random.nextRange(1 - JITTER, 1 + JITTER), (factor) =>
            Effect.sleep(Duration.times(interval, factor)),
          )
          // A stop does not get here: an interrupted fiber runs no handler. What does is the run's own failure.
          const run = Effect.catchAllCause(effect, (cause) =>
            Effect.logError(`Background worker ${name} failed; it runs again after its interval`, cause),
          )
          const loop = Effect.gen(function* () {
            yield* gate.awaitOpen
            if (!options.runImmediately) yield* pause
            return yield* Effect.forever(Effect.zipRight(run, pause))
          }).pipe(Effect.annotateLogs("worker", name))
          // Not in this scope: its close would wait for a worker for ever. The finalizer above stops them all.
          fibers.set(name, yield* Effect.forkDaemon(Effect.interruptible(loop)))
        }),
      }
    }),
  )
}
