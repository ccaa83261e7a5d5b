import { FileFailed } from "@waiaas/domain/DataErrors"
import { BadTarget } from "@waiaas/domain/PackageErrors"
import { PACKAGE_NAME, ReleaseDocument } from "@waiaas/domain/Release"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { DurableFile } from "./platform/DurableFile.ts"

const howToMakeOne = `Make the tarball with \`npm pack ${PACKAGE_NAME}\`, and give its name to --from.`

/** Reads the metadata of a package tarball without unpacking it. */
export class ReleaseFile extends Context.Tag("@waiaas/services/ReleaseFile")<
  ReleaseFile,
  { readonly read: (file: string) => Effect.Effect<ReleaseDocument, BadTarget | FileFailed> }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.map(DurableFile, (files) => ({
      read: Effect.fn("ReleaseFile.read")(function* (file: string) {
        const broken = (problem: string) => new BadTarget({ target: file, problem, instead: howToMakeOne })
        const { type } = yield* files.stat(file)
        if (type === "Directory")
          return yield* new FileFailed({ operation: "read", path: file, code: "EISDIR" })
        // A named pipe would be waited for without an end.
        if (type !== "File") return yield* broken("it is no ordinary file")
        const text = yield* Effect.tryPromise({
          try: () => packageJson(file),
          catch: (cause) => {
            const { code, syscall } = cause as NodeJS.ErrnoException
            if (code !== undefined && syscall !== undefined)
              return new FileFailed({ operation: "read", path: file, code })
            // The unpacker's own code; the archive reader's begin with TAR.
            return code?.startsWith("Z_")
              ? broken("it is incomplete or damaged: compare its checksum with the original's")
              : broken("it is no gzipped tarball")
          },
        })
        const release = Schema.decodeUnknownOption(Schema.parseJson(ReleaseDocument))(text)
        if (Option.isNone(release) || release.value.name !== PACKAGE_NAME)
          return yield* broken(`it holds no ${PACKAGE_NAME} package`)
        return release.value
      }),
    })),
  )
}

const packageJson = async (file: string): Promise<string> => {
  // Evaluated on use: no other command pays for it. It is in the same bundle, so no file is read late.
  const tar = await import("tar")
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
