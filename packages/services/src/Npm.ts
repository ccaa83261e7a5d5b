import { randomUUID } from "node:crypto"
import { dirname, isAbsolute, join, resolve } from "node:path"
import type { Install } from "@waiaas/domain/Install"
import { npmFailureOf, npmSummaryOf } from "@waiaas/domain/NpmFailure"
import { flagsFor, NpmSettings, registryFor } from "@waiaas/domain/NpmSettings"
import { NpmFailed } from "@waiaas/domain/PackageErrors"
import { redactText } from "@waiaas/domain/Redact"
import { PACKAGE_NAME } from "@waiaas/domain/Release"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment, isUnderSudo } from "./platform/Environment.ts"
import { Ownership } from "./platform/Ownership.ts"
import { Privilege } from "./platform/Privilege.ts"
import { ProcessFailed, type ProcessResult, ProcessRunner } from "./platform/ProcessRunner.ts"

/** One small answer, whatever the size of the release. */
const QUERY_LIMIT = Duration.seconds(60)
/**
 * How often an install is inspected, and how many inspections in a row may find no change: what npm downloads arrives
 * in the staging directory as it comes, so a slow network is waited for and a stuck npm is not. These 15 minutes are
 * as long as npm itself tries to reach a registry that does not answer. The daemon serves all along.
 */
const LOOK_EVERY = Duration.seconds(30)
const IDLE_LOOKS = 30

const decodeSettings = Schema.decodeUnknownOption(Schema.parseJson(NpmSettings))

