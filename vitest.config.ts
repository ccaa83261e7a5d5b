import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

const project = (name: string, include: Array<string>, timeout: number, exclude: Array<string> = []) => ({
  extends: true as const,
  test: { name, include, exclude, testTimeout: timeout, hookTimeout: timeout },
})
// One more than there are processors: tests of real processes wait, too.
const forks = availableParallelism() + 1
const slow = "test/**/*.slow.test.ts"

export default defineConfig({
  test: {
    pool: "forks",
    poolOptions: {
      forks: {
        // Files share their process: loading Effect anew takes longer than most files' tests.
        isolate: false,
        // As many at least as at most: the pool may end one that idles just when it gets the next file.
        minForks: forks,
        maxForks: forks,
      },
    },
    projects: [
      project(
        "layers",
        ["packages/*/test/**/*.test.ts", "test/lessons/**/*.test.ts", "test/hostile/**/*.test.ts"],
        15_000,
        [slow],
      ),
      project("scenarios", ["test/scenarios/**/*.test.ts", "test/tooling/**/*.test.ts"], 60_000, [slow]),
      // Run by .ci/run, not by npm test.
      project("slow", ["test/slow/**/*.test.ts", slow], 600_000),
    ],
  },
})
