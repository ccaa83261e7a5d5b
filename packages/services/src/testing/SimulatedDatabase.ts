/**
 * Databases as small JSON documents with a write-ahead log: a commit is a synced line in `-wal`, the
 * last whole line is what a reader sees whatever the main file holds, and closing checkpoints. Each
 * system call is an operation that can crash or fail, so a migration is there in whole or not at all.
 */
import { createHash } from "node:crypto"
import type { Disk } from "./SimulatedDisk.ts"
import { type Content, contentOf, Errno } from "./SimulatedDiskState.ts"
import type { OperationKind, SimulatedProcess } from "./SimulatedWorld.ts"

export interface Document {
  readonly schema: number
  /** Rows of the table that holds value. */
  readonly rows: ReadonlyArray<string>
}

export class DatabaseBroken extends Error {}

const whole = (line: string): Document | null => {
  try {
    const value: Document = JSON.parse(line)
    return typeof value.schema === "number" && Array.isArray(value.rows) ? value : null
  } catch {
    return null
  }
}

/** What a reader sees, or why it sees nothing. An empty file is an empty database, as SQLite has it. */
export const readDocument = (disk: Disk, path: string): Document => {
  if (disk.node(path) === null) throw new DatabaseBroken("unable to open database file")
  if (disk.node(`${path}-wal`) !== null) {
    const frames = disk.file(`${path}-wal`).content.text.split("\n").slice(0, -1)
    const last = frames.map(whole).findLast((frame) => frame !== null)
    if (last) return last
  }
  const { text } = disk.file(path).content
  if (text === "") return { schema: 0, rows: [] }
  const document = whole(text)
  if (document === null) throw new DatabaseBroken("file is not a database")
  return document
}

/** A connection of a process. */
export const connect = (process: SimulatedProcess, path: string) => {
  const { world } = process
  const step = <A>(
    kind: OperationKind,
    what: string,
    act: (disk: Disk) => A,
    failed: (disk: Disk) => void = () => {},
  ): A =>
    world.perform(process, kind, `sqlite ${what} ${path}`, (fault) => {
      if (fault !== null) {
        failed(world.disk)
        throw new Errno(fault, path)
      }
      return act(world.disk)
    })
  /** After a sync that failed SQLite writes the same place again: it does not count what it wrote there. */
  const sync = (what: string, file: string, before: Content) =>
    step(
      "write",
      what,
      (disk) => disk.sync(disk.file(file).ino),
      (disk) => {
        const { ino } = disk.file(file)
        disk.failSync(ino)
        disk.setContent(ino, before)
      },
    )
  const wal = `${path}-wal`
  const openWal = (disk: Disk) => disk.open(wal, { create: true, truncate: false, mode: 0o600 })
  const read = () => step("read", "read", (disk) => readDocument(disk, path))
  const checkpoint = () => {
    // Without a log there is nothing to bring in, and nothing is synced.
    const isLogged = step("read", "log", (disk) => disk.node(wal) !== null && disk.file(wal).content.size > 0)
    if (!isLogged) return
    const document = read()
    const text = JSON.stringify(document)
    const before = step("read", "compare", (disk) => disk.file(path).content)
    if (before.text !== text) {
      step("write", "checkpoint", (disk) => disk.setContent(disk.file(path).ino, contentOf(text)))
    }
    sync("sync", path, before)
  }
  return {
    read,
    checkpoint,
    open: () => {
      step("read", "open", (disk) => readDocument(disk, path))
      for (const suffix of ["-wal", "-shm"])
        step("write", `open${suffix}`, (disk) =>
          disk.open(`${path}${suffix}`, { create: true, truncate: false, mode: 0o600 }),
        )
    },
    /** Durable when it returns, or not there. */
    commit: (document: Document) => {
      const before = step("write", "append", (disk) => {
        const ino = openWal(disk)
        const { content } = disk.file(wal)
        // What a crash tore is written over.
        const frames = content.text.replace(/[^\n]*$/, "")
        disk.setContent(ino, contentOf(`${frames}${JSON.stringify(document)}\n`))
        return content
      })
      sync("commit", wal, before)
      // SQLite syncs the directory when it has made its log.
      step("write", "sync the directory", (disk) =>
        disk.sync(disk.lookUp(path.slice(0, path.lastIndexOf("/"))).ino),
      )
    },
    /** The last one to close takes the helpers away, and does not sync the directory. */
    close: () => {
      checkpoint()
      for (const suffix of ["-wal", "-shm"])
        step("write", `close${suffix}`, (disk) => {
          if (disk.node(`${path}${suffix}`) !== null) disk.unlink(`${path}${suffix}`)
        })
    },
    step,
  }
}

export const digestOf = ({ rows }: Document) => ({
  rows: rows.length,
  digest: createHash("sha256").update(JSON.stringify(rows)).digest("hex"),
})
