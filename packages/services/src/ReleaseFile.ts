import { createHash, type Hash } from "node:crypto"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { BadTarget } from "@waiaas/domain/PackageErrors"
import { PACKAGE_NAME, ReleaseDocument } from "@waiaas/domain/Release"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { FileDigest } from "./BuildDigest.ts"
import { DurableFile } from "./platform/DurableFile.ts"

const howToMakeOne = `Make the tarball with \`npm pack ${PACKAGE_NAME}\`, and give its name to --from.`

/** A package tarball as it was read, once. */
export interface ReleaseTarball {
  readonly release: ReleaseDocument
  /** The content of each file in it, by its path below the package. */
  readonly files: ReadonlyArray<FileDigest>
  /** Of the tarball itself: what is installed has to be just these bytes. */
  readonly sha256: string
}

/** Reads a package tarball without unpacking it, and keeps what was read from being exchanged. */
export class ReleaseFile extends Context.Tag("@waiaas/services/ReleaseFile")<
  ReleaseFile,
  { readonly read: (file: string) => Effect.Effect<ReleaseTarball, BadTarget | FileFailed> }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.map(DurableFile, (files) => {
      const broken = (file: string, problem: string) =>
        new BadTarget({ target: file, problem, instead: howToMakeOne })
      const damaged = (file: string) => (cause: unknown) => {
        if (cause instanceof TooLarge) return broken(file, cause.message)
        // The unpacker's own code; the archive reader's begin with TAR.
        return (cause as NodeJS.ErrnoException).code?.startsWith("Z_")
          ? broken(file, "it is incomplete or damaged: compare its checksum with the original's")
          : broken(file, "it is no gzipped tarball")
      }
      return {
        read: Effect.fn("ReleaseFile.read")(function* (file: string) {
          const { type, size } = yield* files.stat(file)
          if (type === "Directory")
            return yield* new FileFailed({ operation: "read", path: file, code: "EISDIR" })
          // A named pipe would be waited for without an end.
          if (type !== "File") return yield* broken(file, "it is no ordinary file")
          if (Number(size) > MOST_BYTES) return yield* broken(file, "it is larger than a release can be")
          const { text, ...read } = yield* contents(files.eachChunk, file, damaged(file))
          const release = Schema.decodeUnknownOption(Schema.parseJson(ReleaseDocument))(text)
          if (Option.isNone(release) || release.value.name !== PACKAGE_NAME)
            return yield* broken(file, `it holds no ${PACKAGE_NAME} package`)
          return { release: release.value, ...read }
        }),
      }
    }),
  )
}

/** Bytes of a tarball, bytes that it unpacks to, files in it, bytes of its package.json: far more than a release has. */
const MOST_BYTES = 256 * 1024 * 1024
const MOST_UNPACKED = 2 * 1024 * 1024 * 1024
const MOST_FILES = 100_000
const MOST_MANIFEST = 1024 * 1024

class TooLarge extends Error {}

/** Evaluated on use: no other command pays for it. It is in the same bundle, so no file is read late. */
const loadTar = () => import("tar")

/** One pass: what is judged, compared and hashed are the same bytes. */
const contents = (
  eachChunk: Context.Tag.Service<typeof DurableFile>["eachChunk"],
  file: string,
  failed: (cause: unknown) => BadTarget,
) =>
  Effect.gen(function* () {
    const tar = yield* Effect.promise(loadTar)
    const found = new Map<string, Hash>()
    const manifest: Array<Buffer> = []
    const whole = createHash("sha256")
    let unpacked = 0
    let entries = 0
    let trouble: unknown
    const parser = tar.list({
      strict: true,
      onReadEntry: (entry) => {
        unpacked += entry.size
        entries++
        const isManifest = entry.path === "package/package.json"
        if (unpacked > MOST_UNPACKED || entries > MOST_FILES || (isManifest && entry.size > MOST_MANIFEST))
          trouble ??= new TooLarge("it unpacks to more than a release can be")
        if (trouble !== undefined || (entry.type !== "File" && entry.type !== "OldFile")) return
        const digest = createHash("sha256")
        // npm takes the first part of a path away, whatever its name is.
        found.set(entry.path.replace(/^[^/]*\//, ""), digest)
        entry.on("data", (chunk: Buffer) => {
          digest.update(chunk)
          if (isManifest) manifest.push(chunk)
        })
      },
    })
    const ended = new Promise<void>((resolve) => {
      parser.on("end", resolve)
      parser.on("error", (cause) => {
        trouble ??= cause
        resolve()
      })
    })
    yield* eachChunk(file, (chunk) =>
      Effect.suspend(() => {
        whole.update(chunk)
        // A copy: the next part is read into the same place.
        if (trouble === undefined) parser.write(Buffer.from(chunk))
        return trouble === undefined ? Effect.void : failed(trouble)
      }),
    )
    parser.end()
    yield* Effect.promise(() => ended)
    if (trouble !== undefined) return yield* failed(trouble)
    return {
      text: Buffer.concat(manifest).toString("utf8"),
      files: [...found].map(([path, digest]) => [path, digest.digest("hex")] as const),
      sha256: whole.digest("hex"),
    }
  })
