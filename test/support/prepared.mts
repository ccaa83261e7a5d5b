/** What many tests begin with, made by npm itself once and copied from then on: an installed release, a registry's storage. */
import { constants } from "node:fs"
import { cp, rm, symlink } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { cached } from "../../scripts/lib/cache.mts"
import { type Machine, makeMachine } from "./machine.mts"
import { Registry } from "./registry.mts"
import { release } from "./releases.mts"

const scope = "lib/node_modules/@waiaas"
const copyTree = (from: string, to: string) =>
  cp(from, to, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE })

/** Names a release's content: the directory that it is kept in. */
const keyOf = (tarball: string) => basename(dirname(tarball))

/** The machine as after `npm install --global` of a release, in the place of what is installed there. */
export const installPrepared = async (machine: Machine, version: string, schema: number): Promise<void> => {
  const tarball = await release(version, schema)
  const prepared = await cached(
    () => `installed-${keyOf(tarball)}`,
    async (directory) => {
      const template = await makeMachine()
      try {
        await template.installGlobal(tarball)
        await copyTree(join(template.prefix, scope), join(directory, scope))
      } finally {
        await template.destroy()
      }
    },
  )
  for (const path of [join(machine.prefix, scope), machine.bin])
    await rm(path, { recursive: true, force: true })
  await copyTree(join(prepared, scope), join(machine.prefix, scope))
  await symlink("../lib/node_modules/@waiaas/cli/dist/bin.js", machine.bin)
}

/** The storage of a registry to which the releases were published, oldest first. */
export const preparedStorage = async (
  releases: ReadonlyArray<readonly [version: string, schema: number]>,
): Promise<string> => {
  const tarballs = await Promise.all(releases.map(([version, schema]) => release(version, schema)))
  const prepared = await cached(
    () => `registry-${tarballs.map(keyOf).join("-")}`,
    async (directory) => {
      const registry = await Registry.start()
      try {
        for (const tarball of tarballs) await registry.publish(tarball)
        await copyTree(registry.storage, join(directory, "storage"))
      } finally {
        await registry.stop()
      }
    },
  )
  return join(prepared, "storage")
}
