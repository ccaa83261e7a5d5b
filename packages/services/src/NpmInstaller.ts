import { dirname, join, resolve } from "node:path"
import type { FileFailed } from "@waiaas/domain/DataErrors"
import { hiddenPaths, type Install, installOf, packagePaths } from "@waiaas/domain/Install"
import {
  CandidateBroken,
  CandidateRefused,
  NotNpmGlobal,
  NpmFailed,
  type NpmFailureKind,
} from "@waiaas/domain/PackageErrors"
import { redactText } from "@waiaas/domain/Redact"
import { PACKAGE_NAME, ReleaseDocument } from "@waiaas/domain/Release"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { Privilege } from "./platform/Privilege.ts"
import { ProcessFailed, type ProcessResult, ProcessRunner } from "./platform/ProcessRunner.ts"

/** What to install: a registry version, or a tarball for an offline upgrade. */
export type Source =
  | { readonly _tag: "Registry"; readonly version: string }
  | { readonly _tag: "Tarball"; readonly file: string }

const decodeRelease = Schema.decodeUnknownOption(Schema.parseJson(ReleaseDocument))

/** One small answer, whatever the size of the release. */
const QUERY_LIMIT = Duration.seconds(60)
/** npm's own patience is minutes, and a closed port would come out as its time-out. In milliseconds. */
const QUERY_PATIENCE = [
  "--fetch-retries=1",
  "--fetch-retry-mintimeout=500",
  "--fetch-retry-maxtimeout=1000",
  "--fetch-timeout=20000",
]
/**
 * How often an install is looked at, and how many looks in a row may find no change: what npm downloads arrives in
 * the staging directory as it comes, so a slow network is waited for and a stuck npm is not. These 15 minutes are
 * as long as npm itself tries to reach a registry that does not answer. The daemon serves all along.
 */
const LOOK_EVERY = Duration.seconds(30)
const IDLE_LOOKS = 30

