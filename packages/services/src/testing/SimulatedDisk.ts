import {
  at,
  type Content,
  type DirectoryNode,
  type DiskState,
  type EntryChange,
  Errno,
  emptyContent,
  type FileNode,
  find,
  findPath,
  type Node,
  newDirectory,
  newIno,
  type Undo,
  withNode,
} from "./SimulatedDiskState.ts"

interface Place {
  /** Names from the root, links resolved. */
  readonly path: ReadonlyArray<string>
  readonly parent: DirectoryNode
  readonly node: Node | null
}

const sameDirectory = (a: ReadonlyArray<EntryChange>, b: ReadonlyArray<EntryChange>): boolean =>
  a.some(({ directory }) => b.some((change) => change.directory === directory))

/** Whether a sync of this file or directory is about a change. */
const concerns = (undo: Undo, ino: number): boolean =>
  undo.kind === "entry" ? undo.changes.some(({ directory }) => directory === ino) : undo.ino === ino

const partsOf = (path: string): Array<string> => path.split("/").filter((part) => part !== "" && part !== ".")

/** A disk that changes: the only mutable thing is which state it is at. Every act is one system call. */
export class Disk {
  root: DirectoryNode
  pending: ReadonlyArray<Undo>

  constructor(state: DiskState = { root: newDirectory(0o755, 1), pending: [] }) {
    this.root = state.root
    this.pending = state.pending
  }

  get state(): DiskState {
    return { root: this.root, pending: this.pending }
  }

  private place(path: string, follow: boolean): Place {
    let rest = partsOf(path)
    let walked: Array<string> = []
    let chain: Array<DirectoryNode> = [this.root]
    let links = 0
    while (rest.length > 0) {
      const name = rest.shift() as string
      const directory = chain.at(-1) as DirectoryNode
      if (name === "..") {
        walked = walked.slice(0, -1)
        chain = chain.slice(0, Math.max(1, chain.length - 1))
        continue
      }
      const node = directory.entries.get(name) ?? null
      if (node?.kind === "link" && (rest.length > 0 || follow)) {
        links += 1
        if (links > 20) throw new Errno("ELOOP", path)
        if (node.target.startsWith("/")) {
          walked = []
          chain = [this.root]
        }
        rest = [...partsOf(node.target), ...rest]
        continue
      }
      walked.push(name)
      if (rest.length === 0) return { path: walked, parent: directory, node }
      if (node === null) throw new Errno("ENOENT", path)
      if (node.kind !== "directory") throw new Errno("ENOTDIR", path)
      chain.push(node)
    }
    return { path: walked, parent: chain.at(-2) ?? this.root, node: chain.at(-1) ?? this.root }
  }

  private there(
    path: string,
    follow = true,
  ): { readonly path: ReadonlyArray<string>; readonly node: Node; readonly parent: DirectoryNode } {
    const { node, ...place } = this.place(path, follow)
    if (node === null) throw new Errno("ENOENT", path)
    return { ...place, node }
  }

  private put(path: ReadonlyArray<string>, node: Node | null): void {
    this.root = withNode(this.root, path, node)
  }

  private remember(undo: Undo): void {
    const before =
      undo.kind !== "entry"
        ? this.pending
        : // A directory is one block: with a new change the earlier ones in it are written again.
          this.pending.map((each) =>
            each.kind === "entry" && each.stuck && sameDirectory(each.changes, undo.changes)
              ? { ...each, stuck: false }
              : each,
          )
    this.pending = [...before, undo]
  }

  node(path: string, follow = true): Node | null {
    try {
      return this.place(path, follow).node
    } catch (cause) {
      if (cause instanceof Errno) return null
      throw cause
    }
  }
  lookUp(path: string, follow = true): Node {
    return this.there(path, follow).node
  }
  device(path: string): number {
    const { node, parent } = this.there(path)
    return node.kind === "directory" ? node.device : parent.device
  }
  realPath(path: string): string {
    return `/${this.there(path).path.join("/")}`
  }
  list(path: string): Array<string> {
    const { node } = this.there(path)
    if (node.kind !== "directory") throw new Errno("ENOTDIR", path)
    return [...node.entries.keys()]
  }
  file(path: string): FileNode {
    const { node } = this.there(path)
    if (node.kind === "directory") throw new Errno("EISDIR", path)
    return node as FileNode
  }
  readLink(path: string): string {
    const { node } = this.there(path, false)
    if (node.kind !== "link") throw new Errno("EINVAL", path)
    return node.target
  }

  /** Names in a directory change only for who may write there; there is one user, whose directories all are. */
  private mayChange(directory: DirectoryNode, path: string): void {
    if ((directory.mode & 0o300) !== 0o300) throw new Errno("EACCES", path)
  }

