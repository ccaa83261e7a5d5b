/** Makes the installable tarball of any version: `npm run pack -- --out DIR [--version X] [--schema N] [--fault NAME]`. */
import { createHash } from "node:crypto"
import { existsSync, globSync, readFileSync } from "node:fs"
import { chmod, copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { NODE_RANGE } from "@waiaas/domain/NodeRange"
import { ISSUES, REPOSITORY } from "@waiaas/domain/PackageName"
import { PACKAGE_NAME, UPGRADE_PROTOCOL } from "@waiaas/domain/Release"
import { DIRECT_MINORS, rangeFor, stopFor } from "@waiaas/domain/SchemaRange"
import { buildOf, type FileDigest } from "@waiaas/services/BuildDigest"
import { type BuildOptions, build, distFiles, parseReleaseArgs, withOptions } from "./build.mts"
import { cached } from "./lib/cache.mts"
import { cleanEnv, node, npmCli, root, rootManifest } from "./lib/repo.mts"
import { mustRun } from "./lib/run.mts"

export type PackOptions = Omit<BuildOptions, "out">

/** The one runtime dependency, shipped inside the tarball so that an offline install is whole. */
const bundled = "better-sqlite3"

/** What the messages and the README name: an operator may have no network. */
const shownFiles = [
  "README.md",
  "LICENSE",
  "SECURITY.md",
  "docs/operator-guide.md",
  "docs/offline-upgrade.md",
].filter((name) => existsSync(join(root, name)))

/** Sources of the native module: only a compiler reads them, and no install may need one. */
const compilerOnly = /\/(deps|src|tools)$|\.(c|h|gypi?)$/

/**
 * Releases that an install below `minimum` goes through, ascending: it takes the first that is newer than itself.
 * Each migrates everything from the stop before it, so the chain has no gap and no step that a stop cannot make.
 */
export const stopsFor = (minimum: number): ReadonlyArray<string> => {
  const stops: Array<string> = []
  for (let schema = 1; schema < minimum; schema += DIRECT_MINORS - 1) {
    const stop = stopFor(schema)
    if (stop === undefined)
      throw new Error(`releaseOfSchema knows no stop for a database at schema ${schema}`)
    stops.push(stop)
  }
  return stops
}

/** The published `package.json`. */
export const publishedManifest = (version: string, schema: number, code?: string) => {
  const range = rangeFor(schema)
  return {
    name: PACKAGE_NAME,
    version,
    description: "WAIaaS: a self-hosted wallet service for AI agents, with an upgrade that never bricks it",
    keywords: ["wallet", "ai-agents", "self-hosted", "daemon", "ed25519"],
    license: rootManifest.license,
    homepage: `${REPOSITORY}#readme`,
    repository: { type: "git", url: `git+${REPOSITORY}.git`, directory: "packages/cli" },
    bugs: { url: ISSUES },
    type: "module",
    bin: { waiaas: "dist/bin.js" },
    engines: { node: NODE_RANGE },
    files: [...distFiles.map((name) => `dist/${name}`), ...shownFiles.filter((name) => name.includes("."))],
    dependencies: { [bundled]: rootManifest.dependencies?.[bundled] },
    bundleDependencies: [bundled],
    publishConfig: { access: "public", provenance: true },
    waiaas: {
      upgradeProtocol: UPGRADE_PROTOCOL,
      schema: range,
      stops: stopsFor(range.minimum),
      notes: `${REPOSITORY}/blob/main/CHANGELOG.md`,
      ...(code !== undefined && { build: code }),
    },
  }
}

/** npm keeps a file's executable bit; nothing here but `bin.js` may have one, whatever the umask or checkout. */
const normaliseModes = async (directory: string): Promise<void> => {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    await chmod(path, entry.isDirectory() || relative(directory, path) === "dist/bin.js" ? 0o755 : 0o644)
  }
}

const copyBundled = async (staging: string): Promise<void> => {
  const from = join(root, "node_modules", bundled)
  const to = join(staging, "node_modules", bundled)
  const filter = (source: string) => !compilerOnly.test(source)
  await cp(from, to, { recursive: true, filter })
  const nested = join(to, "node_modules/node-addon-api")
  // npm may hoist it; the bundle always nests it.
  const hoisted = join(root, "node_modules/node-addon-api")
  if (!existsSync(nested)) await cp(hoisted, nested, { recursive: true, filter })
}

/** The digest of the code, as an install computes it of its own. */
const codeIn = async (staging: string): Promise<string> =>
  buildOf(
    await Promise.all(
      (await readdir(join(staging, "dist"))).map(async (name): Promise<FileDigest> => {
        const content = await readFile(join(staging, "dist", name))
        return [`dist/${name}`, createHash("sha256").update(content).digest("hex")]
      }),
    ),
  )

const makeTarball = async (options: PackOptions, destination: string): Promise<void> => {
  const staging = await mkdtemp(join(tmpdir(), "waiaas-pack-"))
  try {
    await build({ ...options, out: staging })
    const manifest = publishedManifest(
      options.version ?? rootManifest.version,
      options.schema ?? LATEST_SCHEMA,
      await codeIn(staging),
    )
    await writeFile(join(staging, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`)
    await mkdir(join(staging, "docs"))
    for (const name of shownFiles) await copyFile(join(root, name), join(staging, name))
    await copyBundled(staging)
    await normaliseModes(staging)
    const cache = await mkdtemp(join(tmpdir(), "waiaas-pack-npm-"))
    try {
      await mustRun(node, [npmCli, "pack", "--ignore-scripts", "--pack-destination", destination], {
        cwd: staging,
        env: cleanEnv({ npm_config_cache: cache, npm_config_userconfig: join(cache, "npmrc") }),
      })
    } finally {
      await rm(cache, { recursive: true, force: true })
    }
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

/** Everything that a tarball is made of. */
const keyOf = (options: PackOptions): string => {
  const hash = createHash("sha256").update(JSON.stringify(options))
  const own = ["scripts/build.mts", "scripts/pack.mts", "package.json", "package-lock.json", ...shownFiles]
  const sources = globSync("packages/*/src/**/*.*", { cwd: root }).sort()
  const manifests = globSync("packages/*/package.json", { cwd: root }).sort()
  const entries = Object.values(options.entries ?? {}).map((path) => relative(root, path))
  for (const path of [...own, ...manifests, ...sources, ...entries]) {
    hash.update(`\0${path}\0`).update(readFileSync(join(root, path)))
  }
  return hash.digest("hex").slice(0, 24)
}

const tarballName = (version: string) => `${PACKAGE_NAME.replace("@", "").replace("/", "-")}-${version}.tgz`

/** The path of the tarball, from a cache that is keyed by content. */
export const pack = async (options: PackOptions = {}): Promise<string> =>
  join(
    await cached(
      () => `release-${keyOf(options)}`,
      (directory) => makeTarball(options, directory),
    ),
    tarballName(options.version ?? rootManifest.version),
  )

if (import.meta.main)
  await withOptions(async () => {
    const { out, ...options } = parseReleaseArgs(process.cwd())
    const tarball = await pack(options)
    await mkdir(out, { recursive: true })
    const target = join(out, tarballName(options.version ?? rootManifest.version))
    await copyFile(tarball, target)
    console.log(target)
  })
