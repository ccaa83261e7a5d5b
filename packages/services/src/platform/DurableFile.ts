import { basename, dirname, join } from "node:path"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { NOT_UTF8 } from "@waiaas/domain/FileWords"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { FileDigest } from "../BuildDigest.ts"
import { CHUNK, type CopyOptions, codeOfOdd, makeContents, textOf } from "./FileContents.ts"
import { makeTrees } from "./FileTrees.ts"

/** One name for every probe: what a killed one leaves is taken away by the next. */
export const PROBE_FILE = ".waiaas-probe"
/** Not allowed here, or no room for a name. */
const notChangeable = ["EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT"]

const codeOfReason: Record<string, string> = {
  NotFound: "ENOENT",
  PermissionDenied: "EACCES",
  AlreadyExists: "EEXIST",
  Busy: "EBUSY",
}

/** The system's own code of a failed call. */
export const errnoOf = (error: PlatformError): string => {
  const cause = error._tag === "SystemError" ? error.cause : undefined
  if (typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string")
    return cause.code
  return error._tag === "SystemError" ? (codeOfReason[error.reason] ?? error.reason) : "EINVAL"
}

const isMissing = ({ code }: FileFailed): boolean => code === "ENOENT" || code === "ENOTDIR"

/** Where a file may not be removed the platform tries it as a directory, and fails with what comes of that. */
const namedRight = (error: FileFailed): FileFailed =>
  error.code === "ENOTDIR" ? new FileFailed({ ...error, code: "EPERM" }) : error

/** Writing nothing is no failure, though the platform counts it as one. */
const writeAll = (file: FileSystem.File, content: Uint8Array) =>
  content.length === 0 ? Effect.void : file.writeAll(content)

/**
 * Files that must survive a power cut. A write is durable when its effect ends: the content is
 * synced, and so is every directory whose entries changed. Files are 0600, directories 0700.
 */
export class DurableFile extends Context.Tag("@waiaas/services/DurableFile")<
  DurableFile,
  {
    readonly exists: (path: string) => Effect.Effect<boolean, FileFailed>
    /** The text of a file, every byte of it: what is not UTF-8 is refused, never replaced. */
    readonly readText: (path: string) => Effect.Effect<string, FileFailed>
    /** The text as `readText` gives it; none where the file is not there. */
    readonly readTextIfThere: (path: string) => Effect.Effect<Option.Option<string>, FileFailed>
    /** The text of what others write or a power cut has torn, with a mark for each byte that is not UTF-8. */
    readonly readAnyTextIfThere: (path: string) => Effect.Effect<Option.Option<string>, FileFailed>
    /** Entry names, sorted; empty where the directory is not there. */
    readonly list: (directory: string) => Effect.Effect<ReadonlyArray<string>, FileFailed>
    readonly isDirectory: (path: string) => Effect.Effect<boolean, FileFailed>
    readonly stat: (path: string) => Effect.Effect<FileSystem.File.Info, FileFailed>
    /** None where nothing is there. */
    readonly statIfThere: (path: string) => Effect.Effect<Option.Option<FileSystem.File.Info>, FileFailed>
    /** The system's code where this user may not write, none where it may; nothing is written. */
    readonly writeRefusal: (path: string) => Effect.Effect<Option.Option<string>, FileFailed>
    readonly realPath: (path: string) => Effect.Effect<string, FileFailed>
    /** Target of a link; none where there is no link. */
    readonly readLink: (path: string) => Effect.Effect<Option.Option<string>>
    /** Replaces the file by temporary file, sync, rename, directory sync. */
    readonly write: (path: string, text: string, mode?: number) => Effect.Effect<void, FileFailed>
    /** Adds to the end of a file and syncs it; creates it if it is not there. */
    readonly append: (path: string, text: string, mode?: number) => Effect.Effect<void, FileFailed>
    /** A file of `size` bytes of real, allocated space. */
    readonly reserve: (path: string, size: number) => Effect.Effect<void, FileFailed>
    readonly makeDirectory: (path: string, mode?: number) => Effect.Effect<void, FileFailed>
    readonly chmod: (path: string, mode: number) => Effect.Effect<void, FileFailed>
    readonly syncDirectory: (path: string) => Effect.Effect<void, FileFailed>
    /** Changes a directory, where this user may, and syncs it: after a sync that failed, another one alone does nothing. */
    readonly renewDirectory: (path: string) => Effect.Effect<void, FileFailed>
    /** Makes a file's content durable. */
    readonly sync: (path: string) => Effect.Effect<void, FileFailed>
    /** Renames and syncs both directories. */
    readonly rename: (from: string, to: string) => Effect.Effect<void, FileFailed>
    /** Removes a file or a tree; nothing to remove is fine. */
    readonly remove: (path: string) => Effect.Effect<void, FileFailed>
    /** Makes `path` a link to `target`, replacing what is there in one rename. */
    readonly link: (target: string, path: string) => Effect.Effect<void, FileFailed>
    /** Copies a file that this process has not open through SQLite, hashes what was read, and syncs the copy. */
    readonly copy: (
      from: string,
      to: string,
      options?: CopyOptions,
    ) => Effect.Effect<{ readonly size: number; readonly sha256: string }, FileFailed>
    readonly hash: (
      path: string,
    ) => Effect.Effect<{ readonly size: number; readonly sha256: string }, FileFailed>
    /** Gives a file's content in parts, each of them until the next one, as far as its size at the opening. */
    readonly eachChunk: <E>(
      path: string,
      use: (chunk: Uint8Array) => Effect.Effect<void, E>,
    ) => Effect.Effect<void, FileFailed | E>
    /** Copies a tree (files, directories, links) and syncs all of it. `to` must not exist. */
    readonly copyTree: (from: string, to: string) => Effect.Effect<void, FileFailed>
    /** Lets everybody read a tree, and run what its owner may run: 0755 and 0644, whatever the umask was. */
    readonly publishTree: (path: string) => Effect.Effect<void, FileFailed>
    /** Syncs every file and directory of a tree. */
    readonly syncTree: (path: string) => Effect.Effect<void, FileFailed>
    /** sha256 over names, kinds and contents of a tree. */
    readonly hashTree: (path: string) => Effect.Effect<string, FileFailed>
    /** The content of each file of a tree, by its path below it; links are none. */
    readonly hashFiles: (path: string) => Effect.Effect<ReadonlyArray<FileDigest>, FileFailed>
    /** Bytes in a tree. */
    readonly sizeOfTree: (path: string) => Effect.Effect<number, FileFailed>
    /** The device that a path is on: a rename works only inside one. */
    readonly device: (path: string) => Effect.Effect<number, FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem

      const attempt =
        (operation: string, path: string) =>
        <A, R>(effect: Effect.Effect<A, PlatformError, R>): Effect.Effect<A, FileFailed, R> =>
          // A call that was begun is waited for: an interruption must not leave it to happen during the undo.
          Effect.uninterruptible(effect).pipe(
            Effect.mapError((error) => new FileFailed({ operation, path, code: errnoOf(error) })),
          )
      const orIfMissing =
        <B>(otherwise: B) =>
        <A, R>(effect: Effect.Effect<A, FileFailed, R>): Effect.Effect<A | B, FileFailed, R> =>
          Effect.catchIf(effect, isMissing, () => Effect.succeed(otherwise))

      const readLink = (path: string) => Effect.option(fs.readLink(path))
      const exists = (path: string) =>
        Effect.flatMap(fs.exists(path).pipe(attempt("inspect", path)), (there) =>
          // A dangling link is there too: it has to be seen before something is put in its place.
          there ? Effect.succeed(true) : Effect.map(readLink(path), Option.isSome),
        )
      const stat = (path: string) => fs.stat(path).pipe(attempt("inspect", path))
      const statIfThere = (path: string) =>
        Effect.map(stat(path), Option.some).pipe(orIfMissing(Option.none<FileSystem.File.Info>()))
      const isDirectory = (path: string) =>
        Effect.map(
          statIfThere(path),
          Option.exists(({ type }) => type === "Directory"),
        )
      /** Seen before it is opened: a named pipe would keep whoever opens it to write, and no signal ends that wait. */
      const expectFile = (operation: string, path: string) =>
        Effect.flatMap(fs.stat(path).pipe(attempt(operation, path)), (info) => {
          const code = codeOfOdd(info)
          return code === null ? Effect.succeed(info) : new FileFailed({ operation, path, code })
        })
      const list = (directory: string) =>
        fs.readDirectory(directory).pipe(
          attempt("list", directory),
          orIfMissing([] as Array<string>),
          Effect.map((names) => [...names].sort()),
        )

      const sync = (path: string) =>
        Effect.scoped(
          Effect.flatMap(fs.open(path, { flag: "r" }), (file) => file.sync).pipe(
            attempt("make durable", path),
          ),
        )
      const syncDirectory = sync
      const renewDirectory = (path: string) =>
        Effect.gen(function* () {
          // A change, so that there is something to be written. What is there under this name is not followed.
          const probe = join(path, PROBE_FILE)
          const touched = Effect.zipRight(
            Effect.scoped(fs.open(probe, { flag: "wx", mode: 0o600 })).pipe(
              attempt("change", path),
              Effect.catchIf(
                ({ code }) => code === "EEXIST",
                () => Effect.void,
              ),
            ),
            // One that was cut off leaves a file or a directory.
            fs.remove(probe, { recursive: true }).pipe(attempt("change", path), Effect.mapError(namedRight)),
          )
          yield* Effect.catchIf(
            touched,
            ({ code }) => notChangeable.includes(code),
            () => Effect.void,
          )
          yield* syncDirectory(path)
        })

      const chmod = (path: string, mode: number) =>
        fs.chmod(path, mode).pipe(attempt("set the mode of", path))

      const writeNew = (path: string, content: Uint8Array, mode: number) =>
        Effect.scoped(
          Effect.gen(function* () {
            const file = yield* fs.open(path, { flag: "w", mode })
            yield* fs.chmod(path, mode)
            yield* writeAll(file, content)
            yield* file.sync
          }).pipe(attempt("write", path)),
        )

      const rename = (from: string, to: string) =>
        Effect.gen(function* () {
          yield* fs.rename(from, to).pipe(attempt("rename to", to))
          yield* syncDirectory(dirname(to))
          if (dirname(from) !== dirname(to)) yield* syncDirectory(dirname(from))
        })

      const remove = (path: string) =>
        Effect.gen(function* () {
          if (!(yield* exists(path))) return
          yield* fs.remove(path, { recursive: true }).pipe(
            attempt("remove", path),
            Effect.catchIf(isMissing, (error) =>
              Effect.flatMap(exists(path), (there) => (there ? namedRight(error) : Effect.void)),
            ),
          )
          yield* syncDirectory(dirname(path)).pipe(orIfMissing(undefined))
        })

      const makeDirectory = (path: string, given?: number): Effect.Effect<void, FileFailed> =>
        Effect.gen(function* () {
          const there = Option.filter(yield* statIfThere(path), ({ type }) => type === "Directory")
          if (Option.isSome(there)) {
            // Whoever made it may have been killed before it set the mode that others need to use it.
            if (given !== undefined && (there.value.mode & given) !== given)
              yield* Effect.catchIf(
                chmod(path, there.value.mode | given),
                ({ code }) => notChangeable.includes(code),
                () => Effect.void,
              )
            return
          }
          yield* makeParents(dirname(path), given)
          const mode = given ?? 0o700
          yield* fs.makeDirectory(path, { mode }).pipe(
            attempt("create the directory", path),
            // Another process made it meanwhile: two data directories can begin on one install at once.
            Effect.catchIf(
              ({ code }) => code === "EEXIST",
              (error) => Effect.flatMap(isDirectory(path), (is) => (is ? Effect.void : error)),
            ),
          )
          yield* chmod(path, mode)
          if (given !== undefined) yield* sync(path)
          yield* syncDirectory(dirname(path))
        })
      const makeParents = (path: string, given?: number) =>
        Effect.flatMap(isDirectory(path), (is) => (is ? Effect.void : makeDirectory(path, given)))

      const { readBytes, ...contents } = makeContents(fs, { attempt, chmod })
      const readText = (path: string) => Effect.flatMap(readBytes(path), (bytes) => textOf(path, bytes))
      const trees = makeTrees(fs, { attempt, list, readLink, stat, chmod, sync, ...contents })

      return DurableFile.of({
        exists,
        stat,
        statIfThere,
        isDirectory,
        list,
        readLink,
        chmod,
        syncDirectory,
        renewDirectory,
        sync,
        rename,
        remove,
        makeDirectory,
        ...contents,
        ...trees,
        writeRefusal: (path) =>
          fs.access(path, { writable: true }).pipe(
            attempt("inspect", path),
            Effect.as(Option.none<string>()),
            Effect.catchIf(
              ({ code }) => ["EACCES", "EPERM", "EROFS"].includes(code),
              ({ code }) => Effect.succeed(Option.some(code)),
            ),
          ),
        realPath: (path) => fs.realPath(path).pipe(attempt("resolve", path)),
        readText,
        readTextIfThere: (path) =>
          Effect.map(readText(path), Option.some).pipe(orIfMissing(Option.none<string>())),
        readAnyTextIfThere: (path) =>
          readBytes(path).pipe(
            Effect.map((bytes) => Option.some(Buffer.from(bytes).toString("utf8"))),
            orIfMissing(Option.none<string>()),
          ),
        write: (path, text, mode = 0o600) =>
          Effect.gen(function* () {
            const temporary = join(dirname(path), `.${basename(path)}.tmp`)
            if (Option.exists(yield* statIfThere(temporary), (info) => codeOfOdd(info) !== null))
              yield* remove(temporary)
            yield* Effect.zipRight(
              writeNew(temporary, Buffer.from(text), mode),
              rename(temporary, path),
              // The failure that is reported is the first one; what is left of it helps nobody.
            ).pipe(Effect.onError(() => Effect.orElseSucceed(remove(temporary), () => undefined)))
          }),
        append: (path, text, mode = 0o600) =>
          Effect.gen(function* () {
            const isNew = Option.isNone(
              yield* Effect.map(expectFile("append to", path), Option.some).pipe(orIfMissing(Option.none())),
            )
            yield* Effect.scoped(
              Effect.gen(function* () {
                const file = yield* fs.open(path, { flag: "a", mode })
                if (isNew) yield* fs.chmod(path, mode)
                yield* writeAll(file, Buffer.from(text))
                yield* file.sync
              }).pipe(attempt("append to", path)),
            )
            if (isNew) yield* syncDirectory(dirname(path))
          }),
        reserve: (path, size) =>
          Effect.scoped(
            Effect.gen(function* () {
              const file = yield* fs.open(path, { flag: "w", mode: 0o600 })
              const zeros = new Uint8Array(CHUNK)
              for (let left = size; left > 0; left -= CHUNK)
                yield* file.writeAll(zeros.subarray(0, Math.min(left, CHUNK)))
              yield* file.sync
            }).pipe(attempt("reserve space in", path)),
          ),
        link: (target, path) =>
          Effect.gen(function* () {
            const temporary = join(dirname(path), `.${basename(path)}.tmp`)
            yield* remove(temporary)
            yield* fs.symlink(target, temporary).pipe(attempt("link", temporary))
            yield* rename(temporary, path)
          }),
        device: (path) => Effect.map(stat(path), (info) => info.dev),
      })
    }),
  )
}

const jsonSchemas = new WeakMap<object, unknown>()
/** One per schema: a schema that is made again is compiled again. */
const jsonOf = <A, I>(schema: Schema.Schema<A, I>): Schema.Schema<A, string> => {
  const known = jsonSchemas.get(schema) as Schema.Schema<A, string> | undefined
  if (known !== undefined) return known
  const made = Schema.parseJson(schema)
  jsonSchemas.set(schema, made)
  return made
}

/** Decodes a small JSON file with a schema; none where it is not there or is not what it should be. */
export const readJsonIfValid = <A, I>(schema: Schema.Schema<A, I>, path: string) => {
  const decode = Schema.decodeUnknownOption(jsonOf(schema))
  return Effect.gen(function* () {
    const files = yield* DurableFile
    const text = yield* files.readTextIfThere(path).pipe(
      Effect.catchIf(
        ({ code }) => code === NOT_UTF8,
        () => Effect.succeed(Option.none<string>()),
      ),
    )
    return Option.flatMap(text, (content) => decode(content))
  })
}
