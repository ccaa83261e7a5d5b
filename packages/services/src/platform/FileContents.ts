import { createHash } from "node:crypto"
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { NOT_A_FILE, NOT_UTF8 } from "@waiaas/domain/FileWords"
import * as Effect from "effect/Effect"

type Parts = {
  /** A call of the platform, with its failure named by operation and path. */
  readonly attempt: (
    operation: string,
    path: string,
  ) => <A, R>(effect: Effect.Effect<A, PlatformError, R>) => Effect.Effect<A, FileFailed, R>
  readonly chmod: (path: string, mode: number) => Effect.Effect<void, FileFailed>
}

export interface CopyOptions {
  readonly mode?: number
  /** Whose rights make and write the copy, where they are not those that the original is opened with. */
  readonly writer?: <A, E, R>(act: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export const CHUNK = 4 * 1024 * 1024

/** Bytes of a text that is read whole; nothing of ours gets near it. */
const MOST_TEXT = 16 * 1024 * 1024

/** What keeps something from being read as a file of ours; `null` for an ordinary file. */
export const codeOfOdd = (
  { type, size }: FileSystem.File.Info,
  most = Number.POSITIVE_INFINITY,
): string | null =>
  type === "Directory" ? "EISDIR" : type !== "File" ? NOT_A_FILE : Number(size) > most ? "EFBIG" : null

/** The text that bytes are; two files that differ never give one text. */
export const textOf = (path: string, bytes: Uint8Array): Effect.Effect<string, FileFailed> =>
  Effect.try({
    try: () => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes),
    catch: () => new FileFailed({ operation: "read", path, code: NOT_UTF8 }),
  })

/** What `DurableFile` does with the content of files: read, hashed and copied through what was opened and inspected. */
export const makeContents = (fs: FileSystem.FileSystem, { attempt, chmod }: Parts) => {
  /**
   * An ordinary file that is open, and its size. It is inspected before, since a named pipe would keep whoever opens it and
   * no signal ends that wait, and afterwards, since another one may have come into its place.
   */
  const opened = (operation: string, path: string) =>
    Effect.gen(function* () {
      const expect = (info: FileSystem.File.Info) => {
        const code = codeOfOdd(info)
        return code === null ? Effect.succeed(info) : new FileFailed({ operation, path, code })
      }
      yield* Effect.flatMap(fs.stat(path).pipe(attempt(operation, path)), expect)
      const file = yield* fs.open(path, { flag: "r" }).pipe(attempt(operation, path))
      const info = yield* Effect.flatMap(file.stat.pipe(attempt(operation, path)), expect)
      return { file, size: Number(info.size) }
    })

  /** By few calls: a short command reads a dozen of them. */
  const readBytes = (path: string): Effect.Effect<Uint8Array, FileFailed> =>
    Effect.gen(function* () {
      const code = codeOfOdd(yield* fs.stat(path).pipe(attempt("read", path)), MOST_TEXT)
      if (code !== null) return yield* new FileFailed({ operation: "read", path, code })
      return yield* fs.readFile(path).pipe(attempt("read", path))
    })

  /** Bytes that come after the size at the opening are not read: a file that grows for ever would never end. */
  const eachOf = <E>(
    path: string,
    { file, size }: { readonly file: FileSystem.File; readonly size: number },
    use: (chunk: Uint8Array) => Effect.Effect<void, E>,
  ): Effect.Effect<void, FileFailed | E> =>
    Effect.gen(function* () {
      // A tree of many small files must not cost a large buffer each.
      const buffer = new Uint8Array(Math.min(CHUNK, size))
      for (let left = size; left > 0; ) {
        const chunk = buffer.subarray(0, Math.min(left, buffer.length))
        const count = Number(yield* file.read(chunk).pipe(attempt("read", path)))
        if (count === 0) return
        left -= count
        yield* use(chunk.subarray(0, count))
      }
    })

  const eachChunk = <E>(path: string, use: (chunk: Uint8Array) => Effect.Effect<void, E>) =>
    Effect.scoped(Effect.flatMap(opened("read", path), (source) => eachOf(path, source, use)))

  const hash = (path: string) =>
    Effect.scoped(
      Effect.gen(function* () {
        const digest = createHash("sha256")
        let size = 0
        yield* eachOf(path, yield* opened("open", path), (chunk) =>
          Effect.sync(() => {
            digest.update(chunk)
            size += chunk.length
          }),
        )
        return { size, sha256: digest.digest("hex") }
      }),
    )

  const copy = (from: string, to: string, { mode = 0o600, writer = (act) => act }: CopyOptions = {}) =>
    Effect.scoped(
      Effect.gen(function* () {
        const source = yield* opened("open", from)
        return yield* writer(
          Effect.gen(function* () {
            const digest = createHash("sha256")
            let size = 0
            const target = yield* fs.open(to, { flag: "w", mode }).pipe(attempt("create", to))
            yield* chmod(to, mode)
            yield* eachOf(from, source, (chunk) =>
              Effect.suspend(() => {
                digest.update(chunk)
                size += chunk.length
                return target.writeAll(chunk).pipe(attempt("write", to))
              }),
            )
            yield* target.sync.pipe(attempt("make durable", to))
            return { size, sha256: digest.digest("hex") }
          }),
        )
      }),
    )

  return { readBytes, eachChunk, hash, copy }
}
