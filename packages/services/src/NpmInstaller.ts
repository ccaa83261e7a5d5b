import { join, resolve } from "node:path"
import type { FileFailed } from "@waiaas/domain/DataErrors"
import { hiddenPaths, type Install, installOf, packagePaths } from "@waiaas/domain/Install"
import type { NpmFailureKind } from "@waiaas/domain/NpmFailure"
import { type AgeLimit, ageLimitFor, registryFor } from "@waiaas/domain/NpmSettings"
import {
  BadTarget,
  CandidateBroken,
  CandidateRefused,
  NotNpmGlobal,
  NpmFailed,
} from "@waiaas/domain/PackageErrors"
import { redactText } from "@waiaas/domain/Redact"
import { DistTags, PACKAGE_NAME, ReleaseDocument, ReleaseTimes } from "@waiaas/domain/Release"
import { shellWord } from "@waiaas/domain/Shell"
import { channelOf, compare, isPrerelease, isVersion } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { buildOf, digestOf } from "./BuildDigest.ts"
import { Npm } from "./Npm.ts"
import { obstacleTo } from "./NpmLinks.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { Privilege } from "./platform/Privilege.ts"

/** What to install: a registry version, or a tarball for an offline upgrade. */
export type Source =
  | {
      readonly _tag: "Registry"
      readonly version: string
      /** The build that the registry's metadata names. */
      readonly build?: string | undefined
    }
  | {
      readonly _tag: "Tarball"
      readonly file: string
      /** Of the bytes that were judged: no others are installed. */
      readonly sha256: string
    }

const decodeRelease = Schema.decodeUnknownOption(Schema.parseJson(ReleaseDocument))

/** What `npm view` answers: up to npm 11 a document, since npm 12 a list of one. */
const viewOf = <A, I>(document: Schema.Schema<A, I>) => {
  const decode = Schema.decodeUnknownOption(
    Schema.parseJson(Schema.Union(Schema.Tuple([], document), document)),
  )
  return (text: string): Option.Option<A> =>
    Option.flatMap(decode(text), (found) =>
      Array.isArray(found) ? Option.fromNullable(found.at(-1)) : Option.some(found as A),
    )
}
const decodeView = viewOf(ReleaseDocument)
const decodeTimes = viewOf(ReleaseTimes)
const decodeTags = viewOf(Schema.Struct({ "dist-tags": Schema.optional(DistTags) }))

/** What npm would install, and what its settings keep back. */
export interface Resolution {
  readonly release: ReleaseDocument
  /** A newer release that npm's age limit does not allow yet, in words; `null`: there is none. */
  readonly heldBack: string | null
}

