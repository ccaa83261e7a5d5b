/** What a power cut leaves of a simulated disk: which of the changes that were not synced are lost, and how. */
import {
  at,
  contentOf,
  type DirectoryNode,
  type DiskState,
  find,
  findPath,
  idOf,
  OPAQUE,
  type Undo,
  withEntry,
  withNode,
} from "./SimulatedDiskState.ts"

/**
 * `keep` loses nothing, `torn` keeps the half of every append, `zeros` its length without its bytes. `lose-1-3` loses the
 * second and the fourth change that is not durable, and what cannot be there without them. `lose-failed` loses what a
 * failed sync left. `kill` is no power cut: it ends processes only.
 */
export type Loss =
  | "kill"
  | "keep"
  | "lose-all"
  | "lose-content"
  | "lose-entries"
  | "lose-failed"
  | "torn"
  | "zeros"
  | `lose-${string}`

const named: ReadonlyArray<string> = [
  "kill",
  "keep",
  "lose-all",
  "lose-content",
  "lose-entries",
  "lose-failed",
  "torn",
  "zeros",
]
export const isLoss = (text: string): text is Loss => named.includes(text) || /^lose(-\d+)+$/.test(text)

type End = "gone" | "torn" | "zeros"

const takeBack = (root: DirectoryNode, undo: Undo, end: End): DirectoryNode => {
  if (undo.kind === "entry") return takeBackEntries(root, undo.changes)
  const path = findPath(root, undo.ino)
  const node = path === null ? null : at(root, path)
  if (path === null || node === null || node.kind === "link") return root
  if (undo.kind === "mode") {
    if (path.length === 0) return { ...root, mode: undo.before, id: 0 }
    return withNode(root, path, { ...node, mode: undo.before, id: 0 })
  }
  if (node.kind !== "file") return root
  const { text, size } = node.content
  if (undo.kind === "hole") {
    const left =
      size <= undo.to
        ? text.slice(0, undo.from)
        : `${text.slice(0, undo.from)}${"\0".repeat(undo.to - undo.from)}${text.slice(undo.to)}`
    return withNode(root, path, { ...node, content: contentOf(left), id: 0 })
  }
  const { before } = undo
  const added = size - before.size
  const grown = end !== "gone" && size <= OPAQUE && added > 0 && text.startsWith(before.text)
  const half = before.size + Math.ceil(added / 2)
  const tail = !grown ? "" : end === "torn" ? text.slice(before.size, half) : "\0".repeat(added)
  return withNode(root, path, {
    ...node,
    content: tail === "" ? before : contentOf(before.text + tail),
    id: 0,
  })
}

const takeBackEntries = (
  root: DirectoryNode,
  changes: Extract<Undo, { kind: "entry" }>["changes"],
): DirectoryNode => {
  // A file that was renamed and then written is one file: it goes back with what it holds.
  const nodes = changes.map(({ before }) => (before === null ? null : (find(root, before.ino) ?? before)))
  let next = root
  for (const [index, { directory, name }] of changes.entries()) {
    const path = findPath(next, directory)
    const now = path === null ? null : at(next, path)
    if (path === null || now?.kind !== "directory") continue
    const changed = withEntry(now, name, nodes[index] ?? null)
    next = path.length === 0 ? changed : withNode(next, path, changed)
  }
  return next
}

/** Whether a later change of names is of the same names, or of a file that the earlier one gave its name. */
const needs = (later: Undo, earlier: Undo): boolean =>
  later.kind === "entry" &&
  earlier.kind === "entry" &&
  later.changes.some((change) =>
    earlier.changes.some(
      ({ directory, name, before }) =>
        (directory === change.directory && name === change.name) ||
        (before !== null && before.ino === change.before?.ino),
    ),
  )

/** The changes that go with those of these indices: a name cannot be changed again before it was changed. */
const withDependents = (pending: ReadonlyArray<Undo>, lost: ReadonlyArray<number>): ReadonlySet<number> => {
  const all = new Set(lost)
  for (const [index, undo] of pending.entries())
    if ([...all].some((each) => each < index && needs(undo, pending[each] as Undo))) all.add(index)
  return all
}

const isFailed = (undo: Undo): boolean => undo.kind === "hole" || (undo.kind !== "mode" && undo.stuck)

/** Which changes a loss loses. */
const lostBy = (pending: ReadonlyArray<Undo>, loss: Loss): ReadonlySet<number> => {
  const where = (test: (undo: Undo) => boolean) =>
    pending.flatMap((undo, index) => (test(undo) ? [index] : []))
  switch (loss) {
    case "kill":
    case "keep":
      return new Set()
    case "lose-all":
      return new Set(pending.keys())
    case "lose-entries":
      return new Set(where(({ kind }) => kind === "entry"))
    case "lose-failed":
      return withDependents(pending, where(isFailed))
    case "lose-content":
    case "torn":
    case "zeros":
      return new Set(where(({ kind }) => kind !== "entry"))
    default:
      return withDependents(pending, loss.split("-").slice(1).map(Number))
  }
}

/** The disk that processes find after a crash. */
export const crashed = (state: DiskState, loss: Loss): DiskState => {
  if (loss === "kill") return state
  const lost = lostBy(state.pending, loss)
  const end = loss === "torn" || loss === "zeros" ? loss : "gone"
  let { root } = state
  for (const index of [...lost].sort((a, b) => b - a))
    root = takeBack(root, state.pending[index] as Undo, end)
  return { root, pending: [] }
}

/** Every subset where they are few, else every single one. */
const subsetsOf = (count: number, most: number): ReadonlyArray<Loss> => {
  if (count < 2) return []
  if (count > most) return Array.from({ length: Math.min(count, 40) }, (_, index): Loss => `lose-${index}`)
  return Array.from({ length: 2 ** count - 2 }, (_, number): Loss => {
    const lost = Array.from({ length: count }, (_each, index) => index).filter(
      (index) => (number + 1) & (1 << index),
    )
    return `lose-${lost.join("-")}`
  })
}

const usual: ReadonlyArray<Loss> = ["keep", "lose-all", "lose-content", "lose-entries", "torn", "zeros"]

/**
 * The crashes at an instant that differ, each with what it leaves. `most`: up to how many changes that are not
 * durable every subset of them is lost.
 */
export const crashesOf = (
  state: DiskState,
  most = 0,
): ReadonlyArray<readonly [loss: Loss, disk: DiskState]> => {
  const { pending } = state
  if (pending.length === 0) return [["keep", state]]
  const seen = new Set<number>()
  const losses = [
    ...usual,
    ...(pending.some(isFailed) ? (["lose-failed"] as const) : []),
    ...(most === 0 ? [] : subsetsOf(pending.length, most)),
  ]
  return losses.flatMap((loss) => {
    const disk = crashed(state, loss)
    const id = idOf(disk.root)
    if (seen.has(id)) return []
    seen.add(id)
    return [[loss, disk] as const]
  })
}

/** Names a state: what is seen, and what the usual crashes would leave of it. */
export const diskKey = (state: DiskState): string =>
  state.pending.length === 0
    ? String(idOf(state.root))
    : `${idOf(state.root)}/${crashesOf(state)
        .map(([, disk]) => idOf(disk.root))
        .join(",")}`
