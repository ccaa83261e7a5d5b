/** The update notice as a command shows it, on Layers. */
import * as Effect from "effect/Effect"
import { Output } from "../../packages/cli/src/Output.ts"
import { showUpdateNotice } from "../../packages/cli/src/UpdateNotice.ts"

/** What the end of a command writes on stderr. */
export const noticeText = (mode: "human" | "json" | "quiet" = "human") =>
  Effect.gen(function* () {
    let text = ""
    const write = process.stderr.write
    yield* Effect.acquireUseRelease(
      Effect.sync(() => {
        process.stderr.write = (chunk: unknown) => {
          text += String(chunk)
          return true
        }
      }),
      () => showUpdateNotice.pipe(Effect.provide(Output.layerOf(mode)), Effect.scoped),
      () =>
        Effect.sync(() => {
          process.stderr.write = write
        }),
    )
    return text
  })
