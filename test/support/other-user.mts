/** Another user of this machine, where this one may become it. */
import { chmodSync, copyFileSync, linkSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"

/** What to spawn a process with, so that it is another user's. */
export const asOther = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

/** A Node that everybody may run: this one may be where only its owner gets to, such as below `mktemp -d`. */
export const nodeForAll = Effect.acquireRelease(
  Effect.sync(() => {
    const directory = mkdtempSync(join(tmpdir(), "waiaas-node-"))
    chmodSync(directory, 0o755)
    const node = join(directory, "node")
    try {
      linkSync(process.execPath, node)
    } catch {
      // Another file system.
      copyFileSync(process.execPath, node)
    }
    return { directory, node }
  }),
  ({ directory }) => Effect.sync(() => rmSync(directory, { recursive: true, force: true })),
).pipe(Effect.map(({ node }) => node))
