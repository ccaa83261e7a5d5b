import { strict as assert } from "node:assert"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "vitest"
import { node, root } from "../../../scripts/lib/repo.mts"
import { run } from "../../../scripts/lib/run.mts"

const streams = JSON.stringify(join(root, "packages/services/src/platform/Streams.ts"))

/** A process that writes 3,000 numbered lines to `stream` and then ends as a command does, into a real pipe. */
const written = (reader: string, { stream = "stdout", end = "exitFlushed(() => 3)" } = {}) => {
  const script = `
    import { exitFlushed, flushStreams, guardStreams, unwrittenOutput } from ${streams}
    guardStreams()
    for (let line = 0; line < 3000; line++) process.${stream}.write(line + " ".repeat(60) + "\\n")
    ${end}`
  const both = stream === "stderr" ? "2>&1" : ""
  const pipe = `("$0" --input-type=module -e "$1" ${both}; echo "code $?" >&3) 3>&2 ${reader}`
  return run("/bin/bash", ["-c", pipe, node, script])
}

describe("a process that ends", () => {
  for (const stream of ["stdout", "stderr"])
    it(`has all of its ${stream} read by a slow reader`, async () => {
      const { stdout, stderr } = await written("| (sleep 0.3; cat)", { stream })
      assert.equal(stdout.split("\n").length, 3001)
      assert.equal(stderr, "code 3\n")
    })

  it("ends with its own code and without a word where the reader has gone", async () => {
    const { stdout, stderr } = await written("| head -1")
    assert.match(stdout, /^0 +\n$/)
    assert.equal(stderr, "code 3\n")
  })

  it("waits for a reader that does not read no longer than its limit", async () => {
    const { stderr, ms } = await written("| sleep 2", { end: "exitFlushed(() => 4, 100)" })
    assert.equal(stderr, "code 4\n")
    assert.ok(ms < 5000)
  })

  it("ends at once on a signal while a reader keeps it waiting, with its own code", async () => {
    const end = `setTimeout(() => process.kill(process.pid, "SIGTERM"), 100); exitFlushed(() => 5)`
    assert.equal((await written("| sleep 1", { end })).stderr, "code 5\n")
  })
})

it.runIf(existsSync("/dev/full"))("output that could not be written is known, with its cause", async () => {
  const end = "setTimeout(() => process.stderr.write(String(unwrittenOutput())), 50)"
  const { stderr } = await written(">/dev/full", { end })
  assert.match(stderr, /^error: The output could not be written \(ENOSPC\)\. .*\nnext: .*\ncode 0\n$/)
  // A process that ends with its last write knows of that one, too.
  const last = `
    import { exitFlushed, guardStreams, unwrittenOutput } from ${streams}
    guardStreams()
    const end = () => exitFlushed(() => (unwrittenOutput() === undefined ? 0 : 1))
    setImmediate(() => queueMicrotask(() => void (process.stdout.write("last\\n"), end())))`
  const { stderr: code } = await run("/bin/bash", [
    "-c",
    '"$0" --input-type=module -e "$1" >/dev/full; echo "code $?" >&2',
    node,
    last,
  ])
  assert.equal(code, "code 1\n")
})