/** Talks to npm: finds how `waiaas` was installed, resolves releases, stages candidates. Changes nothing that runs. */
export class NpmInstaller extends Context.Tag("@waiaas/services/NpmInstaller")<
  NpmInstaller,
  {
    /** The npm global install that this code belongs to. */
    readonly install: Effect.Effect<Install, NotNpmGlobal | FileFailed>
    /** Fails unless that version stands in the package's place: asked again under the lock. */
    readonly expectInstalled: (
      install: Install,
      version: string,
    ) => Effect.Effect<void, CandidateRefused | FileFailed>
    /** The registry that npm uses for this install, without credentials. */
    readonly registry: (install: Install) => Effect.Effect<string, NpmFailed>
    /** The release that an exact version or a dist-tag names. */
    readonly resolve: (install: Install, spec: string) => Effect.Effect<ReleaseDocument, NpmFailed>
    /**
     * Installs a candidate with npm into the run's staging prefix, on the file system of the global
     * root, and makes it durable. Gives what its own `package.json` says.
     */
    readonly stage: (
      install: Install,
      run: number,
      source: Source,
    ) => Effect.Effect<ReleaseDocument, NpmFailed | CandidateBroken | FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const files = yield* DurableFile
      const environment = yield* Environment
      const privilege = yield* Privilege

      /** npm's own entry point, beside the Node that runs this: never a name looked up in PATH. */
      const npmCli = Effect.gen(function* () {
        const bin = dirname(environment.node)
        for (const candidate of [
          join(bin, "npm"),
          join(dirname(bin), "lib/node_modules/npm/bin/npm-cli.js"),
        ]) {
          const found = yield* files.exists(candidate)
          if (found) return yield* files.realPath(candidate)
        }
        return yield* new NpmFailed({
          kind: "no-npm",
          asked: "(any command)",
          output: `looked beside ${environment.node}`,
        })
      }).pipe(
        Effect.catchTag(
          "FileFailed",
          (error) => new NpmFailed({ kind: "no-npm", asked: "(any command)", output: error.message }),
        ),
      )

      /** Fails once an npm at work has changed nothing in a directory for too long. */
      const idleIn = (directory: string, command: string) =>
        Effect.gen(function* () {
          let before = 0
          for (let idle = 0; idle < IDLE_LOOKS; idle++) {
            yield* Effect.sleep(LOOK_EVERY)
            const size = yield* files.sizeOfTree(directory).pipe(
              // What was just listed and is gone was moved: that is a change.
              Effect.catchIf(
                ({ code }) => code === "ENOENT",
                () => Effect.succeed(Number.NaN),
              ),
              Effect.mapError(
                ({ message }) => new ProcessFailed({ command, reason: "other", output: message }),
              ),
            )
            if (size !== before) idle = -1
            before = size
          }
          return yield* new ProcessFailed({ command, reason: "timeout", output: "" })
        })

      /** `patience`: how long it may take, or the directory that it fills for as long as it takes. */
      const npm = (install: Install, args: ReadonlyArray<string>, patience: Duration.Duration | string) =>
        Effect.gen(function* () {
          const cli = yield* npmCli
          const asked = args.filter((arg) => !arg.startsWith("--")).join(" ")
          const command = environment.node
          const isWatched = typeof patience === "string"
          const result = yield* runner
            .run({
              command,
              args: [
                cli,
                ...args,
                "--global",
                `--globalconfig=${join(install.prefix, "etc", "npmrc")}`,
                "--no-audit",
                "--no-fund",
                "--no-update-notifier",
                "--loglevel=error",
              ],
              // A .npmrc where the operator happens to stand has no say.
              cwd: install.prefix,
              env: {
                ...environment.variables,
                PATH: `${dirname(environment.node)}:${environment.variables.PATH ?? "/usr/bin:/bin"}`,
              },
              timeout: isWatched ? Duration.infinity : patience,
              asInstaller: true,
            })
            .pipe(
              (asking) =>
                isWatched
                  ? // Both sides by name: what cannot be interrupted is waited for.
                    Effect.raceFirst(
                      Effect.interruptible(asking),
                      Effect.interruptible(idleIn(patience, command)),
                    )
                  : asking,
              privilege.asInstaller,
              Effect.mapError(
                (error) =>
                  new NpmFailed({
                    kind: error.reason === "timeout" ? "timeout" : "other",
                    asked,
                    output: lastLines(error.output),
                  }),
              ),
            )
          if (result.exitCode !== 0)
            return yield* new NpmFailed({
              kind: kindOf(result),
              asked,
              output: lastLines(result.stderr || result.stdout),
            })
          return { stdout: result.stdout, asked }
        })

      const readPackage = (directory: string) =>
        Effect.gen(function* () {
          const text = yield* files.readText(packagePaths(directory).manifest)
          return decodeRelease(text)
        })

      return NpmInstaller.of({
        install: Effect.gen(function* () {
          const packageDir = yield* files.realPath(environment.packageDir)
          const install = installOf(packageDir, environment.node)
          const refuse = (manager: string, command: string) =>
            new NotNpmGlobal({ manager, packageDir, command })
          if (environment.container)
            return yield* refuse("a container image", "docker compose pull && docker compose up -d")
          const other = otherManager(packageDir)
          if (other) return yield* refuse(other.manager, other.command)
          if (install === null) return yield* refuse("a source checkout", "git pull && npm ci")
          if (Option.isNone(yield* files.readLink(install.binLink)))
            return yield* refuse(
              "something else than npm install --global",
              `npm install --global ${PACKAGE_NAME}`,
            )
          return install
        }),
        expectInstalled: (install, version) =>
          Effect.gen(function* () {
            const found = yield* readPackage(install.packageDir)
            if (Option.exists(found, (manifest) => manifest.version === version)) return
            return yield* new CandidateRefused({
              version,
              reason: `the installed package is ${Option.match(found, { onNone: () => "not readable", onSome: (manifest) => manifest.version })} by now`,
              command: "waiaas upgrade --status",
            })
          }),
        registry: Effect.fn("NpmInstaller.registry")(function* (install: Install) {
          const { stdout, asked } = yield* npm(install, ["config", "get", "registry"], QUERY_LIMIT)
          const text = stdout.trim().split("\n").at(-1) ?? ""
          if (!URL.canParse(text))
            return yield* new NpmFailed({ kind: "unexpected-output", asked, output: "" })
          const url = new URL(text)
          url.username = ""
          url.password = ""
          return url.href
        }),
        resolve: Effect.fn("NpmInstaller.resolve")(function* (install: Install, spec: string) {
          const { stdout, asked } = yield* npm(
            install,
            [
              "view",
              `${PACKAGE_NAME}@${spec}`,
              "name",
              "version",
              "engines",
              "deprecated",
              "bin",
              "waiaas",
              "dist",
              "--json",
              ...QUERY_PATIENCE,
            ],
            QUERY_LIMIT,
          )
          if (stdout.trim() === "")
            return yield* new NpmFailed({ kind: "no-such-version", asked, output: "" })
          return yield* Schema.decodeUnknown(Schema.parseJson(ReleaseDocument))(stdout).pipe(
            Effect.mapError(
              () => new NpmFailed({ kind: "unexpected-output", asked, output: lastLines(stdout) }),
            ),
          )
        }),
        stage: Effect.fn("NpmInstaller.stage")(function* (install: Install, run: number, source: Source) {
          const hidden = hiddenPaths(install.hidden)
          const staging = hidden.staging(run)
          yield* privilege.asInstaller(
            Effect.gen(function* () {
              yield* files.remove(staging)
              yield* files.makeDirectory(install.hidden, 0o755)
              yield* files.makeDirectory(join(staging, "lib"), 0o755)
            }),
          )
          const spec =
            source._tag === "Registry"
              ? [`${PACKAGE_NAME}@${source.version}`]
              : [resolve(environment.cwd ?? "/", source.file), "--offline"]
          yield* npm(install, ["install", ...spec, `--prefix=${staging}`, "--ignore-scripts"], staging)
          const staged = hidden.stagedPackage(run)
          const broken = (problem: string) =>
            new CandidateBroken({
              version: source._tag === "Registry" ? source.version : source.file,
              problem,
            })
          if (!(yield* files.isDirectory(staged))) return yield* broken(`npm installed no ${PACKAGE_NAME}`)
          const manifest = Option.getOrNull(yield* readPackage(staged))
          if (manifest === null || manifest.name !== PACKAGE_NAME)
            return yield* broken(`its package.json is none of ${PACKAGE_NAME}`)
          if (source._tag === "Registry" && manifest.version !== source.version)
            return yield* broken(`npm installed version ${manifest.version}`)
          for (const path of [
            packagePaths(staged).bin,
            packagePaths(staged).daemon,
            packagePaths(staged).tool,
          ])
            if (!(yield* files.exists(path))) return yield* broken(`${path} is missing`)
          // npm syncs nothing: a power cut after its exit 0 can leave empty files.
          yield* privilege.asInstaller(files.syncTree(staging))
          return manifest
        }),
      })
    }),
  )
}