/** npm as a child of this process: its settings, its questions, its installs. Every failure of it is an `NpmFailed`. */
export class Npm extends Context.Tag("@waiaas/services/Npm")<
  Npm,
  {
    /** The settings in force for this install; read once a process, so that check and install agree. */
    readonly settings: (install: Install) => Effect.Effect<NpmSettings, NpmFailed>
    /** What npm answers on stdout to a question that changes nothing. */
    readonly ask: (install: Install, args: ReadonlyArray<string>) => Effect.Effect<string, NpmFailed>
    /** `npm install` into a staging prefix, for as long as something arrives there. */
    readonly install: (
      install: Install,
      spec: string,
      staging: string,
      options: { readonly offline: boolean },
    ) => Effect.Effect<void, NpmFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const files = yield* DurableFile
      const environment = yield* Environment
      const privilege = yield* Privilege
      const { entriesAt, nearestAbove } = yield* Ownership

      /** npm's own entry point, next to the Node that runs this: never a name looked up in PATH. */
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
          output: `looked next to ${environment.node}`,
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

      /**
       * The variables that name a directory for temporary files, as long as one can be made in it: where npm cannot, it tries
       * until it is ended. Without them it uses /tmp.
       */
      const withTemporary = Effect.gen(function* () {
        const { TMPDIR, TMP, TEMP, ...others } = environment.variables
        const directory = TMPDIR || TMP || TEMP
        if (!directory) return environment.variables
        const place = resolve(environment.cwd ?? "/", directory)
        // A name that nobody can have put a link at.
        const probe = join(place, `.waiaas-${randomUUID()}`)
        const isUsable = yield* Effect.gen(function* () {
          if (!(yield* files.isDirectory(place))) return false
          yield* files.makeDirectory(probe)
          yield* files.remove(probe)
          return true
        }).pipe(
          privilege.asInstaller,
          Effect.orElseSucceed(() => false),
        )
        return isUsable ? { ...others, TMPDIR: place } : others
      })

      const asked = (args: ReadonlyArray<string>) =>
        args
          .filter((arg) => !arg.startsWith("--"))
          .slice(0, 2)
          .join(" ")

      /** `filling`: the directory that it fills, for as long as it takes; else it has the time of a question. */
      const run = (install: Install, args: ReadonlyArray<string>, filling?: string) =>
        Effect.gen(function* () {
          const cli = yield* npmCli
          const command = environment.node
          const variables = yield* withTemporary
          return yield* runner
            .run({
              command,
              args: [cli, ...args],
              // A .npmrc where the operator happens to be has no say.
              cwd: install.prefix,
              env: {
                ...variables,
                PATH: `${dirname(environment.node)}:${environment.variables.PATH ?? "/usr/bin:/bin"}`,
              },
              timeout: filling === undefined ? QUERY_LIMIT : Duration.infinity,
              asInstaller: true,
            })
            .pipe(
              (asking) =>
                filling === undefined
                  ? asking
                  : // Both sides by name: what cannot be interrupted is waited for.
                    Effect.raceFirst(
                      Effect.interruptible(asking),
                      Effect.interruptible(idleIn(filling, command)),
                    ),
              privilege.asInstaller,
              Effect.mapError(
                (error) =>
                  new NpmFailed({
                    kind: error.reason === "timeout" ? "timeout" : "other",
                    asked: asked(args),
                    output: lastLines(error.output),
                  }),
              ),
            )
        })

      const failure = (
        args: ReadonlyArray<string>,
        result: ProcessResult,
        settings: NpmSettings,
        writesTo: ReadonlyArray<string>,
      ) => {
        const { path } = npmFailureOf(result)
        const kind = kindIn(npmFailureOf(result), settings, writesTo)
        const subject =
          kind === "no-cache"
            ? typeof settings.cache === "string"
              ? settings.cache
              : path
            : kind === "no-file" || kind === "no-permission"
              ? path
              : kind === "no-network" || kind === "no-access" || kind === "no-trust"
                ? registryFor(settings, PACKAGE_NAME)
                : null
        return new NpmFailed({
          kind,
          asked: asked(args),
          output: redactText(npmSummaryOf(result) ?? lastLines(result.stderr || result.stdout)),
          ...(subject === null ? {} : { subject }),
        })
      }

      /**
       * Under sudo npm is root: its settings say what it installs, and from its cache it installs. Both are root's alone, and
       * so is the directory that they are in, where another could be put in their place.
       */
      const expectOwn = (paths: ReadonlyArray<string>) =>
        Effect.gen(function* () {
          if (!isUnderSudo(environment)) return
          for (const path of paths) {
            const above = yield* nearestAbove(path)
            for (const entry of [...(yield* entriesAt(path)), above]) {
              const isOpen = entry.kind !== "link" && (entry.mode & 0o002) !== 0
              if (entry.uid !== 0 || isOpen)
                return yield* new NpmFailed({
                  kind: "foreign-settings",
                  asked: "(any command)",
                  output: "",
                  subject: `${entry.path} ${isOpen ? "is open to everybody" : `belongs to user ${entry.uid}`}`,
                })
            }
          }
        }).pipe(
          privilege.asInstaller,
          Effect.catchTag(
            "FileFailed",
            ({ message }) => new NpmFailed({ kind: "settings", asked: "(any command)", output: message }),
          ),
        )

      const known = new Map<string, NpmSettings>()
      const settings = Effect.fn("Npm.settings")(function* (install: Install) {
        const before = known.get(install.prefix)
        if (before !== undefined) return before
        // Before npm is asked anything: it writes its log below the home directory.
        yield* expectOwn([join(environment.home, ".npmrc"), join(environment.home, ".npm")])
        // Only flags that every npm knows: which others this one knows is what it is asked here.
        const args = [
          "config",
          "list",
          "--json",
          "--global",
          `--globalconfig=${join(install.prefix, "etc", "npmrc")}`,
          "--loglevel=error",
          "--workspaces=false",
          "--usage=false",
          "--color=false",
          "--timing=false",
        ]
        const result = yield* run(install, args)
        const found = result.exitCode === 0 ? decodeSettings(result.stdout) : undefined
        if (found?._tag === "Some") {
          const named = ["userconfig", "cache", "logs-dir"].map((key) => found.value[key])
          yield* expectOwn(
            named.filter((path) => typeof path === "string" && isAbsolute(path)) as Array<string>,
          )
          known.set(install.prefix, found.value)
          return found.value
        }
        const failed = failure(args, result, {}, [])
        return yield* new NpmFailed({ ...failed, kind: failed.kind === "other" ? "settings" : failed.kind })
      })

      return Npm.of({
        settings,
        ask: Effect.fn("Npm.ask")(function* (install: Install, args: ReadonlyArray<string>) {
          const given = yield* settings(install)
          const flags = flagsFor("question", given, { globalconfig: join(install.prefix, "etc", "npmrc") })
          const result = yield* run(install, [...args, ...flags])
          if (result.exitCode !== 0) return yield* failure(args, result, given, [])
          return result.stdout
        }),
        install: Effect.fn("Npm.install")(function* (install, spec, staging, { offline }) {
          const given = yield* settings(install)
          const args = ["install", spec]
          if (given.offline === true && !offline)
            return yield* new NpmFailed({ kind: "offline", asked: asked(args), output: "" })
          const flags = flagsFor("staging", given, {
            globalconfig: join(install.prefix, "etc", "npmrc"),
            prefix: staging,
            os: environment.platform,
            cpu: environment.architecture,
            ...(offline ? { "prefer-online": "false" } : {}),
          })
          const result = yield* run(install, [...args, ...flags, `--offline=${offline}`], staging)
          if (result.exitCode !== 0) return yield* failure(args, result, given, [staging, install.root])
        }),
      })
    }),
  )
}

/** Whether one of two paths holds the other. */
const isNear = (path: string, other: string): boolean =>
  path === other || path.startsWith(`${other}/`) || other.startsWith(path === "/" ? "/" : `${path}/`)

/** npm's code says that the system refused it something; its path says what that is of. */
const kindIn = (
  { kind, path }: ReturnType<typeof npmFailureOf>,
  settings: NpmSettings,
  writesTo: ReadonlyArray<string>,
) => {
  if (kind !== "no-permission" && kind !== "other") return kind
  if (path === null) return kind === "no-permission" && writesTo.length === 0 ? "no-cache" : kind
  if (writesTo.some((directory) => path.startsWith(`${directory}/`) || path === directory)) return kind
  if (typeof settings.cache === "string" && isNear(path, settings.cache)) return "no-cache"
  return kind === "no-permission" ? "no-file" : kind
}

const lastLines = (text: string): string =>
  redactText(text)
    .split("\n")
    .filter((line) => line.trim() !== "" && !/A complete log of this run|_logs\/|^npm \S+ {5}at /.test(line))
    .slice(-8)
    .join("\n")
