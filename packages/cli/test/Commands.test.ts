import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { runCommand } from "../src/Commands.ts"
import { WrongUsage } from "../src/Failure.ts"

const plain = { stdout: true, stderr: true }

it.live("what the library refuses of a command line is told in words", () =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(runCommand(["--json", "frobnicate"], plain))
    assert.ok(error instanceof WrongUsage)
    assert.equal(error.kind, "CommandMismatch")
    assert.match(error.message, /^Invalid subcommand for waiaas/)
  }),
)
