/**
 * The `waiaas` command's first file: it answers `--version` and `--help` before anything else is loaded, and
 * says in one line that a Node is too old. Written for Nodes far older than the ones that are supported.
 */
import "@waiaas/services/platform/NoDebugger"
import { VERSION } from "@waiaas/domain/Build"
import { isSupportedNode, NODE_RANGE } from "@waiaas/domain/NodeRange"
import { PACKAGE_NAME } from "@waiaas/domain/PackageName"
import { guardStreams, unwrittenOutput } from "@waiaas/services/platform/Streams"
import { hoistGlobals, plainStatus } from "./Arguments.ts"
import { escapes } from "./Escapes.ts"

const args = process.argv.slice(2)
const isOnly = (...names: ReadonlyArray<string>) => args.length === 1 && names.includes(args[0] ?? "")

declare const __WAIAAS_HELP__: string | undefined
/** `waiaas --help` as the command itself prints it in colours: the build asked it. */
const help = typeof __WAIAAS_HELP__ === "undefined" ? "" : __WAIAAS_HELP__

/**
 * Keeps the compiled form of the command, which saves a fifth of its start. Code is loaded from it, so
 * it must be the user's own: another owner's, or an open directory, is not used.
 */
const useCompileCache = () => {
  // Imported, each would be loaded with everything that it only offers.
  const { lstatSync, mkdirSync, readdirSync, rmSync } = process.getBuiltinModule("node:fs")
  const { join } = process.getBuiltinModule("node:path")
  const { homedir } = process.getBuiltinModule("node:os")
  // Under sudo the home can be another user's, who could put a link where this looks, and code where it is loaded from.
  if ((process.env.SUDO_USER ?? "") !== "") return
  /** A directory itself, not a link to one, that nobody else can write to. */
  const isOwn = (path: string) => {
    const found = lstatSync(path)
    return found.isDirectory() && found.uid === process.geteuid?.() && (found.mode & 0o022) === 0
  }
  /** Whether it was not there yet. Node's own way with all parents never ends below a directory such as /proc. */
  const make = (path: string) => {
    try {
      mkdirSync(path, { mode: 0o700 })
      return true
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false
      throw cause
    }
  }
  try {
    // A user without an entry among the users has no home.
    const caches = process.env.XDG_CACHE_HOME || join(homedir(), ".cache")
    const all = join(caches, "waiaas")
    const directory = join(all, VERSION)
    make(caches)
    make(all)
    if (!isOwn(all)) return
    if (make(directory))
      for (const other of readdirSync(all))
        if (/^\d+\.\d+\.\d+/.test(other) && other !== VERSION)
          rmSync(join(all, other), { recursive: true, force: true })
    if (!isOwn(directory)) return
    process.getBuiltinModule("node:module").enableCompileCache(directory)
  } catch {
    // Without a place for it the command starts a little slower, and that is all.
  }
}

/** The help is as wide as most terminals; for a narrower one the command breaks its lines elsewhere. */
const hasRoomForHelp = process.stdout.isTTY !== true || !(process.stdout.columns < 80)

/** Prints and ends by itself, when a slow reader has all of it. */
const answer = (text: string) => {
  guardStreams(() => {
    process.exitCode = 1
    process.stderr.write(unwrittenOutput() ?? "")
  })
  process.stdout.write(text)
}

/** What keeps the command itself from being loaded, said as it says its own failures. */
const refuse = (error: string, message: string, next: string, exitCode: number) => {
  if (args.indexOf("--json") !== -1)
    process.stdout.write(
      `${JSON.stringify({ event: "Failed", error, message, standing: null, next, exitCode })}\n`,
    )
  process.stderr.write(`error: ${message}\nnext: ${next}\n`)
  process.exitCode = exitCode
}

if (!isSupportedNode(process.versions.node)) {
  refuse(
    "NodeTooOld",
    `WAIaaS needs Node ${NODE_RANGE}, this is Node ${process.versions.node}.`,
    "Install a newer Node, then run the command again.",
    4,
  )
} else if (isOnly("--version", "-v", "-V", "version")) {
  answer(`${VERSION}\n`)
} else if (help !== "" && hasRoomForHelp && isOnly("--help", "-h", "help")) {
  const noColor = (process.env.NO_COLOR ?? "") !== "" || process.env.TERM === "dumb"
  const plain = process.stdout.isTTY !== true || noColor
  answer(plain ? help.replace(escapes, "") : help)
} else {
  const isStatus = plainStatus(hoistGlobals(args)) !== undefined
  // The larger command grows at once instead of collecting again and again on the way; for the smaller one that does not pay.
  if (!isStatus) process.getBuiltinModule("node:v8").setFlagsFromString("--semi-space-growth-factor=16")
  useCompileCache()
  // The build puts the command beside this file; it is loaded whole, before a package can be swapped.
  import(isStatus ? "./status.js" : "./cli.js")
    .then(({ isWhole }: { readonly isWhole?: boolean }) => {
      // A file can be cut where the rest is still a program, which does nothing and succeeds.
      if (isWhole !== true) throw new Error("its end is missing")
    })
    .catch((error: Error) => {
      // Only what cannot be loaded comes here: a command's own failure ends the process by itself.
      const file = isStatus ? "dist/status.js" : "dist/cli.js"
      refuse(
        "PackageDamaged",
        `The installed package is damaged: ${file} cannot be loaded (${error.message.split("\n")[0]}).`,
        `npm install --global ${PACKAGE_NAME}@${VERSION}`,
        1,
      )
    })
}
