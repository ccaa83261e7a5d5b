/**
 * The `waiaas` command's first file: it answers `--version` before anything else is loaded, and tells
 * an old Node so in one line. Written for Nodes far older than the ones that are supported.
 */
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs"
import * as nodeModule from "node:module"
import { homedir } from "node:os"
import { dirname, join } from "node:path"
import { setFlagsFromString } from "node:v8"
import { VERSION } from "@waiaas/domain/Build"

const wantedMajor = 22
const wantedMinor = 15
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
const args = process.argv.slice(2)

/**
 * Keeps the compiled form of the command, which saves a fifth of its start. Code is loaded from it, so
 * it must be the user's own: another owner's, or an open directory, is not used.
 */
const useCompileCache = () => {
  const directory = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "waiaas", VERSION)
  try {
    if (mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined)
      for (const other of readdirSync(dirname(directory)))
        if (other !== VERSION) rmSync(join(dirname(directory), other), { recursive: true, force: true })
    for (const path of [directory, dirname(directory)]) {
      const { uid, mode } = statSync(path)
      if (uid !== process.geteuid?.() || (mode & 0o022) !== 0) return
    }
    nodeModule.enableCompileCache(directory)
  } catch {
    // Without a place for it the command starts a little slower, and that is all.
  }
}

if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor)) {
  process.stderr.write(
    `WAIaaS needs Node >= ${wantedMajor}.${wantedMinor}, this is Node ${process.versions.node}. Install a newer Node, then run the command again.\n`,
  )
  process.exitCode = 4
} else if (args.length === 1 && (args[0] === "--version" || args[0] === "-v")) {
  process.stdout.write(`${VERSION}\n`)
} else {
  // A command is short: growing at once costs less than collecting again and again on the way.
  setFlagsFromString("--semi-space-growth-factor=16")
  useCompileCache()
  // The build puts the command beside this file; it is loaded whole, before a package can be swapped.
  const command = "./cli.js"
  void import(command)
}
