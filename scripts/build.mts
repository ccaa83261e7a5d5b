/** Bundles the published code: `node scripts/build.mts [--out DIR] [--version X] [--schema N] [--fault NAME]`. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { chmod, mkdir, rm, writeFile } from "node:fs/promises"
import { builtinModules } from "node:module"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { isVersion } from "@waiaas/domain/Version"
import * as esbuild from "esbuild"
import { cleanEnv, node, root, rootManifest } from "./lib/repo.mts"
import { mustRun } from "./lib/run.mts"

export interface Entries {
  readonly bin: string
  readonly cli: string
  readonly status: string
  readonly daemon: string
  readonly tool: string
}

export interface BuildOptions {
  /** Directory that gets `dist/`. */
  readonly out: string
  readonly version?: string
  /** Newest migration of the release. */
  readonly schema?: number
  /** Name of a planned fault, for test releases. */
  readonly fault?: string
  readonly entries?: Entries
}

const entriesOfRepository: Entries = {
  bin: join(root, "packages/cli/src/bin.ts"),
  cli: join(root, "packages/cli/src/main.ts"),
  status: join(root, "packages/cli/src/status.ts"),
  daemon: join(root, "packages/daemon/src/main.ts"),
  tool: join(root, "packages/daemon/src/toolMain.ts"),
}

/** The files of `dist/`, for the manifest's exact `files`. */
export const distFiles = [
  "bin.js",
  "cli.js",
  "status.js",
  "daemon.js",
  "tool.js",
  "third-party-licenses.txt",
] as const

// Bundled CommonJS asks for Node's own modules with `require`, which a module does not have.
const requireBanner = `const require = process.getBuiltinModule("node:module").createRequire(import.meta.url);`

/** Modules of Node that code imports at its start and uses late or never: each name of them loads on use. */
const seldomUsed = ["child_process", "crypto", "fs/promises", "https", "perf_hooks", "readline", "zlib"]

/**
 * Node's own modules, each loaded when the code that imports it is. An import statement of the bundle
 * would load all of them at its start, and with each everything that it only offers (`node:http` brings
 * a WebSocket, and with it all of `fetch`).
 */
const builtinsOnUse: esbuild.Plugin = {
  name: "builtins-on-use",
  setup: ({ onResolve, onLoad }) => {
    const names = new Set(builtinModules)
    onResolve({ filter: /^(?:node:)?[a-z_/]+$/ }, ({ path }) => {
      const name = path.replace(/^node:/, "")
      return names.has(name) ? { path: name, namespace: "builtin" } : undefined
    })
    onLoad({ filter: /.*/, namespace: "builtin" }, ({ path }) => {
      const real = `process.getBuiltinModule(${JSON.stringify(`node:${path}`)})`
      if (!seldomUsed.includes(path)) return { contents: `module.exports = ${real}` }
      const getters = Object.keys(process.getBuiltinModule(path) ?? {}).map(
        (name) => `get ${name}() { return ${real}.${name} }`,
      )
      return { contents: `module.exports = { ${getters.join(", ")} }` }
    })
  },
}

/**
 * Errors that a bundle never makes are left out of it: their schemas are built at the start. A bundler
 * cannot know that making a schema has no other effect, so it is informed.
 */
