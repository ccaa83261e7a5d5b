/** Which build of a release a package is: two builds of one version differ in what is in their files, and in nothing else. */
import { createHash } from "node:crypto"

/** A path below the package, with `/`, and the sha256 of that file's content. */
export type FileDigest = readonly [path: string, sha256: string]

/** One digest of all of them, in whatever order they come. */
export const digestOf = (files: ReadonlyArray<FileDigest>): string => {
  const digest = createHash("sha256")
  for (const [path, sha256] of [...files].sort(([a], [b]) => (a < b ? -1 : 1)))
    digest.update(`${path}\0${sha256}\n`)
  return digest.digest("hex")
}

/** The part that a release names in its own metadata (`waiaas.build`): the code, without that metadata. */
export const buildOf = (files: ReadonlyArray<FileDigest>): string =>
  digestOf(files.filter(([path]) => path.startsWith("dist/")))
