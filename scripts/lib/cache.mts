/** What takes long to make and depends on its inputs alone: made once per content, by whichever process is first. */
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { root } from "./repo.mts"

const cacheDir = join(root, "node_modules/.cache/waiaas")
const dayMs = 86_400_000

const dropOldEntries = async (): Promise<void> => {
  for (const name of await readdir(cacheDir)) {
    const path = join(cacheDir, name)
    const info = await stat(path).catch(() => undefined)
    if (info !== undefined && Date.now() - info.mtimeMs > dayMs) {
      await rm(path, { recursive: true, force: true })
    }
  }
}

/**
 * The directory that `make` fills. `keyOf` names everything that its content depends on; where that
 * changed meanwhile, what was made is of neither state and is made again. Safe from many processes at once.
 */
export const cached = async (
  keyOf: () => string,
  make: (directory: string) => Promise<void>,
): Promise<string> => {
  const key = keyOf()
  const entry = join(cacheDir, key)
  if (existsSync(entry)) return entry
  await mkdir(cacheDir, { recursive: true })
  await dropOldEntries()
  const partial = await mkdtemp(join(cacheDir, "partial-"))
  try {
    await make(partial)
    if (keyOf() !== key) return await cached(keyOf, make)
    await rename(partial, entry).catch((error: NodeJS.ErrnoException) => {
      // Another process was first, with the same content.
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error
    })
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
  return entry
}
