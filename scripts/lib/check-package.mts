/** publint and are-the-types-wrong over the packed tarball: what is published, not what is in the checkout. */
import { join } from "node:path"
import { pack, publishedManifest } from "../pack.mts"
import { node, root } from "./repo.mts"
import { run } from "./run.mts"

const tool = (path: string, args: ReadonlyArray<string>) =>
  run(node, [join(root, path), ...args], { cwd: root })

/** Exit code: 0 when both are content. */
export const checkPackage = async (): Promise<number> => {
  const tarball = await pack()
  const checks = [await tool("node_modules/publint/src/cli.js", [tarball, "--strict"])]
  // Types matter to importers, and a package that is only a command has none.
  if ("exports" in publishedManifest("0.0.0", 1)) {
    checks.push(await tool("node_modules/@arethetypeswrong/cli/dist/index.js", [tarball]))
  }
  const bad = checks.filter((result) => result.code !== 0)
  for (const result of bad) process.stderr.write(`${result.stdout}${result.stderr}\n`)
  return bad.length === 0 ? 0 : 1
}
