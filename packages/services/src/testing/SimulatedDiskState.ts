/**
 * A disk as a value: an immutable tree, and what is not durable yet as a list of undo steps. A state
 * is forked by keeping two references; it is named by an interned number, so equal states are one.
 *
 * Durability: content and mode are durable after the file's sync, entries after their directory's sync, and a
 * rename is one step that either of its two directories makes durable (ext4, xfs and btrfs do so). A sync that
 * fails makes nothing durable, and the next one answers for nothing.
 */

import { foldRun, type Run } from "@waiaas/domain/JournalRecord"
import { planFor } from "@waiaas/domain/Recovery"

/** A system's error; `code` is its errno name. */
export class Errno extends Error {
  readonly code: string
  readonly path: string
  constructor(code: string, path: string) {
    super(`${code} ${path}`)
    this.code = code
    this.path = path
  }
}

/** Bytes as a latin1 string. What is larger than `OPAQUE` is only its size: space, not content. */
export interface Content {
  readonly text: string
  readonly size: number
}
export const OPAQUE = 1024 * 1024
export const emptyContent: Content = { text: "", size: 0 }
export const contentOf = (text: string): Content => ({ text, size: text.length })

export interface FileNode {
  readonly kind: "file"
  readonly ino: number
  readonly mode: number
  readonly content: Content
  id: number
}
export interface LinkNode {
  readonly kind: "link"
  readonly ino: number
  readonly target: string
  id: number
}
export interface DirectoryNode {
  readonly kind: "directory"
  readonly ino: number
  readonly mode: number
  readonly device: number
  readonly entries: ReadonlyMap<string, Node>
  id: number
}
export type Node = FileNode | LinkNode | DirectoryNode

/**
 * What takes a change back that a power cut may lose. `stuck`: its sync failed. The system counts it as written, so
 * that no later sync makes it durable; only when the same bytes or the same directory are written again it is like new.
 */
export type Undo =
  | { readonly kind: "content"; readonly ino: number; readonly before: Content; readonly stuck: boolean }
  /** Bytes in the middle of a file whose sync failed, when more has been appended since. */
  | { readonly kind: "hole"; readonly ino: number; readonly from: number; readonly to: number }
  | { readonly kind: "mode"; readonly ino: number; readonly before: number }
  | { readonly kind: "entry"; readonly changes: ReadonlyArray<EntryChange>; readonly stuck: boolean }
export interface EntryChange {
  readonly directory: number
  readonly name: string
  readonly before: Node | null
}

/** A disk at one instant; immutable. */
export interface DiskState {
  readonly root: DirectoryNode
  readonly pending: ReadonlyArray<Undo>
}

const ids = new Map<string, number>()
const intern = (key: string): number => {
  const known = ids.get(key)
  if (known !== undefined) return known
  ids.set(key, ids.size + 1)
  return ids.size
}

/**
 * The part of a file that the product acts on. Words for the operator, repeated records and the
 * numbers of processes that ended do not make two states.
 */