/** Talks to npm: finds how `waiaas` was installed, resolves releases, stages candidates. Changes nothing that runs. */
export class NpmInstaller extends Context.Tag("@waiaas/services/NpmInstaller")<
  NpmInstaller,
  {
    /** The npm global install that this code belongs to. */
    readonly install: Effect.Effect<Install, NotNpmGlobal | FileFailed>
    /** The build that is installed: of all its files, and of its code alone as a release's metadata names it. */
    readonly build: (
      install: Install,
    ) => Effect.Effect<{ readonly content: string; readonly code: string }, FileFailed>
    /**
     * Fails unless that version is in the package's place, and with `content` that very build: asked again under
     * the lock.
     */
    readonly expectInstalled: (
      install: Install,
      version: string,
      content?: string | null,
    ) => Effect.Effect<void, CandidateRefused | FileFailed>
    /** The registry that npm uses for this install, without credentials. */
    readonly registry: (install: Install) => Effect.Effect<string, NpmFailed>
    /** npm's setting that keeps young releases of the package from being installed; `null`: none is in force. */
    readonly ageLimit: (install: Install) => Effect.Effect<string | null, NpmFailed>
    /** The release that npm would install for an exact version or a dist-tag: its age limits included. */
    readonly resolve: (install: Install, spec: string) => Effect.Effect<Resolution, NpmFailed>
    /**
     * Installs a candidate with npm into the run's staging prefix, on the file system of the global
     * root, and makes it durable. Gives what its own `package.json` says.
     */
    readonly stage: (
      install: Install,
      run: number,
      source: Source,
    ) => Effect.Effect<ReleaseDocument, NpmFailed | CandidateBroken | BadTarget | FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const npm = yield* Npm
      const files = yield* DurableFile
      const environment = yield* Environment
      const privilege = yield* Privilege

      const fail = (kind: NpmFailureKind, asked: string, subject?: string, output = "") =>
        new NpmFailed({ kind, asked, output, ...(subject === undefined ? {} : { subject }) })

      const view = <A>(
        install: Install,
        spec: string,
        fields: ReadonlyArray<string>,
        decode: (text: string) => Option.Option<A>,
      ) =>
        Effect.gen(function* () {
          const stdout = yield* npm.ask(install, ["view", spec, ...fields])
          const asked = `view ${spec}`
          if (["", "[]"].includes(stdout.trim())) return yield* fail("no-such-version", asked)
          return yield* Option.match(decode(stdout), {
            onNone: () => fail("unexpected-output", asked, undefined, redactText(stdout).slice(-500).trim()),
            onSome: Effect.succeed,
          })
        })

      const release = (install: Install, spec: string) =>
        view(
          install,
          `${PACKAGE_NAME}@${spec}`,
          ["name", "version", "engines", "deprecated", "bin", "waiaas", "dist"],
          decodeView,
        )

      /** What the registry has instead of a version that it lacks. */
      const lacks = (install: Install, spec: string, registry: string) =>
        view(install, PACKAGE_NAME, ["name", "dist-tags"], decodeTags).pipe(
          Effect.map((found) => found["dist-tags"]?.latest),
          Effect.catchAll((error) =>
            error.kind === "no-such-version"
              ? fail("no-such-package", `view ${PACKAGE_NAME}`, registry)
              : Effect.succeed(undefined),
          ),
          Effect.flatMap((newest) =>
            fail(
              "no-such-version",
              `view ${PACKAGE_NAME}@${spec}`,
              `${registry} has no ${spec}${newest === undefined ? "" : `; its newest is ${newest}`}`,
            ),
          ),
        )

      /** npm has one code for a version that a registry lacks and for one that an age limit hides. */
      const explainMissing = (install: Install, error: NpmFailed) =>
        Effect.gen(function* () {
          const settings = yield* npm.settings(install)
          const age = ageLimitFor(settings, PACKAGE_NAME, yield* environment.now)
          const [, version = ""] = error.asked.split(`${PACKAGE_NAME}@`)
          return yield* age === null
            ? fail(
                "no-such-version",
                error.asked,
                `${registryFor(settings, PACKAGE_NAME) ?? "the registry"} has no ${version}`,
              )
            : fail(
                "too-young",
                error.asked,
                `npm's setting ${age.setting} does not allow ${version}, or the registry lacks it`,
              )
        })

      /** An exact version that is too young is refused; of a dist-tag the newest one before it that is not is taken. */
      const oldEnough = (install: Install, spec: string, found: ReleaseDocument, age: AgeLimit) =>
        Effect.gen(function* () {
          const { time, versions } = yield* view(
            install,
            `${PACKAGE_NAME}@${spec}`,
            ["name", "time", "versions"],
            decodeTimes,
          )
          const published = (version: string) => Date.parse(time?.[version] ?? "")
          const isYoung = (version: string) => published(version) > age.limit
          if (!isYoung(found.version)) return { release: found, heldBack: null }
          const at = age.allowedAt(published(found.version))
          const why = `${found.version} was published on ${day(published(found.version))}, and npm's setting ${age.setting} ${at === null ? "does not allow it" : `allows it from ${new Date(at).toISOString().slice(0, 16)}Z on`}`
          const listed = typeof versions === "string" ? [versions] : (versions ?? [])
          const older = listed
            .filter(isVersion)
            .filter((each) => !isYoung(each) && compare(each, found.version) < 0)
            .filter((each) => !isPrerelease(each) || channelOf(each) === spec)
            .sort(compare)
            .at(-1)
          if (isVersion(spec) || older === undefined)
            return yield* fail("too-young", `view ${PACKAGE_NAME}@${spec}`, why)
          return { release: yield* release(install, older), heldBack: why }
        })

      const readPackage = (directory: string) =>
        Effect.gen(function* () {
          const text = yield* files.readText(packagePaths(directory).manifest)
          return decodeRelease(text)
        })

      const build = (install: Install) =>
        Effect.map(files.hashFiles(install.packageDir), (found) => ({
          content: digestOf(found),
          code: buildOf(found),
        }))

      /**
       * The tarball that was judged, where nobody but the package's owner can change it: npm reads it with that user's
       * rights, and later. Whoever owns the original may exchange it at any time; it is opened with the rights over the data.
       */
      const ownCopy = ({ file, sha256 }: Source & { readonly _tag: "Tarball" }, staging: string) =>
        Effect.gen(function* () {
          const original = resolve(environment.cwd ?? "/", file)
          const copy = join(staging, "package.tgz")
          const copied = yield* files.copy(original, copy, { writer: privilege.asInstaller })
          if (copied.sha256 !== sha256)
            return yield* new BadTarget({
              target: file,
              problem: "it was changed while it was read",
              instead: "Put the tarball where nobody else can change it, then give that file to --from.",
            })
          return copy
        })

      return NpmInstaller.of({
        build,
        install: Effect.gen(function* () {
          const packageDir = yield* files.realPath(environment.packageDir)
          const install = installOf(packageDir, environment.node)
          const refuse = (manager: string, command: string) =>
            new NotNpmGlobal({ manager, packageDir, command })
          if (environment.container)
            return yield* refuse("a container image", "docker compose pull && docker compose up -d")
          const other = otherManager(packageDir)
          if (other) return yield* refuse(other.manager, other.command)
          if (install === null) {
            const { manager, command } = notGlobal(packageDir)
            return yield* refuse(manager, command)
          }
          const obstacle = yield* obstacleTo(install).pipe(Effect.provideService(DurableFile, files))
          return obstacle === null ? install : yield* obstacle
        }),
        expectInstalled: (install, version, content = null) =>
          Effect.gen(function* () {
            const found = yield* readPackage(install.packageDir)
            if (Option.exists(found, (manifest) => manifest.version === version)) {
              if (content === null || (yield* build(install)).content === content) return
              return yield* new CandidateRefused({
                version,
                reason: `another build of ${version} was installed meanwhile`,
                command: "Run the command again.",
              })
            }
            return yield* new CandidateRefused({
              version,
              reason: `the installed package is ${Option.match(found, { onNone: () => "not readable", onSome: (manifest) => manifest.version })} by now`,
              command: "waiaas upgrade --status",
            })
          }),
        registry: Effect.fn("NpmInstaller.registry")(function* (install: Install) {
          const address = registryFor(yield* npm.settings(install), PACKAGE_NAME)
          return address ?? (yield* fail("unexpected-output", "config list"))
        }),
        ageLimit: (install) =>
          Effect.gen(function* () {
            const now = yield* environment.now
            return ageLimitFor(yield* npm.settings(install), PACKAGE_NAME, now)?.setting ?? null
          }),
        resolve: Effect.fn("NpmInstaller.resolve")(function* (install: Install, spec: string) {
          const settings = yield* npm.settings(install)
          if (settings.offline === true) return yield* fail("offline", `view ${PACKAGE_NAME}@${spec}`)
          const registry = registryFor(settings, PACKAGE_NAME) ?? "the registry"
          const found = yield* release(install, spec).pipe(
            Effect.catchIf(
              ({ kind }) => kind === "no-such-version",
              () => lacks(install, spec, registry),
            ),
          )
          const age = ageLimitFor(settings, PACKAGE_NAME, yield* environment.now)
          return age === null
            ? { release: found, heldBack: null }
            : yield* oldEnough(install, spec, found, age)
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
          const offline = source._tag === "Tarball"
          const spec = offline ? yield* ownCopy(source, staging) : `${PACKAGE_NAME}@${source.version}`
          yield* npm.install(install, spec, staging, { offline }).pipe(
            Effect.catchIf(
              ({ kind }) => kind === "no-such-version" && source._tag === "Registry",
              (error) => explainMissing(install, error),
            ),
          )
          if (offline) yield* privilege.asInstaller(files.remove(spec))
          // Whatever the umask of whoever upgrades: the daemon's user reads and runs it.
          yield* privilege.asInstaller(files.publishTree(staging))
          const staged = hidden.stagedPackage(run)
          const broken = (problem: string) =>
            new CandidateBroken({
              version: source._tag === "Registry" ? source.version : source.file,
              problem,
            })
          if (!(yield* files.isDirectory(staged))) return yield* broken(`npm installed no ${PACKAGE_NAME}`)
          // A umask can take it even from the owner.
          if (yield* files.exists(packagePaths(staged).bin))
            yield* privilege.asInstaller(files.chmod(packagePaths(staged).bin, 0o755))
          const manifest = Option.getOrNull(yield* readPackage(staged))
          if (manifest === null || manifest.name !== PACKAGE_NAME)
            return yield* broken(`its package.json is not that of ${PACKAGE_NAME}`)
          if (source._tag === "Registry" && manifest.version !== source.version)
            return yield* broken(`npm installed version ${manifest.version}`)
          if (
            source._tag === "Registry" &&
            source.build !== undefined &&
            manifest.waiaas?.build !== source.build
          )
            return yield* broken("npm installed another build than the one that the registry describes")
          const code = manifest.waiaas?.build
          // A name is anybody's to write: what was installed is compared with it.
          if (code !== undefined && buildOf(yield* files.hashFiles(staged)) !== code)
            return yield* broken("its code is another build than the one that its package.json names")
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
  ).pipe(Layer.provide(Npm.layer))
}

const managers: ReadonlyArray<readonly [RegExp, manager: string, command: string]> = [
  [/\/\.pnpm\/|\/pnpm\/global\/|\/store\/v\d+\/links\//, "pnpm", `pnpm add --global ${PACKAGE_NAME}@latest`],
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
      return {
        manager,
        command: `waiaas backup create && waiaas stop && ${command} && waiaas start --background`,
      }
  return null
}

/** How a package came here that is in no global directory of npm's. */
export const notGlobal = (packageDir: string): { readonly manager: string; readonly command: string } => {
  if (/\/_npx\/[^/]+\/node_modules\//.test(packageDir))
    return { manager: "npx", command: `npm install --global ${PACKAGE_NAME}` }
  const project = /^(.*)\/node_modules\/@waiaas\/cli$/.exec(packageDir)?.[1]
  return project === undefined
    ? { manager: "a source checkout", command: "git pull && npm ci" }
    : {
        manager: "npm install without --global",
        command: `npm install --prefix ${shellWord(project)} ${PACKAGE_NAME}@latest`,
      }
}

const day = (milliseconds: number): string => new Date(milliseconds).toISOString().slice(0, 10)
