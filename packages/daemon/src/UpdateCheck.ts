import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** A check that brought no answer; `message` is for an operator. */
export class UpdateCheckFailed extends Schema.TaggedError<UpdateCheckFailed>()("UpdateCheckFailed", {
  problem: Schema.String,
}) {
  override get message() {
    return this.problem
  }
}

/** Asks the registry for the newest version and stores the answer. `serve` provides it from `VersionCheck`. */
export class UpdateCheck extends Context.Tag("@waiaas/daemon/UpdateCheck")<
  UpdateCheck,
  { readonly check: Effect.Effect<void, UpdateCheckFailed> }
>() {}
