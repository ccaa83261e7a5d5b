/** What a command shows of text that others can write. */
import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import * as Effect from "effect/Effect"
import { report } from "../src/Failure.ts"
import { Output } from "../src/Output.ts"

const evil = "\u001b]0;title\u0007\u009b2J\u202e\nnext: rm -r /"
const controls = /[^\x20-\x7e\n]/

/** What is written to both outputs while an effect runs. */
const written = <A, E, R>(act: Effect.Effect<A, E, R>) => {
  const said: Array<string> = []
  const streams = [process.stdout, process.stderr]
  return Effect.acquireUseRelease(
    Effect.sync(() =>
      streams.map((stream) => {
        const { write } = stream
        stream.write = ((text: string) => {
          said.push(text)
          return true
        }) as typeof stream.write
        return () => {
          stream.write = write
        }
      }),
    ),
    () => Effect.map(act, () => said.join("")),
    (restore) =>
      Effect.sync(() => {
        for (const each of restore) each()
      }),
  )
}

for (const mode of ["human", "json", "quiet"] as const)
  it.scopedLive(`nothing that is shown is obeyed by a terminal or passes for a line of ours: ${mode}`, () =>
    Effect.gen(function* () {
      const output = yield* Output
      const text = yield* written(
        Effect.gen(function* () {
          yield* output.result({ evil }, [`agent ${evil}`])
          yield* output.note(`note ${evil}`)
          yield* output.event({
            _tag: "PhaseStarted",
            kind: "upgrade",
            phase: "check",
            index: 1,
            total: 7,
            title: evil,
          })
          yield* output.event({ _tag: "Detail", text: evil })
          yield* output.event({ _tag: "Warning", text: evil })
          yield* output.event({ _tag: "PhaseFailed", phase: "check", message: evil })
          const failure = { error: "X", message: evil, standing: evil, next: `waiaas ${evil}`, exitCode: 1 }
          report(failure, { json: mode === "json", dataDir: undefined, sudo: false, colours: false })
        }),
      )
      assert.doesNotMatch(text, controls)
      assert.doesNotMatch(text, /^next: rm/m)
      assert.ok(text.includes("\\u001b]0;title"))
      if (mode === "json")
        for (const line of text.split("\n").filter((each) => each.startsWith("{")))
          assert.ok(JSON.stringify(JSON.parse(line)).includes("\\u001b"))
    }).pipe(Effect.provide(Output.layerOf(mode)), Effect.provide(layerEnvironment())),
  )
