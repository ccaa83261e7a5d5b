/** Biome and the rules of the house. Every finding is `file:line: rule: what to do`. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { docs } from "./docs.mts"
import { type Manifest, node, readManifest, root, rootManifest } from "./lib/repo.mts"
import { mustRun, run } from "./lib/run.mts"

/** Files of packages/*\/src that may do what the rest asks a service for. Each with its reason; keep it short. */
const allowed = {
  "process.env": [
    // Before any layer is there.
    "packages/cli/src/bin.ts",
    "packages/cli/src/main.ts",
    "packages/cli/src/RunToExit.ts",
    // The layers whose job it is.
    "packages/services/src/platform/Environment.ts",
    "packages/services/src/platform/ProcessRunner.ts",
  ],
  "system clock": [
    // A logger's own complaint comes from outside of any fiber.
    "packages/daemon/src/Log.ts",
  ],
  "global fetch": [],
  "node:fs": [
    "packages/cli/src/bin.ts",
    // What @effect/platform's FileSystem does not offer: statfs, lstat, /proc, synchronous appends of a log.
    "packages/services/src/platform/DiskSpace.ts",
    "packages/services/src/platform/Shortage.ts",
    "packages/services/src/platform/Environment.ts",
    "packages/services/src/platform/Ownership.ts",
    "packages/services/src/platform/Processes.ts",
    "packages/services/src/platform/OutputLog.ts",
    "packages/services/src/platform/ProcessRunner.ts",
    "packages/services/src/platform/ProcessTable.ts",
    "packages/daemon/src/RotatingFile.ts",
  ],
  token: [
    // Each of them proves the daemon first, through LoopbackClient.
    "packages/services/src/DaemonControl.ts",
    "packages/services/src/DaemonClient.ts",
    "packages/services/src/UpdateNotifier.ts",
    // The daemon's own side.
    "packages/services/src/TokenFile.ts",
    "packages/daemon/src/ApiToken.ts",
    // The registry's token, for the registry.
    "packages/services/src/VersionCheck.ts",
  ],
  FetchHttpClient: [
    // For the registry; what talks to the daemon is given LoopbackClient.
    "packages/daemon/src/main.ts",
  ],
  catchAllCause: [
    "packages/cli/src/main.ts",
    // Supervised loop.
    "packages/daemon/src/BackgroundWorkers.ts",
    // The edge: every cause becomes an answer.
    "packages/daemon/src/Http/App.ts",
    // A bad database never turns /health into an error; it is logged.
    "packages/daemon/src/HealthReport.ts",
    // The SQLite client throws where it cannot open a file; re-failed typed.
    "packages/services/src/Database.ts",
  ],
} satisfies Record<string, ReadonlyArray<string>>

/** Which of our packages a package may import. */
const mayImport: Record<string, ReadonlyArray<string>> = {
  domain: [],
  services: ["domain"],
  daemon: ["domain", "services"],
  cli: ["domain", "services"],
  desktop: ["domain"],
}

const maxLines = 400

interface Rule {
  readonly name: string
  /** Files that it reads. */
  readonly files: RegExp
  readonly except?: ReadonlyArray<string>
  readonly pattern: RegExp
  readonly advice: string
}

const source = /^packages\/[^/]+\/src\/.*\.ts$/
const typescript = /\.m?ts$/

/** Hosts of the public npm registries, put together here so that this file does not name them. */
const registryHosts = [
  ["registry", "npmjs", "org"],
  ["npmjs", "com"],
  ["registry", "yarnpkg", "com"],
  ["npm", "pkg", "github", "com"],
  ["registry", "npmmirror", "com"],
  ["npm", "jsr", "io"],
].map((labels) => labels.join("\\."))

