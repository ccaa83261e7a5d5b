/** Where an npm global install is; derived from the place of the code that runs; a journal records it to be compared. */
import * as Schema from "effect/Schema"

export const Install = Schema.Struct({
  /** npm's global prefix, such as `/usr/local` or `~/.nvm/versions/node/v24.1.0`. */
  prefix: Schema.String,
  /** npm's global root: `<prefix>/lib/node_modules`. */
  root: Schema.String,
  /** `<root>/@waiaas/cli`. */
  packageDir: Schema.String,
  /** `<prefix>/bin/waiaas`. */
  binLink: Schema.String,
  /** `<root>/.waiaas`: staging, retained code, install lock, pointer to the run. */
  hidden: Schema.String,
  /** The Node that runs it. */
  node: Schema.String,
})
export type Install = typeof Install.Type

/** The global root that a package directory (or a copy of one in the hidden directory) is in; `null`: none. */
export const globalRootOf = (packageDir: string): string | null =>
  /^(.*\/lib\/node_modules)\/(?:@waiaas\/cli|\.waiaas\/(?:retained\/[^/]+|outgoing-\d+|staging-\d+\/lib\/node_modules\/@waiaas\/cli))$/.exec(
    packageDir,
  )?.[1] ?? null
export const hiddenOf = (root: string): string => `${root}/.waiaas`

/**
 * The install that a package directory (or a copy of one in the hidden directory) is of; `null`: npm did not install
 * it globally. Pure, so that code which runs knows its own places without a file that somebody else could write.
 */
export const installOf = (packageDir: string, node: string): Install | null => {
  const root = globalRootOf(packageDir)
  if (root === null) return null
  const prefix = root.slice(0, -"/lib/node_modules".length)
  return {
    prefix,
    root,
    packageDir: `${root}/@waiaas/cli`,
    binLink: `${prefix}/bin/waiaas`,
    hidden: hiddenOf(root),
    node,
  }
}

/** Paths inside the hidden directory; one place, so that upgrade, recovery and docs agree. */
export const hiddenPaths = (hidden: string) => ({
  lock: `${hidden}/install.lock`,
  holder: `${hidden}/install.holder.json`,
  pointer: `${hidden}/run.json`,
  staging: (run: number) => `${hidden}/staging-${run}`,
  /** The candidate inside its staging prefix. */
  stagedPackage: (run: number) => `${hidden}/staging-${run}/lib/node_modules/@waiaas/cli`,
  retained: (version: string) => `${hidden}/retained/${version}`,
  retainedAll: `${hidden}/retained`,
  /** The package that a run moved out, until the run has ended. */
  outgoing: (run: number) => `${hidden}/outgoing-${run}`,
  /** A candidate that an undo moved out again. */
  rejected: (run: number) => `${hidden}/rejected-${run}`,
})

/** Entry points inside a package directory, fixed by upgrade protocol 1. */
export const packagePaths = (packageDir: string) => ({
  manifest: `${packageDir}/package.json`,
  bin: `${packageDir}/dist/bin.js`,
  daemon: `${packageDir}/dist/daemon.js`,
  tool: `${packageDir}/dist/tool.js`,
})

/** `run.json` in the hidden directory: which data directory has an unfinished run on this install. */
export const RunPointer = Schema.Struct({
  format: Schema.Literal(1),
  dataDir: Schema.String,
  run: Schema.Int,
  /** Unix seconds. */
  since: Schema.Int,
  pid: Schema.Int,
})
export type RunPointer = typeof RunPointer.Type
