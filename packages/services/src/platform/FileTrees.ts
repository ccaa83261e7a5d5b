import { createHash } from "node:crypto"
import { join } from "node:path"
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { NOT_A_FILE } from "@waiaas/domain/FileWords"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { FileDigest } from "../BuildDigest.ts"
import type { DurableFile } from "./DurableFile.ts"

type Parts = Pick<DurableFile["Type"], "list" | "readLink" | "stat" | "chmod" | "copy" | "sync" | "hash"> & {
  /** A call of the platform, with its failure named by operation and path. */
  readonly attempt: (
    operation: string,
    path: string,
  ) => <A, R>(effect: Effect.Effect<A, PlatformError, R>) => Effect.Effect<A, FileFailed, R>
}

/** Small files are mostly waiting: one after the other, a thousand keys would be half a second of a daemon's downtime. */
const beside = { concurrency: 16 } as const

/** What `DurableFile` does with whole trees, entry by entry; links are kept as links. */
export const makeTrees = (fs: FileSystem.FileSystem, parts: Parts) => {
  const { attempt, list, readLink, stat, chmod, copy, sync, hash } = parts

  type Entry = { readonly name: string; readonly kind: "link" | "directory" | "file" }
  const entries = (directory: string): Effect.Effect<ReadonlyArray<Entry>, FileFailed> =>
    Effect.flatMap(list(directory), (names) =>
      Effect.forEach(
        names,
        (name) =>
          Effect.gen(function* () {
            const path = join(directory, name)
            if (Option.isSome(yield* readLink(path))) return { name, kind: "link" as const }
            const { type } = yield* stat(path)
            if (type === "Directory") return { name, kind: "directory" as const }
            if (type === "File") return { name, kind: "file" as const }
            return yield* new FileFailed({ operation: "read", path, code: NOT_A_FILE })
          }),
        beside,
      ),
    )

  const copyTree = (from: string, to: string): Effect.Effect<void, FileFailed> =>
    Effect.gen(function* () {
      const info = yield* stat(from)
      yield* fs.makeDirectory(to, { mode: info.mode & 0o777 }).pipe(attempt("create the directory", to))
      yield* chmod(to, info.mode & 0o777)
      for (const entry of yield* entries(from)) {
        const source = join(from, entry.name)
        const target = join(to, entry.name)
        if (entry.kind === "directory") yield* copyTree(source, target)
        else if (entry.kind === "link") {
          const link = yield* fs.readLink(source).pipe(attempt("read the link", source))
          yield* fs.symlink(link, target).pipe(attempt("link", target))
        } else yield* copy(source, target, { mode: (yield* stat(source)).mode & 0o777 })
      }
      yield* sync(to)
    })

  const publishTree = (path: string): Effect.Effect<void, FileFailed> =>
    Effect.gen(function* () {
      const give = (child: string, mode: number, wanted: number) =>
        (mode & 0o777) === wanted ? Effect.void : chmod(child, wanted)
      yield* give(path, (yield* stat(path)).mode, 0o755)
      for (const entry of yield* entries(path)) {
        const child = join(path, entry.name)
        if (entry.kind === "directory") yield* publishTree(child)
        else if (entry.kind === "file") {
          const { mode } = yield* stat(child)
          yield* give(child, mode, (mode & 0o100) === 0 ? 0o644 : 0o755)
        }
      }
    })

  const syncTree = (path: string): Effect.Effect<void, FileFailed> =>
    Effect.gen(function* () {
      for (const entry of yield* entries(path)) {
        if (entry.kind === "directory") yield* syncTree(join(path, entry.name))
        else if (entry.kind === "file") yield* sync(join(path, entry.name))
      }
      yield* sync(path)
    })

  const hashTree = (path: string): Effect.Effect<string, FileFailed> =>
    Effect.gen(function* () {
      const lines = yield* Effect.forEach(
        yield* entries(path),
        ({ kind, name }) =>
          Effect.gen(function* () {
            const child = join(path, name)
            const content =
              kind === "directory"
                ? yield* hashTree(child)
                : kind === "link"
                  ? Option.getOrElse(yield* readLink(child), () => "")
                  : (yield* hash(child)).sha256
            return `${kind} ${name}\n${content}\n`
          }),
        beside,
      )
      return createHash("sha256").update(lines.join("")).digest("hex")
    })

  const hashFiles = (path: string, below = ""): Effect.Effect<ReadonlyArray<FileDigest>, FileFailed> =>
    Effect.gen(function* () {
      const found = yield* Effect.forEach(
        yield* entries(path),
        ({ kind, name }) => {
          const child = join(path, name)
          if (kind === "directory") return hashFiles(child, `${below}${name}/`)
          if (kind === "link") return Effect.succeed([])
          return Effect.map(hash(child), ({ sha256 }) => [[`${below}${name}`, sha256] as const])
        },
        beside,
      )
      return found.flat()
    })

  const sizeOfTree = (path: string): Effect.Effect<number, FileFailed> =>
    Effect.gen(function* () {
      let size = 0
      for (const entry of yield* entries(path)) {
        if (entry.kind === "directory") size += yield* sizeOfTree(join(path, entry.name))
        else if (entry.kind === "file") size += Number((yield* stat(join(path, entry.name))).size)
      }
      return size
    })

  return { copyTree, publishTree, syncTree, hashTree, hashFiles, sizeOfTree }
}
