import { statfs } from "node:fs/promises"
import { FileFailed } from "@waiaas/domain/DataErrors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const networkTypes = new Set([0x6969, 0xff534d42, 0x517b, 0xfe534d42, 0x01021997, 0x65735546])

/** What a file system has left, and of what kind it is. */
export class DiskSpace extends Context.Tag("@waiaas/services/DiskSpace")<
  DiskSpace,
  {
    /** Bytes that this user may still write on the file system of `path`. */
    readonly available: (path: string) => Effect.Effect<number, FileFailed>
    /** NFS, SMB, FUSE and the like, whose locks and syncs cannot be relied on. */
    readonly isNetwork: (path: string) => Effect.Effect<boolean, FileFailed>
  }
>() {
  static readonly layer = Layer.sync(this, () => {
    const look = (path: string) =>
      Effect.tryPromise({
        try: () => statfs(path),
        catch: (cause) =>
          new FileFailed({
            operation: "ask the free space of",
            path,
            code: (cause as NodeJS.ErrnoException).code ?? "EIO",
          }),
      })
    return {
      available: (path) => Effect.map(look(path), (info) => info.bavail * info.bsize),
      isNetwork: (path) => Effect.map(look(path), (info) => networkTypes.has(info.type)),
    }
  })
}
