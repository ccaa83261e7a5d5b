import { basename, dirname, join, resolve } from "node:path"
import { FileFailed } from "@waiaas/domain/DataErrors"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { DurableFile } from "./DurableFile.ts"

/** As many links as the system follows. */
const MOST_LINKS = 40

/**
 * Resolves where a path leads, whether or not something is there: an operator may have made the file, or a directory above
 * it, a link. A rename onto a link replaces the link, and SQLite's log is beside the file that the link leads to.
 */
export const realPlace = (
  files: Pick<DurableFile["Type"], "realPath" | "readLink">,
  path: string,
  followed = 0,
): Effect.Effect<string, FileFailed> =>
  Effect.gen(function* () {
    const directory = yield* files.realPath(dirname(path)).pipe(
      // What is not there yet is no link.
      Effect.catchIf(
        ({ code }) => code === "ENOENT" || code === "ENOTDIR",
        () => Effect.succeed(dirname(path)),
      ),
    )
    const place = join(directory, basename(path))
    const target = yield* files.readLink(place)
    if (Option.isNone(target)) return place
    if (followed >= MOST_LINKS) return yield* new FileFailed({ operation: "resolve", path, code: "ELOOP" })
    return yield* realPlace(files, resolve(directory, target.value), followed + 1)
  })
