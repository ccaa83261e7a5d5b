import { Interrupted } from "@waiaas/domain/RunErrors"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"

let sheltered = 0

/**
 * Runs an act to its end in a fiber of its own, which the interruption of the caller does not reach. To be
 * uninterruptible is not enough: an interruption that waits takes effect in the next part of the act that can be
 * interrupted for the sake of its own time limit. The caller's interruption takes effect after the act.
 */
export const toItsEnd = <A, E, R>(act: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptible(
    Effect.suspend(() => {
      sheltered += 1
      return Effect.flatMap(Effect.forkDaemon(Effect.interruptible(act)), Fiber.join)
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          sheltered -= 1
        }),
      ),
    ),
  )

/** Ends an act early once `requested` fails. */
export const cancellableBy =
  (requested: Deferred.Deferred<never, Interrupted>) =>
  <A, E, R>(act: Effect.Effect<A, E, R>): Effect.Effect<A, E | Interrupted, R> =>
    // Both sides by name: a run is uninterruptible as a whole, and what cannot be interrupted is waited for.
    Effect.raceFirst(Effect.interruptible(act), Effect.interruptible(Deferred.await(requested)))

/** A request to cancel: the operator's Ctrl-C, or a service manager's stop. */
const requests = ["SIGINT", "SIGTERM", "SIGQUIT"] as const
/** What would end a process that does not listen. Not the ones that a fault in the program itself raises. */
const harmless = [
  "SIGUSR2",
  "SIGALRM",
  "SIGVTALRM",
  "SIGXCPU",
  "SIGXFSZ",
  "SIGIO",
  "SIGPWR",
  "SIGTRAP",
  "SIGSYS",
] as const

/**
 * The operator's request to cancel a run. It is an ordinary failure of the phase that goes on, so it is
 * undone like any other; a second request changes nothing, and after the commit there is no phase that listens.
 */
export class Cancellation extends Context.Tag("@waiaas/services/Cancellation")<
  Cancellation,
  {
    /** Runs an act, and ends it early with `Interrupted` once a cancellation is requested. */
    readonly cancellable: <A, E, R>(act: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Interrupted, R>
  }
>() {
  static readonly layerNever = Layer.succeed(this, { cancellable: (act) => act })

  /**
   * SIGINT, SIGTERM and SIGQUIT are the request. SIGHUP is not: an ssh session that ends must not end an upgrade.
   * During a run or a recovery no other signal ends the process either.
   */
  static readonly layerSignals = Layer.scoped(
    this,
    Effect.gen(function* () {
      const requested = yield* Deferred.make<never, Interrupted>()
      const listeners = new Map<NodeJS.Signals, () => void>([["SIGHUP", () => {}]])
      const end = (name: NodeJS.Signals) => {
        const listener = listeners.get(name)
        if (listener !== undefined) process.off(name, listener)
        process.kill(process.pid, name)
      }
      for (const name of harmless)
        listeners.set(name, () => {
          if (sheltered === 0) end(name)
        })
      for (const name of requests)
        listeners.set(name, () => {
          Deferred.unsafeDone(requested, new Interrupted({}))
          // Of SIGINT and SIGTERM the runtime makes the interruption of what is no run.
          if (sheltered === 0 && name === "SIGQUIT") end(name)
        })
      // After a hang-up nobody reads: that is no reason to fail.
      const stay = () => {}
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          for (const [name, listener] of listeners) process.on(name, listener)
          process.stdout.on("error", stay)
          process.stderr.on("error", stay)
        }),
        () =>
          Effect.sync(() => {
            for (const [name, listener] of listeners) process.off(name, listener)
          }),
      )
      return { cancellable: cancellableBy(requested) }
    }),
  )
}
