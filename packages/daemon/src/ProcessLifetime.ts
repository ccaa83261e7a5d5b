import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"

/**
 * The lifetime of the daemon's process, which is longer than the daemon's own scope. What is acquired in it
 * is held until the process has ended: the port, so that nobody else can answer there while this process,
 * its lock and its facts still look like a daemon.
 */
export class ProcessLifetime extends Context.Tag("@waiaas/daemon/ProcessLifetime")<
  ProcessLifetime,
  { readonly scope: Scope.Scope }
>() {
  /** Of the real process: nothing closes it, the end of the process does. */
  static readonly layer = Layer.effect(
    this,
    Effect.map(Scope.make(), (scope) => ({ scope })),
  )

  /** Ends with the layer: several daemons in one process, one after the other on one port. */
  static readonly layerScoped = Layer.scoped(
    this,
    Effect.map(Effect.scope, (scope) => ({ scope })),
  )
}
