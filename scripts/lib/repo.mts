/** Where things stand in this repository, for scripts and tests. */
import { readFileSync, realpathSync } from "node:fs"
import { dirname, join } from "node:path"

export const root = dirname(dirname(import.meta.dirname))

/** The pinned Node's real binary: `.bin/node` is a link, and links give another `process.execPath` prefix. */
export const node = realpathSync(join(root, "node_modules/.bin/node"))

export const npmDir = join(root, "node_modules/npm")
export const npmCli = join(npmDir, "bin/npm-cli.js")

export interface Manifest {
  readonly name: string
  readonly version: string
  readonly license: string
  readonly dependencies?: Record<string, string>
  readonly devDependencies?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
  readonly overrides?: Record<string, string>
  readonly workspaces?: ReadonlyArray<string>
}

export const readManifest = (path: string): Manifest =>
  JSON.parse(readFileSync(join(root, path, "package.json"), "utf8"))

export const rootManifest = readManifest(".")

const scrubbed = /^(npm_|waiaas_|ci$|node_options$|no_color$|force_color$)/i

/** This process's environment without what would steer an npm, a daemon or a colour decision below it. */
export const cleanEnv = (extra: Record<string, string> = {}): Record<string, string> => {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !scrubbed.test(name)) env[name] = value
  }
  return { ...env, ...extra }
}
