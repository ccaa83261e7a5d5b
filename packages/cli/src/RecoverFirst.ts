import { Environment } from "@waiaas/services/platform/Environment"
import { Recover } from "@waiaas/services/Recover"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { runAgain } from "./DaemonFile.ts"
import { Output } from "./Output.ts"

/**
 * Recovers a run that was cut off before anything else is done. The old code can be the one that finishes a
 * commit; what comes after that is for the code that is in place then, which goes on in this process's place.
 */
export const recoverFirst = Effect.gen(function* () {
  const { version } = yield* Environment
  const recovered = yield* (yield* Recover).onSight({ startDaemon: true })
  if (Option.isNone(recovered)) return
  const { started, ended } = recovered.value
  yield* (yield* Output).note(`run ${started.run} was cut off; it was recovered first`)
  if ((ended?.outcome === "new" ? started.to : started.from) !== version) yield* runAgain
})
