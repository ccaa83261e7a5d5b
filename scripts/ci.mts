/** What `.ci/run` runs: `npm test`'s suites, then the slow ones. */
import { existsSync, globSync } from "node:fs"
import { join } from "node:path"
import { node, root } from "./lib/repo.mts"
import { run } from "./lib/run.mts"
import { failed, passed, runSuites, type Suite, skipped, vitest } from "./lib/suites.mts"
import { fastSuites } from "./test.mts"

/** A script as a suite: its output is shown only when it fails. */
const script = (name: string, path: string, args: ReadonlyArray<string>, timeoutMs: number): Suite => ({
  name,
  run: async () => {
    if (!existsSync(join(root, path))) return [skipped(name, `${path} does not exist yet`)]
    const result = await run(node, [join(root, path), ...args], { cwd: root, timeoutMs })
    if (result.code === 0) return [passed(name)]
    process.stderr.write(`${result.stdout}${result.stderr}\n`)
    return [failed(name, result.timedOut ? `not done within ${timeoutMs / 1000} s` : `exit ${result.code}`)]
  },
})

const slow: Suite =
  globSync("test/slow/**/*.test.ts", { cwd: root }).length > 0
    ? vitest("slow", 1_800_000)
    : { name: "test/slow", run: async () => [skipped("test/slow", "no slow suite exists yet")] }

process.exitCode = await runSuites([
  ...fastSuites,
  slow,
  script("demo", "scripts/demo.mts", [], 300_000),
  script("chaos", "scripts/chaos.mts", ["--short"], 900_000),
])
