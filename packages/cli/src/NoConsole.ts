import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const silent = () => Effect.void

/** The library prints what it refuses; here the failure says it, once, with what to type. */
export const layerNoConsole = Layer.unwrapEffect(
  Effect.map(Effect.console, (console) => Console.setConsole({ ...console, log: silent, error: silent })),
)
