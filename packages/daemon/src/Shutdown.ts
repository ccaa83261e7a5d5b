import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** The request to stop, through the API: `serve` waits for it, and closes the daemon's scope. A signal interrupts `serve` instead. */
export class Shutdown extends Context.Tag("@waiaas/daemon/Shutdown")<
  Shutdown,
  {
    /** Asks for a graceful stop; `why` is for the log. Only the first one counts. */
    readonly request: (why: string) => Effect.Effect<void>
    /** Ends, with the reason, when somebody has asked. */
    readonly requested: Effect.Effect<string>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Deferred.make<string>(), (asked) => ({
      request: (why) => Effect.asVoid(Deferred.succeed(asked, why)),
      requested: Deferred.await(asked),
    })),
  )
}