const rules: ReadonlyArray<Rule> = [
  {
    name: "barrel import",
    files: typescript,
    pattern: /\bfrom "(effect|@effect\/(?!vitest")[a-z-]+)"/,
    advice: "import the module by its sub-path",
  },
  {
    name: "swallowed failure",
    files: source,
    pattern: /\bEffect\.ignore\b|catchAllCause\(\s*\(\)|\.catch\(\(\) *=>/,
    advice: "handle it, or let it fail",
  },
  {
    name: "catchAllCause",
    files: source,
    except: allowed.catchAllCause,
    pattern: /\bcatchAllCause\b/,
    advice: "only main, finalizers and supervised loops (scripts/lint.mts lists them)",
  },
  {
    name: "process.env",
    files: source,
    except: allowed["process.env"],
    pattern: /\bprocess\.env\b/,
    advice: "take it from a service",
  },
  {
    name: "system clock",
    files: source,
    except: allowed["system clock"],
    pattern: /\bDate\.now\b|\bnew Date\(\)/,
    advice: "use Clock",
  },
  {
    name: "global fetch",
    files: source,
    except: allowed["global fetch"],
    pattern: /(?<![\w.])fetch\(/,
    advice: "use HttpClient",
  },
  {
    name: "API token",
    files: source,
    except: allowed.token,
    pattern: /\breadToken\b/,
    advice: "ask through DaemonClient: the token is for the proven daemon alone",
  },
  {
    name: "fetch client",
    files: source,
    except: allowed.FetchHttpClient,
    pattern: /\bFetchHttpClient\.layer\b/,
    advice: "use LoopbackClient for the daemon; the command asks nobody else",
  },
  {
    name: "node:fs",
    files: source,
    except: allowed["node:fs"],
    pattern: /"node:fs(\/promises)?"/,
    advice: "use FileSystem or DurableFile",
  },
  {
    name: "registry host",
    files: /./,
    pattern: new RegExp(`(?<![\\w-])(${registryHosts.join("|")})\\b`, "i"),
    advice: "no package registry's host name stands in the repository",
  },
  {
    name: "lockfile address",
    files: /^package-lock\.json$/,
    pattern: /"resolved": "[a-z+]+:/,
    advice: "package-lock.json holds no addresses (omit-lockfile-registry-resolved)",
  },
  {
    name: "constant time",
    files: /^packages\/daemon\/src\/ApiToken\.ts$/,
    // Whether it is there at all is no secret.
    pattern:
      /[!=]==?(?!=)(?!\s*undefined)|\.equals\(|\.compare\(|Object\.is\(|\.(startsWith|includes|indexOf)\(/,
    advice: "compare a secret with timingSafeEqual",
  },
  {
    name: "words",
    files:
      /^(README|SECURITY|CONTRIBUTING|CHANGELOG)\.md$|^(docs|packages)\/.*\.md$|^packages\/[^/]+\/src\/.*\.ts$|^packaging\//,
    pattern: /\b([Tt]old|[Tt]ells|heard|[Ww]ish(es)?)\b/,
    advice: "say it with reported, says, finds or request: who reads it may know little English",
  },
  {
    name: "words",
    files: /\.md$/,
    pattern: /\b(stands|meets|settles?|settled)\b|\bof before\b/i,
    advice: "say it with is in place, finds, ends or previous: who reads it may know little English",
  },
  {
    name: "words",
    files: /\.test\.m?ts$/,
    pattern: /^\s*(?:(?:it|test|describe)[\w.]*\()?["'`].*\b(told|tells|heard|wish|stands)\b.*["'`],/,
    advice: "a title says what holds, in plain words: reported, says, finds, is in place",
  },
  {
    name: "skipped or focused test",
    files: /\.test\.m?ts$/,
    pattern: /\b(it|test|describe|layer)[a-zA-Z.]*\.(skip|only|todo)\b/,
    advice: "every test runs in every build",
  },
]

const trackedFiles = async (): Promise<ReadonlyArray<string>> => {
  const args = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"]
  const { stdout } = await mustRun("git", args, { cwd: root })
  return stdout.split("\0").filter((path) => path !== "" && existsSync(join(root, path)))
}

const isBinary = (text: string) => text.slice(0, 8192).includes("\0")

const layering = (path: string, line: string): string | undefined => {
  const from = /^packages\/([^/]+)\/(src|test)\//.exec(path)?.[1]
  const to = /\bfrom "@waiaas\/([^/"]+)/.exec(line)?.[1]
  if (from === undefined || to === undefined || from === to || mayImport[from]?.includes(to)) return undefined
  return `layering: ${from} may not import ${to}`
}

/** What the rules say of one file's text. */
export const findingsIn = (path: string, text: string): ReadonlyArray<string> => {
  const mine = rules.filter((rule) => rule.files.test(path) && !rule.except?.includes(path))
  const lines = text.split("\n")
  const findings = lines.flatMap((line, index) => {
    const said = mine.filter((rule) => rule.pattern.test(line)).map((rule) => `${rule.name}: ${rule.advice}`)
    const layer = layering(path, line)
    return (layer === undefined ? said : [...said, layer]).map((what) => `${path}:${index + 1}: ${what}`)
  })
  const length = text.endsWith("\n") ? lines.length - 1 : lines.length
  return source.test(path) && length > maxLines
    ? [...findings, `${path}:${maxLines + 1}: file length: ${length} lines, at most ${maxLines}`]
    : findings
}

const inFile = (path: string): ReadonlyArray<string> => {
  const text = readFileSync(join(root, path), "utf8")
  return isBinary(text) ? [] : findingsIn(path, text)
}

const exact = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/

const lineOf = (path: string, needle: string): number =>
  Math.max(
    1,
    readFileSync(join(root, path), "utf8")
      .split("\n")
      .findIndex((line) => line.includes(needle)) + 1,
  )

const inManifests = (): ReadonlyArray<string> => {
  const findings: Array<string> = []
  for (const workspace of [".", ...(rootManifest.workspaces ?? [])]) {
    const path = join(workspace, "package.json")
    const manifest: Manifest = readManifest(workspace)
    if (manifest.version !== rootManifest.version) {
      findings.push(
        `${path}:${lineOf(path, '"version"')}: version: all workspaces are ${rootManifest.version}`,
      )
    }
    const { dependencies, devDependencies, optionalDependencies, overrides } = manifest
    const pins = { ...dependencies, ...devDependencies, ...optionalDependencies, ...overrides }
    for (const [name, range] of Object.entries(pins)) {
      if (!exact.test(range)) {
        findings.push(`${path}:${lineOf(path, `"${name}"`)}: pin: ${name} has to be exact, not ${range}`)
      }
    }
  }
  const build = "packages/domain/src/Build.ts"
  if (!readFileSync(join(root, build), "utf8").includes(`"${rootManifest.version}"`)) {
    findings.push(`${build}:${lineOf(build, "VERSION")}: version: not ${rootManifest.version}`)
  }
  return findings
}

/** Exit code: 0 without a finding. */
export const lint = async (): Promise<number> => {
  const biome = await run(
    node,
    [join(root, "node_modules/@biomejs/biome/bin/biome"), "check", "--error-on-warnings", "."],
    { cwd: root, show: true },
  )
  const findings = [...(await trackedFiles()).flatMap(inFile), ...inManifests(), ...docs({ check: true })]
  for (const finding of findings) console.error(finding)
  return biome.code === 0 && findings.length === 0 ? 0 : 1
}

if (import.meta.main) process.exitCode = await lint()
