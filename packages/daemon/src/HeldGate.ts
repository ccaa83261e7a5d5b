import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

export type HeldState = "held" | "open"

/**
 * Whether this daemon may act. Held: an upgrade is not committed yet, `/health` answers and nothing
 * else does, no worker runs. It opens once and never closes again.
 */
export class HeldGate extends Context.Tag("@waiaas/daemon/HeldGate")<
  HeldGate,
  {
    readonly state: Effect.Effect<HeldState>
    /** The state as a plain read: `/health` is answered without a fiber. */
    readonly unsafeState: () => HeldState
    readonly open: Effect.Effect<void>
    /** Ends when the gate is open. */
    readonly awaitOpen: Effect.Effect<void>
  }
>() {
  static readonly layer = (initial: HeldState): Layer.Layer<HeldGate> =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const opened = yield* Deferred.make<void>()
        let state = initial
        const open = Effect.suspend(() => {
          state = "open"
          return Effect.asVoid(Deferred.succeed(opened, undefined))
        })
        if (initial === "open") yield* open
        return {
          state: Effect.sync(() => state),
          unsafeState: () => state,
          open,
          awaitOpen: Deferred.await(opened),
        }
      }),
    )
}
