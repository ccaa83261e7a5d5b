import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { escapes } from "./Escapes.ts"

const plain = (value: unknown): unknown => (typeof value === "string" ? value.replace(escapes, "") : value)

/** The library colours its help wherever it goes; here it does not where nobody sees colours. */
export const layerPlainConsole = (options: { readonly stdout: boolean; readonly stderr: boolean }) =>
  Layer.unwrapEffect(
    Effect.map(Effect.console, (console) =>
      Console.setConsole({
        ...console,
        log: (...args) => console.log(...(options.stdout ? args.map(plain) : args)),
        error: (...args) => console.error(...(options.stderr ? args.map(plain) : args)),
      }),
    ),
  )
