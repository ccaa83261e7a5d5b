import { dirname } from "node:path"
import type { FileFailed } from "@waiaas/domain/DataErrors"
import { NoSpace } from "@waiaas/domain/PackageErrors"
import * as Effect from "effect/Effect"
import type { DiskSpace } from "./platform/DiskSpace.ts"
import type { DurableFile } from "./platform/DurableFile.ts"

/** Bytes that a recovery can count on for its journal, its logs and a daemon's start. */
export const RESERVE = 8 * 1024 * 1024
/** Beyond the sizes that are known: a migration grows a database, npm unpacks beside its cache. */
const HEADROOM = 64 * 1024 * 1024

/** Bytes that a run will need at a path. */
export type Wanted = ReadonlyArray<readonly [path: string, bytes: number]>

/** Fails where a file system has less than all that is wanted of it, while nothing has been touched. */
export const expectSpace = (
  files: typeof DurableFile.Service,
  disk: typeof DiskSpace.Service,
  wanted: Wanted,
): Effect.Effect<void, NoSpace | FileFailed> =>
  Effect.gen(function* () {
    const sums = new Map<number, { readonly path: string; readonly bytes: number }>()
    for (const [path, bytes] of wanted) {
      const device = yield* files.device(path)
      sums.set(device, { path, bytes: (sums.get(device)?.bytes ?? 0) + bytes })
    }
    for (const { path, bytes } of sums.values()) {
      const needed = bytes + HEADROOM
      const available = yield* disk.available(path)
      if (available < needed) return yield* new NoSpace({ path, needed, available })
    }
  })

/** What an upgrade and its undo need at most; `copy`: what the undo keeps next to a database on another file system. */
export const wantedOfUpgrade = (
  { upgrade, backups }: { readonly upgrade: string; readonly backups: string },
  install: { readonly root: string; readonly packageSize: number },
  database: { readonly path: string; readonly size: number; readonly copy: number },
): Wanted => [
  // The rehearsal's copy, its migrated growth and what it is compared with, gone before the backup is made.
  [upgrade, database.size * 3 + RESERVE],
  [install.root, install.packageSize * 3],
  // On another file system: the backup there, the migration's growth and the undo's copy here.
  ...(database.copy === 0
    ? []
    : ([
        [backups, database.size],
        [dirname(database.path), database.size + database.copy],
      ] as const)),
]

/** Bytes of a database with its write-ahead log, which may belong to a daemon that serves. */
export const sizeOfDatabase = (files: typeof DurableFile.Service, database: string) =>
  Effect.gen(function* () {
    let bytes = 0
    for (const suffix of ["", "-wal"])
      bytes += yield* files.stat(`${database}${suffix}`).pipe(
        Effect.map((info) => Number(info.size)),
        // The log comes and goes with the daemon.
        Effect.catchIf(
          ({ code }) => code === "ENOENT",
          () => Effect.succeed(0),
        ),
      )
    return bytes
  })
