import { strict as assert } from "node:assert"
import { describe, it } from "vitest"
import type { CommandNode, CommandOption } from "../src/CommandTree.ts"
import { helpText } from "../src/HelpText.ts"
import { readUsage } from "../src/Usage.ts"

const option = (name: string, takesValue: boolean, ...aliases: ReadonlyArray<string>) => {
  const spellings = [name, ...aliases]
  const description =
    "Words that say at some length what this option is for, longer than one line of a terminal"
  const one: CommandOption = { name, spellings, takesValue, description, choices: [] }
  return spellings.map((spelling) => [spelling, one] as const)
}
const command = (name: string, rest: Partial<CommandNode>): CommandNode => ({
  name,
  description: `The ${name} command. And more of it.`,
  options: new Map(),
  args: [],
  children: [],
  ...rest,
})
const root = command("waiaas", {
  options: new Map([
    ...option("--data-dir", true),
    ...option("--json", false),
    ...option("--quiet", false, "-q"),
  ]),
  children: [
    command("upgrade", { options: new Map([...option("--to", true), ...option("--yes", false, "-y")]) }),
    command("agent", {
      children: [
        command("sign", {
          args: ["agent", "message"].map((name) => ({ name, description: "", choices: [] })),
        }),
      ],
    }),
  ],
})
const read = (line: string) => readUsage(root, line.split(" "))

describe("a command line", () => {
  it("has its options, its own and the ones of every command, wherever they stand", () => {
    for (const line of [
      "--json --data-dir /d upgrade --to 2.1.0 -y",
      "upgrade -y --json --to=2.1.0 --data-dir=/d",
      "upgrade --json --json --to 2.1.0 --yes --data-dir /d",
    ]) {
      const reading = read(line)
      assert.ok(reading._tag === "Run")
      assert.deepEqual(reading.words, ["upgrade"])
      assert.deepEqual([...reading.args].sort(), [
        "--data-dir",
        "--json",
        "--to",
        "--yes",
        "/d",
        "2.1.0",
        "upgrade",
      ])
    }
    const signed = read("agent sign alice --json -- -m")
    assert.ok(signed._tag === "Run")
    assert.deepEqual(signed.args, ["--json", "agent", "sign", "--", "alice", "-m"])
  })

  it("that asks for the version or for help anywhere runs nothing", () => {
    for (const line of [
      "--json --version",
      "-q -V",
      "--data-dir /d --version",
      "version",
      "upgrade --version",
    ])
      assert.equal(read(line)._tag, "Version", line)
    for (const [line, words] of [
      ["help", []],
      ["--data-dir /d -h", []],
      ["help agent sign", ["agent", "sign"]],
      ["upgrade --to --help", ["upgrade"]],
      ["upgrade --frobnicate --help", ["upgrade"]],
      ["agent sign alice --help", ["agent", "sign"]],
    ] as const)
      assert.deepEqual(read(line), { _tag: "Help", words }, line)
    // After two dashes it is what it says.
    assert.equal(read("agent sign alice -- --help")._tag, "Run")
  })
})

it("no line of a help is wider than the terminal, or than 80 columns, and it names the whole command", () => {
  for (const [width, words] of [undefined, 60, 50].flatMap((width) =>
    [[], ["upgrade"], ["agent"], ["agent", "sign"]].map((words) => [width, words] as const),
  )) {
    const text = helpText(root, "2.0.0", words, width).replaceAll("\u001b[1m", "").replaceAll("\u001b[0m", "")
    for (const line of text.split("\n")) assert.ok(line.length <= (width ?? 80), line)
    assert.match(text, new RegExp(`^\\$ ${["waiaas", ...words].join(" ")}`, "m"))
    assert.match(text, /--data-dir <dir>/)
  }
})
