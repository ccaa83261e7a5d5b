/** Packages in a simulated disk: a manifest and two files that name their version, so that a mixture shows. */
import { hiddenPaths, type Install, packagePaths } from "@waiaas/domain/Install"
import { Disk } from "./SimulatedDisk.ts"
import { contentOf } from "./SimulatedDiskState.ts"

export const OLD = "2.0.0"
export const NEW = "2.1.0"
export const schemaOf: Readonly<Record<string, number>> = { [OLD]: 4, [NEW]: 5 }

export const install: Install = {
  prefix: "/p",
  root: "/p/lib/node_modules",
  packageDir: "/p/lib/node_modules/@waiaas/cli",
  binLink: "/p/bin/waiaas",
  hidden: "/p/lib/node_modules/.waiaas",
  node: "/p/bin/node",
}
export const hidden = hiddenPaths(install.hidden)
export const dataDir = "/d"
export const database = "/d/data/waiaas.db"

export const releaseOf = (version: string) => ({
  name: "@waiaas/cli",
  version,
  engines: { node: ">=20" },
  bin: { waiaas: "dist/bin.js" },
  waiaas: { upgradeProtocol: 1, schema: { minimum: 3, latest: schemaOf[version] }, stops: [] },
})

/** File name to content. */
export const filesOf = (version: string): ReadonlyArray<readonly [path: string, text: string]> => [
  ["package.json", JSON.stringify(releaseOf(version))],
  ["dist/bin.js", `bin ${version}`],
  ["dist/daemon.js", `daemon ${version}`],
  ["dist/tool.js", `tool ${version}`],
]

/** The code that a package directory holds; null where it is not all there. */
export const codeIn = (
  disk: Disk,
  packageDir: string,
): { readonly version: string; readonly packageDir: string } | null => {
  const text = (path: string): string | null => {
    const node = disk.node(path)
    return node?.kind === "file" ? node.content.text : null
  }
  const version = [OLD, NEW].find((each) => text(packagePaths(packageDir).bin) === `bin ${each}`)
  if (version === undefined) return null
  for (const [path, content] of filesOf(version)) if (text(`${packageDir}/${path}`) !== content) return null
  return { version, packageDir: disk.realPath(packageDir) }
}

/** The code that `waiaas` runs now; null where the command would not work. */
export const commandIn = (disk: Disk): { readonly version: string; readonly packageDir: string } | null => {
  const node = disk.node(install.binLink)
  if (node === null) return null
  return codeIn(disk, disk.realPath(install.binLink).replace(/\/dist\/bin\.js$/, ""))
}

const makeAll = (disk: Disk, directory: string, mode: number): void => {
  if (directory === "" || disk.node(directory) !== null) return
  makeAll(disk, directory.slice(0, directory.lastIndexOf("/")), mode)
  disk.makeDirectory(directory, mode)
}

export const writeFile = (disk: Disk, path: string, text: string, mode: number): void => {
  makeAll(disk, path.slice(0, path.lastIndexOf("/")), mode === 0o600 ? 0o700 : 0o755)
  disk.setContent(disk.open(path, { create: true, truncate: true, mode }), contentOf(text))
}

/** The one sealed key. */
export const keyFile = `${dataDir}/keystore/00000000-0000-4000-8000-000000000001.json`

/** A machine on which the old version was installed with npm and initialised. `isApart`: backups have their own device. */
export const installed = (rows: ReadonlyArray<string>, isApart = false): Disk => {
  const disk = new Disk()
  for (const [path, text] of filesOf(OLD)) writeFile(disk, `${install.packageDir}/${path}`, text, 0o644)
  writeFile(disk, "/p/lib/node_modules/npm/bin/npm-cli.js", "npm", 0o755)
  makeAll(disk, "/p/bin", 0o755)
  disk.symlink("../lib/node_modules/npm/bin/npm-cli.js", "/p/bin/npm")
  disk.symlink("../lib/node_modules/@waiaas/cli/dist/bin.js", install.binLink)
  writeFile(disk, `${dataDir}/config.toml`, "[daemon]\nport = 3100\n", 0o600)
  writeFile(disk, `${dataDir}/api.token`, "5".repeat(64), 0o600)
  writeFile(disk, keyFile, "sealed", 0o600)
  if (isApart) disk.mount(`${dataDir}/backups`, 0o700, 2)
  for (const name of ["logs", "backups", "upgrade/journal"]) makeAll(disk, `${dataDir}/${name}`, 0o700)
  writeFile(disk, database, JSON.stringify({ schema: schemaOf[OLD], rows }), 0o600)
  disk.pending = []
  return disk
}
