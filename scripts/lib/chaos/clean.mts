/** The end of a trial's machine, whatever state an interruption left it in. */
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { Machine } from "../../../test/support/machine.mts"

const cmdline = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8")
  } catch {
    // It has ended.
    return ""
  }
}

const kill = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}

/** Ends its supervisor first, then everything that runs from it. */
export const endProcesses = async (directory: string): Promise<void> => {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
    if (cmdline(pid).endsWith(`\0${directory}/service\0`)) kill(Number(pid))
  const machine = Machine.at(directory)
  for (let round = 0; round < 50; round++) {
    const pids = machine.processes()
    if (pids.length === 0) return
    for (const pid of pids) kill(pid)
    await sleep(20)
  }
}

export const removeMachine = async (directory: string): Promise<void> => {
  if (!existsSync(directory)) return
  await endProcesses(directory)
  for (const line of readFileSync("/proc/mounts", "utf8").split("\n")) {
    const mounted = line.split(" ")[1] ?? ""
    if (mounted.startsWith(`${directory}/`)) execFileSync("umount", ["--lazy", mounted])
  }
  try {
    execFileSync("chattr", ["-R", "-f", "-i", directory], { stdio: "ignore" })
  } catch {
    // Not every file system knows the flag; then nothing has it.
  }
  await Machine.at(directory).destroy()
}
