import { strict as assert } from "node:assert"
import { PassThrough } from "node:stream"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { confirm } from "../src/Ask.ts"

const make = () => {
  const input = new PassThrough()
  const output = new PassThrough()
  const said = () => String(output.read() ?? "")
  return { input, said, ask: Effect.uninterruptible(confirm("Go back?", { input, output })) }
}

it.live("a yes is a yes, anything else a no; the question is plain text", () =>
  Effect.gen(function* () {
    for (const [answer, agreed] of [
      ["y\n", true],
      ["YES\n", true],
      ["\n", false],
      ["no\n", false],
      ["yesterday\n", false],
    ] as const) {
      const { input, said, ask } = make()
      input.write(answer)
      assert.equal(yield* ask, agreed, answer)
      assert.equal(said(), "Go back? [y/N] ")
    }
  }),
)

it.live("the end of the input interrupts", () =>
  Effect.gen(function* () {
    const { input, ask } = make()
    input.end()
    assert.ok(Exit.isInterrupted(yield* Effect.exit(ask)))
  }),
)

it.live("a signal ends the question, though the rest of a run cannot be interrupted", () =>
  Effect.gen(function* () {
    const asking = yield* Effect.fork(make().ask)
    yield* Effect.sleep("20 millis")
    assert.ok(Exit.isInterrupted(yield* Fiber.interrupt(asking)))
  }),
)