const managers: ReadonlyArray<readonly [RegExp, manager: string, command: string]> = [
  [/\/\.pnpm\/|\/pnpm\/global\//, "pnpm", `pnpm add --global ${PACKAGE_NAME}@latest`],
  [/\/\.config\/yarn\/|\/\.yarn\//, "yarn", `yarn global add ${PACKAGE_NAME}@latest`],
  [/\/\.bun\//, "bun", `bun add --global ${PACKAGE_NAME}@latest`],
  // Its Node's global packages are npm's own: only the formula is Homebrew's.
  [/\/Cellar\/waiaas\//, "Homebrew", "brew upgrade waiaas"],
  [/\/\.volta\//, "Volta", `volta install ${PACKAGE_NAME}@latest`],
]

/** Another package manager that owns the directory; the daemon must be stopped before its command. */
export const otherManager = (
  packageDir: string,
): { readonly manager: string; readonly command: string } | null => {
  for (const [pattern, manager, command] of managers)
    if (pattern.test(packageDir))
      return { manager, command: `waiaas backup create && waiaas stop && ${command} && waiaas start` }
  return null
}

const kinds: ReadonlyArray<readonly [RegExp, NpmFailureKind]> = [
  [/\bENOSPC\b|no space left/i, "no-space"],
  [/\bEINTEGRITY\b|integrity checksum failed|\bETARBALL\b|TAR_BAD_ARCHIVE|\bEBADCHECKSUM\b/i, "integrity"],
  [/min-release-age|with a date before|\bETARGET\b[\s\S]*before/i, "too-young"],
  [/\bETARGET\b|\bE404\b|No matching version|No match found/i, "no-such-version"],
  [/\bEACCES\b|\bEPERM\b|\bEROFS\b/i, "no-permission"],
  [/allow-scripts|\bESTRICTALLOWSCRIPTS\b|install scripts? .*(blocked|not allowed)/i, "script-blocked"],
  [
    /\bENOTFOUND\b|\bECONNREFUSED\b|\bECONNRESET\b|\bETIMEDOUT\b|\bEAI_AGAIN\b|\bENETUNREACH\b|\bENOTCACHED\b|\bEHOSTUNREACH\b|\bE50\d\b|\bERR_SOCKET|network/i,
    "no-network",
  ],
]

/** Which kind of failure npm's words tell of. */
export const kindOf = (result: Pick<ProcessResult, "stdout" | "stderr">): NpmFailureKind => {
  const text = `${result.stderr}\n${result.stdout}`
  return kinds.find(([pattern]) => pattern.test(text))?.[1] ?? "other"
}

const lastLines = (text: string): string =>
  redactText(text)
    .split("\n")
    .filter((line) => line.trim() !== "" && !/A complete log of this run|_logs\//.test(line))
    .slice(-8)
    .join("\n")
