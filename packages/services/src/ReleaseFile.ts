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

/** Reads the metadata of a package tarball without unpacking it. */
export class ReleaseFile extends Context.Tag("@waiaas/services/ReleaseFile")<
  ReleaseFile,
  {
    readonly read: (file: string) => Effect.Effect<ReleaseDocument, BadTarget | FileFailed>
    /** The content of each file in it, by its path below the package. */
    readonly files: (file: string) => Effect.Effect<ReadonlyArray<FileDigest>, BadTarget | FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.map(DurableFile, (files) => {
      const broken = (file: string, problem: string) =>
        new BadTarget({ target: file, problem, instead: howToMakeOne })
      const reading = <A>(file: string, use: () => Promise<A>) =>
        Effect.tryPromise({
          try: use,
          catch: (cause) => {
            const { code, syscall } = cause as NodeJS.ErrnoException
            if (code !== undefined && syscall !== undefined)
              return new FileFailed({ operation: "read", path: file, code })
            // The unpacker's own code; the archive reader's begin with TAR.
            return code?.startsWith("Z_")
              ? broken(file, "it is incomplete or damaged: compare its checksum with the original's")
              : broken(file, "it is no gzipped tarball")
          },
        })
      return {
        read: Effect.fn("ReleaseFile.read")(function* (file: string) {
          const { type } = yield* files.stat(file)
          if (type === "Directory")
            return yield* new FileFailed({ operation: "read", path: file, code: "EISDIR" })
          // A named pipe would be waited for without an end.
          if (type !== "File") return yield* broken(file, "it is no ordinary file")
          const text = yield* reading(file, () => packageJson(file))
          const release = Schema.decodeUnknownOption(Schema.parseJson(ReleaseDocument))(text)
          if (Option.isNone(release) || release.value.name !== PACKAGE_NAME)
            return yield* broken(file, `it holds no ${PACKAGE_NAME} package`)
          return release.value
        }),
        files: (file) => reading(file, () => contents(file)),
      }
    }),
  )
}

/** Evaluated on use: no other command pays for it. It is in the same bundle, so no file is read late. */
const loadTar = () => import("tar")

const packageJson = async (file: string): Promise<string> => {
  const tar = await loadTar()
  const chunks: Array<Buffer> = []
  await tar.list({
    file,
    strict: true,
    filter: (path) => path === "package/package.json",
    onReadEntry: (entry) => {
      entry.on("data", (chunk: Buffer) => chunks.push(chunk))
    },
  })
  return Buffer.concat(chunks).toString("utf8")
}

const contents = async (file: string): Promise<ReadonlyArray<FileDigest>> => {
  const tar = await loadTar()
  const found = new Map<string, Hash>()
  await tar.list({
    file,
    strict: true,
    onReadEntry: (entry) => {
      if (entry.type !== "File" && entry.type !== "OldFile") return
      const digest = createHash("sha256")
      // npm takes the first part of a path away, whatever its name is.
      found.set(entry.path.replace(/^[^/]*\//, ""), digest)
      entry.on("data", (chunk: Buffer) => digest.update(chunk))
    },
  })
  return [...found].map(([path, digest]) => [path, digest.digest("hex")] as const)
}
