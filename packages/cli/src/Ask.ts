import { createInterface } from "node:readline"
import { printable } from "@waiaas/domain/Printable"
import * as Effect from "effect/Effect"

/**
 * Asks for a yes in a plain line; anything else is a no. The terminal is left as it is, so Ctrl-C is a
 * signal as everywhere; it and the end of the input interrupt.
 */
export const confirm = (
  question: string,
  { input, output }: { readonly input: NodeJS.ReadableStream; readonly output: NodeJS.WritableStream },
): Effect.Effect<boolean> =>
  Effect.async<boolean>((resume) => {
    const lines = createInterface({ input, terminal: false })
    const end = () => {
      output.write("\n")
      resume(Effect.interrupt)
    }
    lines.once("line", (answer) => {
      lines.off("close", end)
      resume(Effect.succeed(/^y(es)?$/i.test(answer.trim())))
      lines.close()
    })
    lines.once("close", end)
    output.write(`${printable(question)} [y/N] `)
    return Effect.sync(() => lines.close())
  }).pipe(Effect.interruptible)