const canonical = (text: string): string => {
  if (text.startsWith('{"format":1,"pid":'))
    return text.replace(/"(pid|processStart|instance)":("[^"]*"|\d+)/g, "")
  if (text.startsWith('{"schema":')) {
    // Of a log only the last whole frame counts, and of a torn end only that it is there.
    const frames = text.split("\n")
    const end = frames.pop() ?? ""
    return `${frames.at(-1) ?? ""}\n${end.endsWith("}") || end === "" ? end : "torn"}`
  }
  if (text.includes('"_tag":"CommitFile"')) return text.endsWith("\n") ? "commit" : "torn"
  return text.includes('"_tag":"Started"') ? decisiveOf(text) : text
}

const decisive = new Map<string, string>()
/** Of a journal what a recovery, a start or a held daemon decides by; not when, by whom and how often it was written. */
const decisiveOf = (text: string): string => {
  const known = decisive.get(text)
  if (known !== undefined) return known
  const lines = text.split("\n")
  const torn = lines.pop() === "" ? "" : "torn"
  const run = foldRun(lines.map((line) => JSON.parse(line.slice(9))))
  const decides = JSON.stringify(run === null ? lines : [...decisionsOf(run), torn])
  decisive.set(text, decides)
  return decides
}

const decisionsOf = (run: Run) => {
  const { started, begun, done, facts, starting, goingBack, committed, undone, failure, ended } = run
  const { at: _at, pid: _pid, ...begin } = started
  if (ended !== null) return [begin, ended.outcome]
  const { actions } = planFor({ started, begun, committed })
  const left = actions.filter((action) => !undone.includes(action))
  // A rollback's forward half goes by what is done; an undo goes by what was begun.
  const forward = committed && started.kind === "rollback" ? done : begun.includes("stop")
  return [begin, facts, starting, goingBack, committed, left, forward, failure?.error ?? null]
}

/** Nobody acts on what stands in these, or even on whether they are there: the next one replaces it. */
const passing = /^\..*\.tmp$|^\.waiaas-probe$|\.holder\.json$/
/** These are only ever removed, whatever is in them. */
const doomed = /^(reserve|rehearsal-\d+|rejected-\d+|\.failed-\d+|\.partial-.*|.*\.partial)$/
const staging = /^staging-\d+$/

/** Of a staging directory only the candidate is ever used, and only if it is there. */
const idOfStaging = (node: Node): string => {
  let found: Node | undefined = node
  for (const name of ["lib", "node_modules", "@waiaas", "cli"])
    found = found?.kind === "directory" ? found.entries.get(name) : undefined
  return found === undefined ? "rubbish" : String(idOf(found))
}

/** The interned name of a node's visible state. */
export const idOf = (node: Node): number => {
  if (node.id !== 0) return node.id
  if (node.kind === "file")
    node.id = intern(
      `f${node.mode} ${node.content.size > OPAQUE ? node.content.size : canonical(node.content.text)}`,
    )
  else if (node.kind === "link") node.id = intern(`l${node.target}`)
  else {
    let key = `d${node.mode}`
    for (const name of [...node.entries.keys()].sort()) {
      if (passing.test(name)) continue
      const child = node.entries.get(name) as Node
      key += ` ${name}:${doomed.test(name) ? "rubbish" : staging.test(name) ? idOfStaging(child) : idOf(child)}`
    }
    node.id = intern(key)
  }
  return node.id
}

export const findPath = (root: DirectoryNode, ino: number): ReadonlyArray<string> | null => {
  if (root.ino === ino) return []
  for (const [name, node] of root.entries) {
    if (node.ino === ino) return [name]
    if (node.kind !== "directory") continue
    const below = findPath(node, ino)
    if (below !== null) return [name, ...below]
  }
  return null
}

export const at = (root: DirectoryNode, path: ReadonlyArray<string>): Node | null => {
  let node: Node = root
  for (const name of path) {
    if (node.kind !== "directory") return null
    const next = node.entries.get(name)
    if (next === undefined) return null
    node = next
  }
  return node
}

export const withEntry = (directory: DirectoryNode, name: string, node: Node | null): DirectoryNode => {
  const entries = new Map(directory.entries)
  if (node === null) entries.delete(name)
  else entries.set(name, node)
  return { ...directory, entries, id: 0 }
}

export const withNode = (
  root: DirectoryNode,
  path: ReadonlyArray<string>,
  node: Node | null,
  index = 0,
): DirectoryNode => {
  const name = path[index] as string
  if (index === path.length - 1) return withEntry(root, name, node)
  return withEntry(root, name, withNode(root.entries.get(name) as DirectoryNode, path, node, index + 1))
}

export const find = (root: DirectoryNode, ino: number): Node | null => {
  const path = findPath(root, ino)
  return path === null ? null : at(root, path)
}

let lastIno = 0
export const newIno = (): number => {
  lastIno += 1
  return lastIno
}
export const newDirectory = (mode: number, device: number): DirectoryNode => ({
  kind: "directory",
  ino: newIno(),
  mode,
  device,
  entries: new Map(),
  id: 0,
})
