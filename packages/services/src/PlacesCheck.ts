import { dirname, join } from "node:path"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { PlaceNotChangeable } from "@waiaas/domain/PlaceErrors"
import * as Effect from "effect/Effect"
import type { DataPaths } from "./platform/DataDir.ts"
import { type DurableFile, PROBE_FILE } from "./platform/DurableFile.ts"
import { mountPoints } from "./platform/Mounts.ts"
import { realPlace } from "./platform/RealPlace.ts"

type Files = typeof DurableFile.Service

/** What an operator can end at that place; anything else is a failure of its own, such as a full disk. */
const hindrances = ["EPERM", "EACCES", "EROFS", "EBUSY"]
/** The system had no objection to the file itself; one that is not there is nobody's to move. */
const movable = ["EISDIR", "ENOTEMPTY", "EEXIST", "ENOENT"]

const refusal = (
  path: string,
  act: PlaceNotChangeable["act"],
  code: string,
): PlaceNotChangeable | FileFailed =>
  hindrances.includes(code)
    ? new PlaceNotChangeable({ path, act, code })
    : new FileFailed({
        operation: act === "replace it" ? "rename" : "create and remove a file in",
        path,
        code,
      })

/** Creates a file and removes it, as every durable write does with its own: an append-only directory allows the first alone. */
const expectWritable = (files: Files, directory: string) =>
  Effect.gen(function* () {
    const probe = join(directory, PROBE_FILE)
    // What a killed one left may be of the other kind.
    yield* files.remove(probe)
    // Without a temporary file, which a kill could leave.
    yield* files.append(probe, "")
    yield* files.remove(probe)
  }).pipe(Effect.mapError(({ code }) => refusal(directory, "create and remove files in it", code)))

/**
 * Renames each file onto a directory, which the system refuses last of all: what is immutable, only grows, or is another
 * user's in a sticky directory, it refuses for that before. Nothing changes either way.
 */
const expectMovable = (files: Files, directory: string, paths: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const probe = join(directory, PROBE_FILE)
    yield* files.makeDirectory(probe)
    for (const path of paths) {
      const code = yield* files.rename(path, probe).pipe(
        // Never seen: no file system puts a file in the place of a directory. It goes back at once.
        Effect.zipRight(Effect.as(files.rename(probe, path), "a directory was replaced")),
        Effect.catchAll((error) => Effect.succeed(error.code)),
      )
      if (!movable.includes(code)) return yield* refusal(path, "replace it", code)
    }
  }).pipe(
    // The failure that is reported is the first one; the next probe takes away what is left.
    Effect.ensuring(Effect.orElseSucceed(files.remove(join(directory, PROBE_FILE)), () => undefined)),
  )

/** The files of one database: SQLite's own. */
export const filesOfDatabase = (database: string): ReadonlyArray<string> =>
  ["", "-wal", "-shm", "-journal"].map((suffix) => `${database}${suffix}`)

/**
 * Tries, while the daemon serves, what later steps, an undo and the daemon's start do to the places of a data directory: by
 * the same calls, for neither modes nor `access` say what is immutable, append-only or mounted. `moved`: the files that
 * this run or its undo moves away or replaces.
 */
export const expectChangeable = (
  files: Files,
  paths: DataPaths,
  moved: ReadonlyArray<string>,
): Effect.Effect<void, PlaceNotChangeable | FileFailed> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const log = yield* realPlace(files, join(paths.logs, "daemon.out.log"))
      const all = [...moved, paths.facts, paths.probation, log, `${log}.1`]
      const places = new Map<string, Array<string>>(
        [paths.root, paths.backups, paths.upgrade, paths.journals, paths.logs].map((path) => [path, []]),
      )
      for (const path of all) places.set(dirname(path), [...(places.get(dirname(path)) ?? []), path])
      const mounts = yield* mountPoints(files)
      for (const [directory, inIt] of places) {
        yield* expectWritable(files, directory)
        const mounted = inIt.find((path) => mounts.has(path))
        if (mounted !== undefined) return yield* refusal(mounted, "replace it", "EBUSY")
        if (inIt.length > 0) yield* expectMovable(files, directory, inIt)
      }
    }),
  )
