/** A completion script for a shell. */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import type { Shell } from "../CompletionScript.ts"
import { Output } from "../Output.ts"

const shell = Args.choice(
  (["bash", "zsh", "fish"] as const).map((name) => [name, name] as const),
  { name: "shell" },
).pipe(Args.withDescription("The shell that the script is for"))

/** `scriptFor` gives the script's lines: it knows all commands, this one among them. */
export const makeCompletions = (scriptFor: (shell: Shell) => Effect.Effect<ReadonlyArray<string>>) =>
  Command.make("completions", { shell }, ({ shell }) =>
    Effect.gen(function* () {
      const lines = yield* scriptFor(shell)
      yield* (yield* Output).verbatim({ shell, script: lines.join("\n") }, lines)
    }),
  ).pipe(
    Command.withDescription(
      "Print a completion script: source it where your shell starts, as in: source <(waiaas completions bash)",
    ),
  )
