/** Suites for `npm test` and CI: one line each, and one last line with the sum. */
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { node, root } from "./repo.mts"
import { run } from "./run.mts"

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

export interface Report extends Counts {
  readonly name: string
  /** Why it was skipped or failed, where one line can say it. */
  readonly note?: string
}

export interface Suite {
  readonly name: string
  /** May answer with several reports, when one run serves several suites. */
  readonly run: () => Promise<ReadonlyArray<Report>>
  /** Begins with the first suite and takes what the others leave of the processors. */
  readonly isBackground?: boolean
}

export const passed = (name: string, note?: string): Report => ({
  name,
  passed: 1,
  failed: 0,
  skipped: 0,
  ...(note !== undefined && { note }),
})
export const failed = (name: string, note: string): Report => ({
  name,
  passed: 0,
  failed: 1,
  skipped: 0,
  note,
})
export const skipped = (name: string, note: string): Report => ({
  name,
  passed: 0,
  failed: 0,
  skipped: 1,
  note,
})

/** A suite of one check that answers with an exit code. */
export const check = (name: string, exitCode: () => Promise<number>): Suite => ({
  name,
  run: async () => {
    const code = await exitCode()
    return [code === 0 ? passed(name) : failed(name, `exit ${code}`)]
  },
})

interface VitestFile {
  readonly name: string
  readonly status: string
  readonly assertionResults: ReadonlyArray<{ readonly status: string }>
}

const countFile = (file: VitestFile): Counts => {
  const count = (...statuses: ReadonlyArray<string>) =>
    file.assertionResults.filter((result) => statuses.includes(result.status)).length
  const failures = count("failed")
  return {
    passed: count("passed"),
    // A file that does not even load has no assertions.
    failed: failures === 0 && file.status === "failed" ? 1 : failures,
    skipped: count("pending", "skipped", "todo"),
  }
}

const add = (a: Counts, b: Counts): Counts => ({
  passed: a.passed + b.passed,
  failed: a.failed + b.failed,
  skipped: a.skipped + b.skipped,
})

const none: Counts = { passed: 0, failed: 0, skipped: 0 }

/** One vitest run over some projects, reported by directory: `packages/domain`, `test/scenarios`. */
export const vitest = (projects: ReadonlyArray<string>, timeoutMs: number): Suite => ({
  name: projects.join(", "),
  run: async () => {
    const name = projects.join(", ")
    const directory = await mkdtemp(join(tmpdir(), "waiaas-vitest-"))
    try {
      const output = join(directory, "report.json")
      const result = await run(
        node,
        [
          join(root, "node_modules/vitest/vitest.mjs"),
          "run",
          "--passWithNoTests",
          "--reporter=default",
          "--reporter=json",
          `--outputFile.json=${output}`,
          ...projects.flatMap((project) => ["--project", project]),
        ],
        { cwd: root, timeoutMs },
      )
      if (result.code !== 0) process.stderr.write(`${result.stdout}${result.stderr}\n`)
      if (result.timedOut) return [failed(name, `not done within ${timeoutMs / 1000} s`)]
      const report: { testResults: ReadonlyArray<VitestFile> } = JSON.parse(await readFile(output, "utf8"))
      const byDirectory = new Map<string, Counts>()
      for (const file of report.testResults) {
        const key = relative(root, file.name).split("/").slice(0, 2).join("/")
        byDirectory.set(key, add(byDirectory.get(key) ?? none, countFile(file)))
      }
      const reports = [...byDirectory].sort().map(([key, counts]) => ({ name: key, ...counts }))
      const explained = result.code === 0 || reports.some((one) => one.failed > 0)
      return explained ? reports : [...reports, failed(name, `vitest ended with ${result.code}`)]
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  },
})

const words = (counts: Counts) =>
  `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`

const runSuite = (suite: Suite): Promise<ReadonlyArray<Report>> =>
  suite.run().catch((error: unknown) => {
    console.error(error)
    return [failed(suite.name, error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error))]
  })

/** Runs the suites one after the other, those in the background beside them; the exit code is 0 when nothing failed. */
export const runSuites = async (suites: ReadonlyArray<Suite>): Promise<number> => {
  let total = none
  const background = new Map(
    suites.filter(({ isBackground }) => isBackground).map((suite) => [suite, runSuite(suite)] as const),
  )
  for (const suite of suites) {
    const started = performance.now()
    const reports = await (background.get(suite) ?? runSuite(suite))
    const seconds = `${((performance.now() - started) / 1000).toFixed(1)} s${suite.isBackground ? " after the rest" : ""}`
    for (const [index, report] of reports.entries()) {
      total = add(total, report)
      const mark = report.failed > 0 ? "FAIL" : report.passed > 0 ? "ok" : "skip"
      const tail = [index === 0 ? seconds : undefined, report.note].filter((part) => part !== undefined)
      console.log(
        [
          mark.padEnd(4),
          report.name.padEnd(20),
          words(report),
          ...(tail.length > 0 ? [`(${tail.join("; ")})`] : []),
        ].join("  "),
      )
    }
  }
  console.log(words(total))
  return total.failed === 0 ? 0 : 1
}
