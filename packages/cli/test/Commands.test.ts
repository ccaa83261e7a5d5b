import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { runCommand } from "../src/Commands.ts"
import { WrongUsage } from "../src/Failure.ts"

const plain = { stdout: true, stderr: true }

const refused = (line: string) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(runCommand(line === "" ? [] : line.split(" "), plain))
    assert.ok(error instanceof WrongUsage, line)
    return [error.message, error.next] as const
  })

it.live("a command that does not exist is named, with the one that was probably meant", () =>
  Effect.gen(function* () {
    for (const [line, name, next] of [
      ["upgrad", "upgrad", "waiaas upgrade"],
      ["--json upgarde --dry-run", "upgarde", "waiaas upgrade"],
      ["stauts", "stauts", "waiaas status"],
      ["comp bash", "comp", "waiaas completions"],
      ["frobnicate", "frobnicate", "waiaas --help"],
      ["agent lst", "agent lst", "waiaas agent list"],
      ["agent frobnicate", "agent frobnicate", "waiaas agent --help"],
      ["agnet list", "agnet", "waiaas agent list"],
      ["bakcup", "bakcup", "waiaas backup --help"],
    ] as const)
      assert.deepEqual(yield* refused(line), [`There is no command "${name}".`, next], line)
  }),
)

it.live("an option without its value, with a wrong one, twice or unknown is named", () =>
  Effect.gen(function* () {
    for (const [line, message, next] of [
      ["upgrade --to", "--to needs a version.", "waiaas upgrade --help"],
      ["upgrade --to --dry-run", "--to needs a version.", "waiaas upgrade --help"],
      ["upgrade --to=", "--to needs a version.", "waiaas upgrade --help"],
      ["upgrade --from", "--from needs a file.", "waiaas upgrade --help"],
      ["status --data-dir", "--data-dir needs a directory.", "waiaas status --help"],
      ["--data-dir --json status", "--data-dir needs a directory.", "waiaas status --help"],
      ["upgrade --to 1.0.0 --to 2.0.0", "--to is given twice.", "waiaas upgrade --help"],
      ["status --json=yes", "--json takes no value.", "waiaas status --help"],
      [
        "agent create a --chain x",
        '--chain is one of solana, aptos, sui, not "x".',
        "waiaas agent create --help",
      ],
      [
        "upgrade --rolback",
        'waiaas upgrade has no option "--rolback". Did you mean --rollback?',
        "waiaas upgrade --help",
      ],
      ["start --wizard", 'waiaas start has no option "--wizard".', "waiaas start --help"],
      ["start -x", 'waiaas start has no option "-x".', "waiaas start --help"],
      [
        "agent sign alice -m",
        'waiaas agent sign has no option "-m". If it is a value, it goes after "--".',
        "waiaas agent sign --help",
      ],
    ] as const) {
      const [said, typed] = yield* refused(line)
      assert.equal(said, message, line)
      // Where the globals stand before the command, its help is the one of all commands.
      assert.ok(typed === next || typed === "waiaas --help", line)
    }
  }),
)

it.live("a group without its command, an argument too few and one too many are wrong usage", () =>
  Effect.gen(function* () {
    for (const [line, message] of [
      ["backup", "waiaas backup needs one of its commands: create, list, verify."],
      ["backup --json", "waiaas backup needs one of its commands: create, list, verify."],
      ["agent show", "waiaas agent show needs <agent>."],
      ["agent sign alice", "waiaas agent sign needs <message>."],
      ["status extra", 'waiaas status does not take "extra".'],
      ["completions tcsh", '<shell> is one of bash, zsh, fish, not "tcsh".'],
    ] as const)
      assert.equal((yield* refused(line))[0], message, line)
  }),
)
