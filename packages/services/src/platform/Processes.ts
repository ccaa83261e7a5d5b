/** What the system says of processes: which one a pid is, and which ones work on something. */
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import * as Option from "effect/Option"

const ps = (...args: ReadonlyArray<string>): string =>
  execFileSync("/bin/ps", [...args], { encoding: "utf8", timeout: 2000 })

/** Start time of a live process as the system counts it; none when there is no such process. */
export const processStart = (pid: number): Option.Option<string> => {
  try {
    if (process.platform === "linux") {
      // Field 22 of /proc/<pid>/stat, counted after the command name, which may contain anything.
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      // A zombie has ended: only its parent has not looked yet.
      return fields[0] === "Z" ? Option.none() : Option.fromNullable(fields[19])
    }
    const text = ps("-o", "lstart=", "-p", String(pid)).trim()
    return text === "" ? Option.none() : Option.some(text)
  } catch {
    return Option.none()
  }
}

/** Changes with each boot: a start time is counted from it. Empty where the system has no such word. */
const bootId = (): string => {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
  } catch {
    return ""
  }
}

/** Names a live process for good, across boots too; none when there is no such process. */
export const processName = (pid: number): Option.Option<string> =>
  Option.map(processStart(pid), (start) => `${bootId()} ${start}`)

/** Other processes than this one that were started with these arguments, as far as the system shows them. */
export const processesWithArgument = (...wanted: ReadonlyArray<string>): ReadonlyArray<number> => {
  try {
    if (process.platform !== "linux")
      return ps("-axo", "pid=,command=")
        .split("\n")
        .filter((line) => wanted.every((each) => line.includes(each)))
        .map((line) => Number.parseInt(line, 10))
        .filter((pid) => pid !== process.pid)
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter((name) => {
        const given = argumentsOf(name)
        return wanted.every((each) => given.includes(each))
      })
      .map(Number)
  } catch {
    return []
  }
}

/** Of a process that is gone by now, or another user's where the system hides those: none. */
const argumentsOf = (pid: string): ReadonlyArray<string> => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")
  } catch {
    return []
  }
}
