import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { makeSpinner } from "../src/Spinner.ts"

const told = (moving: boolean) =>
  Effect.gen(function* () {
    let text = ""
    yield* Effect.scoped(
      Effect.gen(function* () {
        const spinner = yield* makeSpinner(moving, (part) => {
          text += part
        })
        spinner.start("[1/7] Check")
        spinner.detail("      asking npm")
        yield* Effect.sleep("300 millis")
        spinner.print("warning: look")
        yield* Effect.sleep("150 millis")
        spinner.stop()
        spinner.print("      done")
        spinner.start("[2/7] Stop")
      }),
    )
    return text
  })

it.live("elsewhere than on a terminal every line is printed once, and nothing moves", () =>
  Effect.gen(function* () {
    assert.equal(yield* told(false), "[1/7] Check\n      asking npm\nwarning: look\n      done\n[2/7] Stop\n")
  }),
)

it.live("on a terminal one line moves, and what remains of it reads the same", () =>
  Effect.gen(function* () {
    const text = yield* told(true)
    assert.match(text, /[|/\\-] \[1\/7\] Check \(asking npm\) 0 s/)
    // What a terminal shows in the end: a line that was wiped is gone.
    const shown = text
      .split("\n")
      .map((line) => line.split("\r\u001b[2K").at(-1))
      .join("\n")
    assert.equal(shown, "warning: look\n[1/7] Check\n      done\n[2/7] Stop\n")
  }),
)
