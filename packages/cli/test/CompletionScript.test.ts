import { strict as assert } from "node:assert"
import { execFileSync } from "node:child_process"
import { it } from "vitest"
import type { CommandNode, CommandOption } from "../src/CommandTree.ts"
import { completionScript } from "../src/CompletionScript.ts"

const option = (name: string, takesValue: boolean): readonly [string, CommandOption] => [
  name,
  { name, spellings: [name], takesValue, description: "", choices: [] },
]
const command = (name: string, rest: Partial<CommandNode> = {}): CommandNode => ({
  name,
  description: "",
  options: new Map(),
  args: [],
  children: [],
  ...rest,
})
const root = command("waiaas", {
  options: new Map([option("--data-dir", true), option("--json", false)]),
  children: [
    command("upgrade", { options: new Map([option("--from", true), option("--rollback", false)]) }),
    command("agent", {
      children: [
        command("list"),
        command("show", { args: [{ name: "agent", description: "", choices: [] }] }),
      ],
    }),
    command("completions", { args: [{ name: "shell", description: "", choices: ["bash", "zsh"] }] }),
  ],
})

/** What bash offers after these words, the last of which is being typed. */
const offered = (...words: ReadonlyArray<string>): ReadonlyArray<string> => {
  const script = [
    ...completionScript(root, "bash"),
    `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _waiaas; printf '%s\\n' "\${COMPREPLY[@]}"`,
  ].join("\n")
  const args = ["--norc", "-c", script, "bash", "waiaas", ...words]
  return execFileSync("/bin/bash", args, { cwd: "/", encoding: "utf8" }).trim().split("\n")
}

it("a shell is offered what can come next, and no commands where there are none", () => {
  const everywhere = ["--data-dir", "--json", "--help"]
  assert.deepEqual(offered(""), ["upgrade", "agent", "completions", "--version", ...everywhere])
  assert.deepEqual(offered("up"), ["upgrade"])
  assert.deepEqual(offered("agent", ""), ["list", "show", ...everywhere])
  assert.deepEqual(offered("agent", "show", ""), everywhere)
  assert.deepEqual(offered("agent", "show", "alice", ""), everywhere)
  assert.deepEqual(offered("--data-dir", "/d", "--json", "agent", "l"), ["list"])
  assert.deepEqual(offered("upgrade", "--ro"), ["--rollback"])
  assert.deepEqual(offered("completions", "z"), ["zsh"])
  // A file comes after these.
  assert.ok(offered("upgrade", "--from", "et").includes("etc"))
})

it("every shell's script names every command and option", () => {
  for (const shell of ["bash", "zsh", "fish"] as const) {
    const script = completionScript(root, shell).join("\n")
    for (const word of ["upgrade", "--rollback", "agent show", "--json", "completions"])
      assert.ok(script.includes(word), `${shell}: ${word}`)
  }
})
