import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs"
import { basename, dirname, join, resolve } from "node:path"

export interface RotatingFileOptions {
  readonly path: string
  /** Bytes that a file may reach before the next one is begun. */
  readonly size: number
  /** How many files there are at most, the current one included. */
  readonly count: number
  /** Called with a failure, once for each outage. Must not throw. */
  readonly onProblem: (problem: string, now: number) => void
}

/** As many links as the system follows. */
const MOST_LINKS = 40

/** Where a path leads, whether or not something is there. */
const placeOf = (path: string, followed = 0): string => {
  const above = dirname(path)
  const directory = isThere(above) ? realpathSync(above) : above
  const place = join(directory, basename(path))
  const isLink = lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink() === true
  return isLink && followed < MOST_LINKS
    ? placeOf(resolve(directory, readlinkSync(place)), followed + 1)
    : place
}

const isThere = (name: string): boolean => statSync(name, { throwIfNoEntry: false }) !== undefined

/** After a failure, milliseconds until the next try. */
const RETRY = 10_000

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : String(error)

/** Makes a directory and its parents; gives whether it was not there. Node's own way never ends below a directory such as /proc. */
const makeDirectory = (directory: string): boolean => {
  if (isThere(directory)) return false
  const parent = dirname(directory)
  if (parent !== directory) makeDirectory(parent)
  try {
    mkdirSync(directory, { mode: 0o700 })
    return true
  } catch (error) {
    // Another process was faster.
    if (codeOf(error) === "EEXIST") return false
    throw error
  }
}

/**
 * A log file that is renamed to `.1`, `.2`, ... when it is full. Writes are synchronous: the last line
 * before a crash is there. No failure leaves it: a daemon without a log is better than no daemon.
 */
export const makeRotatingFile = ({ path: named, size, count, onProblem }: RotatingFileOptions) => {
  let fd: number | null = null
  /** The file itself, where the operator made its name, or a directory above it, a link: a rename would replace the link. */
  let path = named
  /** Whether it is a file, and not a device such as /dev/null: that is no one's to close for others, or to rename. */
  let isFile = true
  let written = 0
  /** Whether the file ends in the middle of a line: a full disk takes a part of one. */
  let torn = false
  let lost = 0
  let failedAt: number | null = null

  const close = (): void => {
    if (fd === null) return
    const old = fd
    fd = null
    closeSync(old)
  }

  const open = (): number => {
    if (fd !== null) return fd
    path = placeOf(named)
    const directory = dirname(path)
    // Only one that we make gets our mode: the operator may have chosen /var/log.
    if (makeDirectory(directory)) chmodSync(directory, 0o700)
    // A named pipe without a reader would keep the daemon, and no signal ends that wait.
    const opened = openSync(
      path,
      constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK,
      0o600,
    )
    fd = opened
    const info = fstatSync(opened)
    isFile = info.isFile()
    if (isFile) fchmodSync(opened, 0o600)
    written = isFile ? info.size : 0
    return opened
  }

  const rotate = (): void => {
    if (!isFile) return
    close()
    const name = (index: number) => (index === 0 ? path : `${path}.${index}`)
    if (isThere(name(count - 1))) unlinkSync(name(count - 1))
    for (let index = count - 2; index >= 0; index--)
      if (isThere(name(index))) renameSync(name(index), name(index + 1))
  }

  const writeAll = (text: string): void => {
    let bytes = Buffer.from(text)
    const target = open()
    while (bytes.length > 0) {
      const taken = writeSync(target, bytes)
      torn = taken < bytes.length
      written += taken
      bytes = bytes.subarray(taken)
    }
  }

  const closeQuietly = (now: number): void => {
    try {
      close()
    } catch (error) {
      onProblem(`The log ${path} cannot be closed (${codeOf(error)}).`, now)
    }
  }

  return {
    /** Adds a line; `now` in milliseconds. */
    write: (line: string, now: number): void => {
      if (failedAt !== null && now - failedAt < RETRY && now >= failedAt) {
        lost++
        return
      }
      try {
        open()
        if (written > 0 && written + line.length > size) rotate()
        writeAll(`${torn ? "\n" : ""}${line}\n`)
        if (failedAt !== null) {
          writeAll(
            `${JSON.stringify({ level: "WARN", message: `${lost} lines before this one could not be written.` })}\n`,
          )
          failedAt = null
          lost = 0
        }
      } catch (error) {
        lost++
        if (failedAt === null)
          onProblem(
            `The log ${path} cannot be written (${codeOf(error)}); trying again from time to time.`,
            now,
          )
        failedAt = now
        closeQuietly(now)
      }
    },
    close: closeQuietly,
  }
}
