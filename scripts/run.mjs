// Runs a script of this repository on the Node that the repository pins, whatever Node started it.
// Plain JavaScript for old Nodes: it is the only file that runs before the dependencies are there.
import { spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const stampFile = join(root, "node_modules", ".setup-stamp")
const pinnedNode = join(root, "node_modules", ".bin", "node")

const fingerprint = () => {
  const hash = createHash("sha256")
  for (const name of ["package.json", "package-lock.json"]) hash.update(readFileSync(join(root, name)))
  return hash.digest("hex")
}

const isSetUp = () =>
  existsSync(stampFile) && existsSync(pinnedNode) && readFileSync(stampFile, "utf8") === fingerprint()

if (!isSetUp()) {
  console.error("Installing the repository's dependencies (npm install) ...")
  const npmCli = process.env.npm_execpath
  const [command, args] = npmCli ? [process.execPath, [npmCli]] : ["npm", []]
  // stdout belongs to the script that follows: npm's own words go to stderr.
  // Not `npm ci`: it refuses a lock file without the optional packages of platforms that a mirror does not carry.
  // What the lock file has is installed as it says, checksums included; --no-save leaves that file alone.
  const npm = spawnSync(command, [...args, "install", "--no-save", "--ignore-scripts", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  })
  if (npm.status !== 0) {
    console.error("npm install failed; the lines above say why. Nothing else was run.")
    process.exit(1)
  }
  if (!existsSync(pinnedNode)) {
    console.error(
      `No pinned Node for ${process.platform}-${process.arch}: see optionalDependencies in package.json.`,
    )
    process.exit(1)
  }
  writeFileSync(stampFile, fingerprint())
}

const child = spawn(pinnedNode, process.argv.slice(2), { stdio: "inherit" })
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal))
child.on("exit", (code, signal) => process.exit(signal ? 1 : (code ?? 1)))
