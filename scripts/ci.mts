/** What `.ci/run` runs: `npm test`'s suites, the published package's check, the slow ones, the API against its own document, and the deep simulation beside them. */
import { join } from "node:path"
import { checkPackage } from "./lib/check-package.mts"
import { node, root } from "./lib/repo.mts"
import { run } from "./lib/run.mts"
import { check, failed, passed, runSuites, type Suite, vitest } from "./lib/suites.mts"
import { schemathesis } from "./schemathesis.mts"
import { simulate } from "./simulate.mts"
import { fastSuites } from "./test.mts"

/** A script as a suite: its output is shown only when it fails. */
const script = (name: string, path: string, args: ReadonlyArray<string>, timeoutMs: number): Suite => ({
  name,
  run: async () => {
    const result = await run(node, [join(root, path), ...args], { cwd: root, timeoutMs })
    if (result.code === 0) return [passed(name)]
    process.stderr.write(`${result.stdout}${result.stderr}\n`)
    return [failed(name, result.timedOut ? `not done within ${timeoutMs / 1000} s` : `exit ${result.code}`)]
  },
})

process.exitCode = await runSuites([
  ...fastSuites.filter(({ name }) => name !== "simulation"),
  check("package", checkPackage),
  vitest(["slow"], 1_800_000),
  { name: "schemathesis", run: () => schemathesis() },
  script("demo", "scripts/demo.mts", [], 300_000),
  script("chaos", "scripts/chaos.mts", ["--short"], 900_000),
  // Holds all of the simulation of `npm test`, and more.
  { ...check("simulation, deep", () => simulate({ deep: true })), isBackground: true },
])
