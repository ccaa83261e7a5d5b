/** What the system says of a process, by `/proc` or `ps`. */
import { execFileSync } from "node:child_process"
import { readFileSync, readlinkSync } from "node:fs"
import * as Option from "effect/Option"

export interface ProcessAbout {
  readonly parent: number
  /** The name of its program, at most 15 characters of it; a program may give itself another. */
  readonly name: string
  readonly argv: ReadonlyArray<string>
  /** What follows needs the same user or root; empty where it cannot be read. */
  readonly directory: string
  readonly variables: Readonly<Record<string, string>>
  /** Its control group, as systemd names it: `/system.slice/waiaas.service`. */
  readonly group: string
}

const textOf = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    // Another user's, or gone.
    return ""
  }
}

const linkOf = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    return ""
  }
}

/** State, parent and the rest of `/proc/<pid>/stat`, counted after the name, which may contain anything. */
const statOf = (pid: number) => {
  const stat = textOf(`/proc/${pid}/stat`)
  const end = stat.lastIndexOf(")")
  const fields = stat.slice(end + 2).split(" ")
  // A zombie has ended: only its parent has not looked yet.
  return end === -1 || fields[0] === "Z" ? null : { name: stat.slice(stat.indexOf("(") + 1, end), fields }
}

const ps = (pid: number, ...columns: ReadonlyArray<string>): ReadonlyArray<string> | null => {
  try {
    const format = columns.flatMap((column) => ["-o", `${column}=`])
    const text = execFileSync("/bin/ps", [...format, "-p", String(pid)], { encoding: "utf8", timeout: 2000 })
    const line = text.trim()
    return line === "" ? null : columns.length === 1 ? [line] : line.split(/\s+/)
  } catch {
    return null
  }
}

export const processAbout = (pid: number): Option.Option<ProcessAbout> => {
  if (process.platform !== "linux") {
    const [parent, ...name] = ps(pid, "ppid", "comm") ?? []
    if (parent === undefined) return Option.none()
    const program = name.join(" ")
    return Option.some({
      parent: Number(parent),
      name: program.slice(program.lastIndexOf("/") + 1),
      argv: [program],
      directory: "",
      variables: {},
      group: "",
    })
  }
  const stat = statOf(pid)
  if (stat === null) return Option.none()
  const list = (file: string) => textOf(`/proc/${pid}/${file}`).split("\0").filter(Boolean)
  return Option.some({
    parent: Number(stat.fields[1]),
    name: stat.name,
    argv: list("cmdline"),
    directory: linkOf(`/proc/${pid}/cwd`),
    variables: Object.fromEntries(
      list("environ").map((each) => {
        const at = each.indexOf("=")
        return [each.slice(0, at), each.slice(at + 1)]
      }),
    ),
    group: /^(?:0::|1:name=systemd:)(.*)$/m.exec(textOf(`/proc/${pid}/cgroup`))?.[1] ?? "",
  })
}
