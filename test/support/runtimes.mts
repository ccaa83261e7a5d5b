/** Other versions of Node and npm, from their own npm packages; fetched once, into the cache of the repository. */
import { copyFile, mkdir, rename } from "node:fs/promises"
import { join } from "node:path"
import { cached } from "../../scripts/lib/cache.mts"
import { cleanEnv, node, npmCli } from "../../scripts/lib/repo.mts"
import { mustRun } from "../../scripts/lib/run.mts"

export interface Runtime {
  readonly node: string
  readonly npmDir: string
}

/** Fetches a package without running anything of it, whatever Node it wants. */
const fetchPackage = (name: string, spec: string, directory: string) =>
  mustRun(
    node,
    [npmCli, "install", `${name}@${spec}`, "--prefix", directory, "--ignore-scripts", "--no-save", "--force"],
    { cwd: directory, env: cleanEnv(), timeoutMs: 300_000 },
  )

/** The newest release of npm of a major version: its package directory. */
const npmOf = async (major: number): Promise<string> =>
  join(
    await cached(
      () => `npm-${major}`,
      async (directory) => {
        await fetchPackage("npm", String(major), directory)
        await rename(join(directory, "node_modules/npm"), join(directory, "npm"))
      },
    ),
    "npm",
  )

/** The newest release of Node of a major version: its binary. */
const nodeOf = async (major: number): Promise<string> =>
  join(
    await cached(
      () => `node-${major}-${process.platform}-${process.arch}`,
      async (directory) => {
        const name = `node-${process.platform}-${process.arch}`
        const whole = join(directory, "whole")
        await mkdir(whole)
        await fetchPackage(name, String(major), whole)
        await copyFile(join(whole, "node_modules", name, "bin/node"), join(directory, "node"))
      },
    ),
    "node",
  )

export const runtimeOf = async (nodeMajor: number, npmMajor: number): Promise<Runtime> => ({
  node: await nodeOf(nodeMajor),
  npmDir: await npmOf(npmMajor),
})
