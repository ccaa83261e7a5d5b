/**
 * The `waiaas` command's first file: it answers `--version` before anything else is loaded, and tells
 * an old Node so in one line. Written for Nodes far older than the ones that are supported.
 */
import { VERSION } from "@waiaas/domain/Build"

const wantedMajor = 22
const wantedMinor = 15
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
const args = process.argv.slice(2)

if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor)) {
  process.stderr.write(
    `WAIaaS needs Node >= ${wantedMajor}.${wantedMinor}, this is Node ${process.versions.node}. Install a newer Node, then run the command again.\n`,
  )
  process.exitCode = 4
} else if (args.length === 1 && (args[0] === "--version" || args[0] === "-v")) {
  process.stdout.write(`${VERSION}\n`)
} else {
  // The build puts the command beside this file; it is loaded whole, before a package can be swapped.
  const command = "./cli.js"
  void import(command)
}
