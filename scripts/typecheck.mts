/** TypeScript over all project references, with Effect's diagnostics: a floating Effect is an error. */
import { join } from "node:path"
import { node, root } from "./lib/repo.mts"
import { mustRun, run } from "./lib/run.mts"

/** The `tsc` that knows Effect's diagnostics; the plain one does not show them. */
export const compiler = async (): Promise<string> => {
  const { stdout } = await mustRun(node, [join(root, "node_modules/.bin/effect-tsgo"), "get-exe-path"])
  return stdout.trim()
}

/** The compiler's exit code. */
export const typecheck = async (): Promise<number> => {
  // On one thread: it takes two thirds of the work, and on two processors no more time.
  const args = ["--build", "--singleThreaded", "--pretty", "false"]
  const { code } = await run(await compiler(), args, { cwd: root, show: true })
  return code ?? 1
}

if (import.meta.main) process.exitCode = await typecheck()
