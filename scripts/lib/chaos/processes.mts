/** Processes of a machine by /proc: who belongs to a command, who is a daemon, and an end for them. */
import { readFileSync } from "node:fs"
import type { Machine } from "../../../test/support/machine.mts"

interface Process {
  readonly pid: number
  readonly parent: number
  readonly argv: ReadonlyArray<string>
}

const look = (pid: number): Process | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    if (state === "Z") return undefined
    return { pid, parent: Number(parent), argv: readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0") }
  } catch {
    // It ended while it was looked at.
    return undefined
  }
}

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}

const ofMachine = (machine: Machine): ReadonlyArray<Process> =>
  machine.processes().flatMap((pid) => look(pid) ?? [])

/** `daemon.js serve`, and the `waiaas start` that a supervisor runs until it has become that. */
const isDaemon = ({ argv }: Process): boolean =>
  argv.some(
    (arg) => arg.endsWith("/dist/daemon.js") || arg.endsWith("/bin/waiaas") || arg.endsWith("/dist/bin.js"),
  ) &&
  (argv.includes("serve") || argv.includes("start"))

/** The children that work on the database with a package's code. */
export const toolsOf = (machine: Machine): ReadonlyArray<number> =>
  ofMachine(machine).flatMap(({ pid, argv }) =>
    argv.some((arg) => arg.endsWith("/dist/tool.js")) ? [pid] : [],
  )

/**
 * SIGKILL to a command and everything below it, npm and database tools in their own groups too. A
 * daemon that it has started is nobody's child in that sense and stays.
 */
export const killCommand = (machine: Machine, pid: number): number => {
  // Stopped first: it must neither see a child die nor make another one.
  signal(pid, "SIGSTOP")
  const all = ofMachine(machine)
  const tree = new Set([pid])
  for (let size = 0; size !== tree.size; ) {
    size = tree.size
    for (const each of all)
      if (tree.has(each.parent) && !(isDaemon(each) && each.argv.includes("serve"))) tree.add(each.pid)
  }
  for (const each of tree) signal(each, "SIGKILL")
  return tree.size
}

/** SIGKILL to the daemons of a machine, those that are still starting included. */
export const killDaemons = (machine: Machine): number => {
  const daemons = ofMachine(machine).filter(isDaemon)
  for (const { pid } of daemons) signal(pid, "SIGKILL")
  return daemons.length
}
