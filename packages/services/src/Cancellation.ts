import { Interrupted } from "@waiaas/domain/RunErrors"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * The operator's wish to stop a run. It is an ordinary failure of the phase that goes on, so it is
 * undone like any other; a second wish changes nothing.
 */
export class Cancellation extends Context.Tag("@waiaas/services/Cancellation")<
  Cancellation,
  {
    /** Runs an act, and ends it early with `Interrupted` once a stop is wished. */
    readonly cancellable: <A, E, R>(act: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Interrupted, R>
  }
>() {
  static readonly layerNever = Layer.succeed(this, { cancellable: (act) => act })

  /** SIGINT and SIGTERM are the wish. SIGHUP is not: an ssh session that ends must not end an upgrade. */
  static readonly layerSignals = Layer.scoped(
    this,
    Effect.gen(function* () {
      const wished = yield* Deferred.make<never, Interrupted>()
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          const wish = () => Deferred.unsafeDone(wished, new Interrupted({}))
          const stay = () => {}
          process.on("SIGINT", wish).on("SIGTERM", wish).on("SIGHUP", stay)
          // After a hang-up nobody reads: that is no reason to fail.
          process.stdout.on("error", stay)
          process.stderr.on("error", stay)
          return { wish, stay }
        }),
        ({ wish, stay }) =>
          Effect.sync(() => {
            process.off("SIGINT", wish).off("SIGTERM", wish).off("SIGHUP", stay)
          }),
      )
      return {
        // Both sides by name: a run is uninterruptible as a whole, and what cannot be interrupted is waited for.
        cancellable: (act) =>
          Effect.raceFirst(Effect.interruptible(act), Effect.interruptible(Deferred.await(wished))),
      }
    }),
  )
}
