import { accessSync, constants, type StatsFs, statfsSync } from "node:fs"
import { dirname } from "node:path"
import { FileFailed } from "@waiaas/domain/DataErrors"

/** Bytes: what a database needs for its next page, its log and its index of the log. */
const LEAST = 1 << 20

const look = (path: string) => {
  try {
    return statfsSync(path)
  } catch {
    return undefined
  }
}

interface Shortage {
  readonly problem: string
  readonly remedy: string
}

/** What a file system lacks by its own numbers, if anything; `directory` is one that is on it. */
export const shortageOf = (
  info: Pick<StatsFs, "blocks" | "bavail" | "bsize" | "files" | "ffree">,
  directory: string,
): Shortage | undefined => {
  // What is no disk at all, such as /proc, lacks nothing.
  if (info.blocks === 0) return undefined
  const remedy = new FileFailed({ operation: "write", path: directory, code: "ENOSPC" }).next
  // Some file systems count no inodes at all.
  if (info.files > 0 && info.ffree === 0)
    return { problem: `no inodes are left on the file system of ${directory} (see \`df -i\`)`, remedy }
  const free = info.bavail * info.bsize
  if (free < LEAST)
    return { problem: `the disk is full: ${Math.floor(free / 1000)} kB are free in ${directory}`, remedy }
  return undefined
}

/**
 * What the file system of `path` lacks, if anything: SQLite says "disk I/O error" or "unable to open database file" for
 * a disk without space or without inodes, and an operator looks for a broken database then.
 */
export const shortageAt = (path: string): Shortage | undefined => {
  const directory = dirname(path)
  const info = look(path) ?? look(directory)
  return info === undefined ? undefined : shortageOf(info, directory)
}

/**
 * What keeps this user from writing to a database file or next to it, if anything: an attribute, a mount, a mode. SQLite
 * says "unable to open database file" for all of these.
 */
export const refusalAt = (path: string): Shortage | undefined => {
  for (const place of [dirname(path), path])
    try {
      accessSync(place, constants.W_OK)
    } catch (cause) {
      const { code = "" } = cause as NodeJS.ErrnoException
      if (!["EACCES", "EPERM", "EROFS"].includes(code)) continue
      const { message, next } = new FileFailed({ operation: "write", path: place, code })
      return { problem: message.replace(/\.$/, ""), remedy: next }
    }
  return undefined
}
