import { lstatSync, readdirSync, readlinkSync, realpathSync, type Stats, statSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { FileFailed } from "@waiaas/domain/DataErrors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** Owner and mode of an entry itself: of a link, not of what it leads to. */
export interface Entry {
  readonly path: string
  readonly uid: number
  /** Permission bits, with the sticky one. */
  readonly mode: number
  readonly kind: "file" | "directory" | "link" | "other"
}

const entryOf = (path: string, found: Stats): Entry => ({
  path,
  uid: found.uid,
  mode: found.mode & 0o7777,
  kind: found.isSymbolicLink()
    ? "link"
    : found.isDirectory()
      ? "directory"
      : found.isFile()
        ? "file"
        : "other",
})

const attempt = <A>(operation: string, path: string, act: () => A): Effect.Effect<A, FileFailed> =>
  Effect.try({
    try: act,
    catch: (cause) =>
      new FileFailed({ operation, path, code: (cause as NodeJS.ErrnoException).code ?? "EIO" }),
  })

const isMissing = ({ code }: FileFailed) => code === "ENOENT" || code === "ENOTDIR"

/** What is at a path, links not followed; none where nothing is. */
const entryAt = (path: string): Effect.Effect<Option.Option<Entry>, FileFailed> =>
  attempt("inspect", path, () => Option.some(entryOf(path, lstatSync(path)))).pipe(
    Effect.catchIf(isMissing, () => Effect.succeed(Option.none<Entry>())),
  )

/** What is at a path; of a link, what it leads to as well; nothing where nothing is. */
const entriesAt = (path: string): Effect.Effect<ReadonlyArray<Entry>, FileFailed> =>
  Effect.flatMap(
    entryAt(path),
    Option.match({
      onNone: () => Effect.succeed([]),
      onSome: (entry) =>
        entry.kind === "link"
          ? Effect.map(
              attempt("inspect", path, () => entryOf(path, statSync(path))).pipe(
                Effect.map(Option.some),
                Effect.catchIf(isMissing, () => Effect.succeed(Option.none<Entry>())),
              ),
              (target) => [entry, ...Option.toArray(target)],
            )
          : Effect.succeed([entry]),
    }),
  )

/** The nearest directory above a path that this process can see; the root at last. */
const nearestAbove = (path: string): Effect.Effect<Entry, FileFailed> => {
  const above = dirname(path)
  return entryAt(above).pipe(
    Effect.catchIf(
      ({ code }) => code === "EACCES",
      () => Effect.succeed(Option.none<Entry>()),
    ),
    Effect.flatMap(
      Option.match({
        onNone: () =>
          above === path
            ? new FileFailed({ operation: "inspect", path, code: "ENOENT" })
            : nearestAbove(above),
        onSome: Effect.succeed,
      }),
    ),
  )
}

const MOST_LINKS = 40

/** Every link that is followed on the way to a path, in order. */
const linksTo = (path: string): Effect.Effect<ReadonlyArray<Entry>, FileFailed> =>
  attempt("resolve", path, () => {
    const links: Array<Entry> = []
    let rest = resolve(path).split("/")
    let at = "/"
    while (rest.length > 0 && links.length <= MOST_LINKS) {
      const [name = "", ...after] = rest
      rest = after
      const next = join(at, name)
      const found = lstatSync(next, { throwIfNoEntry: false })
      if (found === undefined) return links
      if (found.isSymbolicLink()) {
        links.push(entryOf(next, found))
        rest = [...resolve(at, readlinkSync(next)).split("/"), ...rest]
        at = "/"
      } else at = next
    }
    return links
  })

/** A directory's entries and all below it, links not followed; nothing where it is not there. */
const entriesBelow = (directory: string): Effect.Effect<ReadonlyArray<Entry>, FileFailed> =>
  attempt("list", directory, () => {
    const found: Array<Entry> = []
    const walk = (parent: string) => {
      for (const name of readdirSync(parent)) {
        // Made and gone in between: a running daemon writes here.
        const info = lstatSync(join(parent, name), { throwIfNoEntry: false })
        if (info === undefined) continue
        const entry = entryOf(join(parent, name), info)
        found.push(entry)
        if (entry.kind === "directory") walk(entry.path)
      }
    }
    if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true) walk(realpathSync(directory))
    return found
  })

/**
 * Owners and modes of entries themselves: what the platform's file system does not offer, since it follows links. Looked
 * at and never changed.
 */
export class Ownership extends Context.Reference<Ownership>()("@waiaas/services/Ownership", {
  defaultValue: () => ({
    /** What is at a path, links not followed; none where nothing is. */
    entryAt,
    /** What is at a path; of a link, what it leads to as well; nothing where nothing is. */
    entriesAt,
    /** The nearest directory above a path that this process can see; the root at last. */
    nearestAbove,
    /** Every link that is followed on the way to a path, in order. */
    linksTo,
    /** A directory's entries and all below it, links not followed; nothing where it is not there. */
    entriesBelow,
  }),
}) {}
