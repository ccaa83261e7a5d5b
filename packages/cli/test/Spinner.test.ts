import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { makeSpinner } from "../src/Spinner.ts"

const told = (moving: boolean) =>
  Effect.gen(function* () {
    let text = ""
    yield* Effect.scoped(
      Effect.gen(function* () {
        const spinner = yield* makeSpinner(
          moving,
          (part) => {
            text += part
          },
          () => 80,
        )
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
    assert.equal(
      shown,
      yield* told(false).pipe(Effect.map((plain) => plain.replace("      asking npm\n", ""))),
    )
  }),
)

it.live("what moves is never wider than the terminal, and so leaves nothing behind", () =>
  Effect.gen(function* () {
    for (const width of [80, 60, 20, 5]) {
      let text = ""
      yield* Effect.scoped(
        Effect.gen(function* () {
          const spinner = yield* makeSpinner(
            true,
            (part) => {
              text += part
            },
            () => width,
          )
          spinner.start(`[1/7] ${"Check ".repeat(20)}`)
          spinner.detail(`      ${"copying a database ".repeat(20)}`)
          yield* Effect.sleep("200 millis")
          spinner.print("      recovery: restore the old data")
          yield* Effect.sleep("200 millis")
        }),
      )
      const moving = text.split("\r\u001b[2K").filter((part) => !part.includes("\n") && part !== "")
      assert.ok(moving.length > 1)
      for (const part of moving) assert.ok(part.length <= Math.max(width, 9), `${width}: ${part}`)
      // The step's heading comes before what is said of the step.
      assert.ok(text.indexOf("Check \n") < text.indexOf("recovery:"), text)
    }
  }),
)