const unusedErrors: esbuild.Plugin = {
  name: "unused-errors",
  setup: ({ onLoad }) => {
    onLoad({ filter: /packages[/\\][a-z]+[/\\]src[/\\]\w*Errors\.ts$/ }, ({ path }) => ({
      loader: "ts",
      contents: readFileSync(path, "utf8")
        .replace(/extends (Schema\.TaggedError<\w+>\(\))\(/g, "extends /* @__PURE__ */ (/* @__PURE__ */ $1)(")
        .replace(/: (Schema\.\w+\()/g, ": /* @__PURE__ */ $1"),
    }))
  },
}

/** What a built command prints for `--help` on a terminal. From the repository's root, where its one dependency is. */
const helpOf = async (cli: string): Promise<string> => {
  const input = `process.stdout.isTTY = true\n${readFileSync(cli, "utf8")}`
  const env = { ...cleanEnv(), NO_COLOR: "" }
  const { stdout } = await mustRun(node, ["--input-type=module", "-", "--help"], { cwd: root, env, input })
  return stdout
}

/** `node_modules/@scope/name` of a bundled input, or nothing for our own code. */
const packageOf = (input: string): string | undefined =>
  /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]

const licencesOf = (inputs: ReadonlyArray<string>): string => {
  const directories = [...new Set(inputs.flatMap((input) => packageOf(join(root, input)) ?? []))].sort()
  return directories
    .map((directory) => {
      const manifest = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"))
      const file = readdirSync(directory).find((name) => /^licen[cs]e/i.test(name))
      const text = file === undefined ? manifest.license : readFileSync(join(directory, file), "utf8").trim()
      return `${manifest.name} ${manifest.version}\n\n${text}\n`
    })
    .join(`\n${"-".repeat(80)}\n\n`)
}

export const build = async (options: BuildOptions): Promise<string> => {
  const dist = join(options.out, "dist")
  const entries = options.entries ?? entriesOfRepository
  const { version = rootManifest.version, schema = LATEST_SCHEMA, fault = "" } = options
  if (!isVersion(version)) throw new Error(`--version: ${version} is not an exact semantic version`)
  if (!Number.isInteger(schema) || schema < 1 || schema > LATEST_SCHEMA) {
    throw new Error(`--schema: a migration number, 1..${LATEST_SCHEMA}`)
  }
  for (const entry of Object.values(entries)) {
    if (!existsSync(entry)) throw new Error(`nothing to bundle: ${entry} does not exist`)
  }
  const common = {
    absWorkingDir: root,
    bundle: true,
    format: "esm",
    platform: "node",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
    define: {
      __WAIAAS_VERSION__: JSON.stringify(version),
      __WAIAAS_SCHEMA__: String(schema),
      __WAIAAS_FAULT__: JSON.stringify(fault),
    },
  } satisfies esbuild.BuildOptions
  await rm(dist, { recursive: true, force: true })
  await mkdir(dist, { recursive: true })
  const graph = (name: "cli" | "status" | "daemon" | "tool", define: Record<string, string> = {}) =>
    esbuild.build({
      ...common,
      define: { ...common.define, ...define },
      entryPoints: [entries[name]],
      outfile: join(dist, `${name}.js`),
      target: "node22",
      external: ["better-sqlite3"],
      banner: { js: requireBanner },
      plugins: [builtinsOnUse, unusedErrors],
      inject: [join(root, "packages/cli/src/Performance.ts")],
      // Their start is waited for again and again, and a shorter text is read sooner.
      minifyIdentifiers: name === "status" || name === "tool",
    })
  const daemon = await graph("daemon")
  // The command has to know a damaged daemon before it becomes it.
  const daemonBytes = String(statSync(join(dist, "daemon.js")).size)
  const bundles = [
    daemon,
    ...(await Promise.all([
      graph("cli", { __WAIAAS_DAEMON_BYTES__: daemonBytes }),
      graph("status"),
      graph("tool"),
    ])),
  ]
  // An old Node has to be able to read it: it is the file that says which Node is needed.
  await esbuild.build({
    ...common,
    entryPoints: [entries.bin],
    outfile: join(dist, "bin.js"),
    target: ["es2020", "node12.20"],
    external: ["./cli.js", "./status.js"],
    banner: { js: "#!/usr/bin/env node" },
    define: { ...common.define, __WAIAAS_HELP__: JSON.stringify(await helpOf(join(dist, "cli.js"))) },
  })
  const inputs = bundles.flatMap(({ metafile }) => Object.keys(metafile.inputs))
  await writeFile(join(dist, "third-party-licenses.txt"), licencesOf(inputs))
  for (const name of distFiles) await chmod(join(dist, name), name === "bin.js" ? 0o755 : 0o644)
  return dist
}

/** Faults that a test release can be made with: the code looks for these names. */
export const faults = ["migrate", "migrate-live", "activate", "activate-live", "start", "crash-loop"] as const

/** A command line of `build` or `pack` that is wrong: one sentence, and no stack. */
export class WrongOptions extends Error {}

/** The options of `build` and `pack` on a command line. */
export const parseReleaseArgs = (
  defaultOut: string,
  args: ReadonlyArray<string> = process.argv.slice(2),
): BuildOptions => {
  const { out, version, schema, fault } = parsed(args)
  if (version !== undefined && !isVersion(version))
    throw new WrongOptions(`--version: ${JSON.stringify(version)} is not an exact version such as 2.1.0.`)
  if (
    schema !== undefined &&
    !(/^\d+$/.test(schema) && Number(schema) >= 1 && Number(schema) <= LATEST_SCHEMA)
  )
    throw new WrongOptions(
      `--schema: a migration number, 1..${LATEST_SCHEMA}, not ${JSON.stringify(schema)}.`,
    )
  if (fault !== undefined && !(faults as ReadonlyArray<string>).includes(fault))
    throw new WrongOptions(`--fault: one of ${faults.join(", ")}, not ${JSON.stringify(fault)}.`)
  return {
    out: resolve(out ?? defaultOut),
    ...(version !== undefined && { version }),
    ...(schema !== undefined && { schema: Number(schema) }),
    ...(fault !== undefined && { fault }),
  }
}

const parsed = (args: ReadonlyArray<string>) => {
  try {
    const options = { out: text, version: text, schema: text, fault: text }
    return parseArgs({ args: [...args], options }).values
  } catch (error) {
    throw new WrongOptions(
      `${error instanceof Error ? error.message.split(". ")[0] : error}. There are --out DIR, --version X, --schema N, --fault NAME.`,
    )
  }
}
const text = { type: "string" } as const

/** Runs a script's main part: wrong options are one sentence on standard error, and exit code 2. */
export const withOptions = async (main: () => Promise<void>): Promise<void> => {
  try {
    await main()
  } catch (error) {
    if (!(error instanceof WrongOptions)) throw error
    console.error(`error: ${error.message}`)
    process.exitCode = 2
  }
}

if (import.meta.main)
  await withOptions(async () => console.log(await build(parseReleaseArgs(join(root, "packages/cli")))))