  /** The root of another device. */
  mount(path: string, mode: number, device: number): void {
    this.put(this.place(path, false).path, newDirectory(mode, device))
  }
  makeDirectory(path: string, mode: number): void {
    const place = this.place(path, false)
    if (place.node !== null) throw new Errno("EEXIST", path)
    this.mayChange(place.parent, path)
    this.put(place.path, newDirectory(mode, place.parent.device))
    this.addedEntry(place, null)
  }
  private addedEntry(place: Place, before: Node | null): void {
    const name = place.path.at(-1) as string
    this.remember({
      kind: "entry",
      changes: [{ directory: place.parent.ino, name, before }],
      stuck: false,
    })
  }
  symlink(target: string, path: string): void {
    const place = this.place(path, false)
    if (place.node !== null) throw new Errno("EEXIST", path)
    this.mayChange(place.parent, path)
    this.put(place.path, { kind: "link", ino: newIno(), target, id: 0 })
    this.addedEntry(place, null)
  }
  /** Makes a file if there is none, empties it if asked to. Gives its number, which outlives its name. */
  open(
    path: string,
    options: { readonly create: boolean; readonly truncate: boolean; readonly mode: number },
  ): number {
    const place = this.place(path, true)
    if (place.node === null) {
      if (!options.create) throw new Errno("ENOENT", path)
      this.mayChange(place.parent, path)
      const ino = newIno()
      this.put(place.path, { kind: "file", ino, mode: options.mode, content: emptyContent, id: 0 })
      this.addedEntry(place, null)
      return ino
    }
    if (place.node.kind === "directory" && (options.create || options.truncate))
      throw new Errno("EISDIR", path)
    if (place.node.kind !== "link" && (place.node.mode & (options.create ? 0o200 : 0o400)) === 0)
      throw new Errno("EACCES", path)
    if (options.truncate && place.node.kind === "file" && place.node.content.size > 0)
      this.setContent(place.node.ino, emptyContent)
    return place.node.ino
  }
  byNumber(ino: number): Node | null {
    return find(this.root, ino)
  }
  setContent(ino: number, content: Content): void {
    const path = findPath(this.root, ino)
    // A file without a name any more: what is written to it is nobody's.
    if (path === null) return
    const node = at(this.root, path)
    if (node?.kind !== "file") return
    // Written anew, not only at its end: what a failed sync left of it is written again.
    if (!content.text.startsWith(node.content.text))
      this.pending = this.pending.flatMap((undo) =>
        undo.kind === "hole" && undo.ino === ino
          ? []
          : undo.kind === "content" && undo.ino === ino
            ? [{ ...undo, stuck: false }]
            : [undo],
      )
    this.put(path, { ...node, content, id: 0 })
    this.remember({ kind: "content", ino, before: node.content, stuck: false })
  }
  chmod(path: string, mode: number): void {
    const { path: names, node } = this.there(path)
    if (node.kind === "link" || node.mode === mode) return
    this.remember({ kind: "mode", ino: node.ino, before: node.mode })
    if (names.length === 0) this.root = { ...this.root, mode, id: 0 }
    else this.put(names, { ...node, mode, id: 0 })
  }
  sync(ino: number): void {
    this.pending = this.pending.filter(
      (undo) => undo.kind === "hole" || (undo.kind !== "mode" && undo.stuck) || !concerns(undo, ino),
    )
  }
  /** A sync that fails: what it was about counts as written from now on, and is not durable. */
  failSync(ino: number): void {
    const node = this.byNumber(ino)
    const size = node?.kind === "file" ? node.content.size : 0
    const { pending } = this
    this.pending = pending.map((undo, index): Undo => {
      if (undo.kind === "hole" || undo.kind === "mode" || !concerns(undo, ino)) return undo
      if (undo.kind === "entry") return { ...undo, stuck: true }
      const next = pending.slice(index + 1).find((later) => later.kind === "content" && later.ino === ino)
      const to = next?.kind === "content" ? next.before.size : size
      const isAppend =
        node?.kind === "file" && undo.before.size > 0 && node.content.text.startsWith(undo.before.text)
      return isAppend && !undo.stuck
        ? { kind: "hole", ino, from: undo.before.size, to }
        : { ...undo, stuck: true }
    })
  }
  rename(from: string, to: string): void {
    const source = this.there(from, false)
    const target = this.place(to, false)
    if (source.parent.device !== target.parent.device) throw new Errno("EXDEV", to)
    this.mayChange(source.parent, from)
    this.mayChange(target.parent, to)
    if (
      target.node?.kind === "directory" &&
      (source.node.kind !== "directory" || target.node.entries.size > 0)
    )
      throw new Errno(source.node.kind === "directory" ? "ENOTEMPTY" : "EISDIR", to)
    if (target.node !== null && target.node.kind !== "directory" && source.node.kind === "directory")
      throw new Errno("ENOTDIR", to)
    this.put(source.path, null)
    this.put(target.path, source.node)
    this.remember({
      kind: "entry",
      changes: [
        { directory: source.parent.ino, name: source.path.at(-1) as string, before: source.node },
        { directory: target.parent.ino, name: target.path.at(-1) as string, before: target.node },
      ],
      stuck: false,
    })
  }
  /** Removes a file, a link or an empty directory. */
  unlink(path: string): void {
    const place = this.there(path, false)
    if (place.node.kind === "directory" && place.node.entries.size > 0) throw new Errno("ENOTEMPTY", path)
    this.mayChange(place.parent, path)
    this.put(place.path, null)
    this.addedEntry(place, place.node)
  }
}
