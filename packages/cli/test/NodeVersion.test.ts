/** What the command says on a Node that it cannot run on. */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, it } from "@effect/vitest"
import { isSupportedNode, NODE_RANGE } from "@waiaas/domain/NodeRange"
import { satisfies } from "@waiaas/domain/VersionRange"

it("the command refuses what npm's engines refuse", () => {
  for (const [version, isSupported] of [
    ["18.20.8", false],
    ["22.14.0", false],
    ["22.15.0", true],
    ["22.99.1", true],
    ["23.0.0", false],
    ["23.10.0", false],
    ["23.11.0", true],
    ["24.0.0", true],
    ["26.1.0", true],
  ] as const) {
    assert.strictEqual(isSupportedNode(version), isSupported, version)
    assert.strictEqual(satisfies(version, NODE_RANGE), isSupported, version)
  }
})

it("a Node without execve is refused with cause, next step and exit code 4, as JSON where that is asked for", () => {
  const pretend =
    "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '23.10.0' } })"
  const bin = fileURLToPath(new URL("../src/bin.ts", import.meta.url))
  const run = (...args: ReadonlyArray<string>) =>
    spawnSync(
      process.execPath,
      ["--no-warnings", "--import", `data:text/javascript,${pretend}`, bin, ...args],
      { encoding: "utf8" },
    )
  const { status, stdout, stderr } = run("--version")
  assert.deepStrictEqual([status, stdout], [4, ""])
  const message = "WAIaaS needs Node ^22.15.0 || >=23.11.0, this is Node 23.10.0."
  const next = "Install a newer Node, then run the command again."
  assert.strictEqual(stderr, `error: ${message}\nnext: ${next}\n`)
  const asked = run("status", "--json")
  assert.deepStrictEqual(JSON.parse(asked.stdout), {
    event: "Failed",
    error: "NodeTooOld",
    message,
    standing: null,
    next,
    exitCode: 4,
  })
})
