import { dirname, join } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import { SqlClient } from "@effect/sql/SqlClient"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { DaemonFacts, INSTANCE_HEADER } from "@waiaas/domain/DaemonFacts"
import { ConfigInvalid, MigrationFailed } from "@waiaas/domain/DataErrors"
import { gateFor } from "@waiaas/domain/JournalRecord"
import { PACKAGE_NAME } from "@waiaas/domain/Release"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import { refusedWith, ToolReply, ToolRequest } from "@waiaas/domain/ToolProtocol"
import { makeVersion } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { attachBefore } from "../CompareDatabases.ts"
import { ConfigFile } from "../ConfigFile.ts"
import { layerDatabase } from "../Database.ts"
import { DatabaseTool } from "../DatabaseTool.ts"
import { layerDatabaseToolLocal } from "../DatabaseToolLocal.ts"
import { publicKeysOnFile } from "../KeystoreFiles.ts"
import { migrate, readSchema } from "../Migrator.ts"
import { DataDir } from "../platform/DataDir.ts"
import type { DurableFile } from "../platform/DurableFile.ts"
import { Environment } from "../platform/Environment.ts"
import { ExclusiveLock } from "../platform/ExclusiveLock.ts"
import { ProcessFailed, type ProcessResult, type ProcessRunner } from "../platform/ProcessRunner.ts"
import { UpgradeJournal } from "../UpgradeJournal.ts"
import { manifestOf, type SimulatedRelease, writePackage } from "./SimulatedRelease.ts"
import { agentIdOf, migrationsTo } from "./TestDatabase.ts"
import { json, type Respond } from "./TestHttp.ts"

export { type SimulatedRelease, writePackage }

/** What processes a test's installation has, and what they were asked. */
export class SimulatedInstall extends Context.Tag("@waiaas/services/testing/SimulatedInstall")<
  SimulatedInstall,
  {
    /** What was done, in order: `npm view`, `npm install 2.1.0`, `tool Migrate 2.1.0`, `daemon 2.1.0 starts`, ... */
    readonly acts: Array<string>
    /** What the registry has; the last one is `latest`. */
    releases: ReadonlyArray<SimulatedRelease>
    /** Called with a database that `migrate-live` has harmed, before that fails. */
    whenHarmed: ((database: string) => void) | null
    /** Starts the installed version's daemon. */
    readonly startDaemon: Effect.Effect<void>
    /** Ends it as `kill -9` does: it says nothing, and its `daemon.json` stays. */
    readonly killDaemon: Effect.Effect<void>
    /** Version of the daemon that runs now; `null` while none does. */
    readonly running: () => string | null
    /** Version of the package that is installed. */
    readonly installed: Effect.Effect<string>
  }
>() {}

/** What the file of a sealed key holds in a simulated keystore, as long as it opens. */
export const sealedKeyOf = (name: string) => JSON.stringify({ format: 1, publicKey: `key-${name}` })
/** The sealed key of the agent that a simulated installation has by default. */
export const KEY_FILE = `${agentIdOf("alice")}.json`

const instanceOf = (pid: number): string => String(pid).padStart(32, "0")

interface Daemon {
  readonly pid: number
  readonly version: string
  /** The run that it is held for. */
  readonly held: number | null
  readonly scope: Scope.CloseableScope
}

const ended = (stdout: string, exitCode = 0, stderr = ""): ProcessResult => ({
  exitCode,
  signal: null,
  stdout,
  stderr,
})

/** As `npm --json` fails. */
const failed = (code: string, summary: string) =>
  ended(
    JSON.stringify({ error: { code, summary, detail: "" } }),
    1,
    `npm error code ${code}\nnpm error ${summary}`,
  )
/** As `npm config list --json` answers. */
const npmSettings = { registry: "http://registry.test/", offline: false }

type Needs =
  | FileSystem.FileSystem
  | DurableFile
  | Environment
  | DataDir
  | ConfigFile
  | UpgradeJournal
  | ExclusiveLock

/**
 * The boundary to processes: npm, the tool of each package and the daemon, without a single child. Files and
 * SQLite are real, so what the services do between the processes is all theirs.
 */
export const makeProcesses = (
  releases: ReadonlyArray<SimulatedRelease>,
): Effect.Effect<
  {
    readonly control: SimulatedInstall["Type"]
    readonly runner: ProcessRunner["Type"]
    readonly respond: Respond
  },
  never,
  Needs | Scope.Scope
> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<Needs>()
    const fs = yield* FileSystem.FileSystem
    const environment = yield* Environment
    const acts: Array<string> = []
    const { paths } = yield* DataDir
    const journal = yield* UpgradeJournal
    const lock = yield* ExclusiveLock
    let nextPid = 1000
    let daemon: Daemon | null = null
    let known = releases

    const versionIn = (packageDir: string) =>
      fs.readFileString(join(packageDir, "package.json")).pipe(
        Effect.map((text): string => JSON.parse(text).version),
        Effect.orDie,
      )
    const releaseOf = (version: string) =>
      known.find((release) => release.version === version) ?? { version, schema: LATEST_SCHEMA }
    const databasePath = Effect.flatMap(ConfigFile, ({ load }) => load).pipe(
      Effect.map(({ databasePath: path }) => path),
      Effect.provide(context),
      Effect.orDie,
    )

    const npm = (args: ReadonlyArray<string>): Effect.Effect<ProcessResult> =>
      Effect.gen(function* () {
        const [verb, spec = ""] = args
        const wanted = spec.replace(`${PACKAGE_NAME}@`, "")
        // How npm is set is asked before every act of it.
        if (verb === "config") return ended(JSON.stringify(npmSettings))
        acts.push(`npm ${verb}${verb === "view" || verb === "install" ? ` ${wanted}` : ""}`)
        const release = wanted === "latest" ? known.at(-1) : known.find(({ version }) => version === wanted)
        if (wanted === PACKAGE_NAME)
          return ended(JSON.stringify({ name: PACKAGE_NAME, "dist-tags": { latest: known.at(-1)?.version } }))
        if (release === undefined) return failed("E404", "No match found for version")
        if (verb === "view") return ended(JSON.stringify(manifestOf(release, release.build?.named)))
        if (release.fault === "npm") return failed("ECONNRESET", "network aborted")
        const prefix = args.find((arg) => arg.startsWith("--prefix="))?.slice("--prefix=".length) ?? ""
        const put = release.fault === "version" ? { ...release, version: "9.9.9" } : release
        yield* writePackage(fs, join(prefix, "lib/node_modules", PACKAGE_NAME), put)
        return ended("added 1 package")
      })

    /** Every file of a simulated keystore that has the form of a sealed key opens. */
    const openKeys = Effect.gen(function* () {
      const onFile = [...(yield* publicKeysOnFile)]
      return {
        open: onFile.flatMap(([agent, publicKey]) => (publicKey === null ? [] : [{ agent, publicKey }])),
        damaged: onFile.flatMap(([agent, publicKey]) => (publicKey === null ? [agent] : [])),
      }
    }).pipe(Effect.provide(context))
    const local = yield* Layer.build(
      layerDatabaseToolLocal({
        describe: (dataDir, config) =>
          Effect.gen(function* () {
            const { digest, databasePath: path } = yield* Effect.flatMap(ConfigFile, ({ load }) => load).pipe(
              Effect.provide(ConfigFile.layerOf(config)),
            )
            return {
              version: makeVersion("0.0.0"),
              schema: rangeFor(1),
              configDigest: digest,
              databasePath: path || dataDir,
              keys: (yield* openKeys).open.length,
            }
          }).pipe(Effect.provide(context)),
        openKeys: () => openKeys,
      }),
    ).pipe(Effect.map(Context.get(DatabaseTool)))

    const tool = (packageDir: string, input: string): Effect.Effect<ProcessResult> =>
      Effect.gen(function* () {
        const request = Schema.decodeUnknownSync(Schema.parseJson(ToolRequest))(input)
        const release = releaseOf(yield* versionIn(packageDir))
        acts.push(`tool ${request._tag} ${release.version}`)
        const act = Effect.gen(function* () {
          switch (request._tag) {
            case "Describe": {
              const source = request.config ?? paths.config
              const text = yield* Effect.orDie(fs.readFileString(source))
              if (release.refuses !== undefined && text.includes(release.refuses))
                return yield* new ConfigInvalid({ source, key: release.refuses, value: "x", allowed: "none" })
              const here = yield* local.describe(packageDir, request.dataDir, request.config)
              return { ...here, version: release.version, schema: rangeFor(release.schema) }
            }
            case "Examine":
              return yield* request.dataDir === undefined
                ? local.examine(packageDir, request.database, request.check, request.tables)
                : local.examineKeys(
                    packageDir,
                    request.database,
                    request.check,
                    request.dataDir,
                    request.tables,
                  )
            case "Compare":
              return yield* local.compare(packageDir, request)
            case "CompareAgents":
              return yield* local.compareAgents(packageDir, request.before, request.now, request.dataDir)
            case "KeepSuspended":
              return yield* local.keepSuspended(packageDir, request.database, request.now)
            case "FindUnique":
              return yield* local.findUnique(packageDir, request.database, request.others)
            case "Checkpoint":
              return yield* local.checkpoint(packageDir, request.database)
            case "CopyLive":
              return yield* local.copyLive(packageDir, request.from, request.to)
            case "Migrate": {
              const failed = new MigrationFailed({
                path: request.database,
                from: 4,
                to: release.schema,
                reason: "planned",
              })
              if (release.fault === "migrate") return yield* failed
              const { schema, undeclared } = release
              const isIdle = undeclared?.onlyLive === true && request.database.includes("rehearsal")
              const known = migrationsTo(schema, isIdle ? [] : undeclared?.statements)
              const { before } = request
              const done = yield* Effect.gen(function* () {
                if (before !== undefined) yield* attachBefore(before)
                return yield* migrate(request.database, known, before !== undefined)
              }).pipe(
                Effect.provide(layerDatabase({ path: request.database, create: false })),
                Effect.provide(context),
              )
              if (release.fault === "migrate-live" && !request.database.includes("rehearsal")) {
                // The worst there is: it failed, and something of it stayed.
                yield* Effect.flatMap(SqlClient, (sql) => sql`UPDATE agents SET name = 'harmed'`).pipe(
                  Effect.provide(layerDatabase({ path: request.database, create: false })),
                  Effect.provide(context),
                  Effect.orDie,
                )
                control.whenHarmed?.(request.database)
                return yield* failed
              }
              yield* local.checkpoint(packageDir, request.database)
              return done
            }
          }
        })
        const reply: ToolReply = yield* act.pipe(
          Effect.match({
            onFailure: (error) => refusedWith(error),
            onSuccess: (result): ToolReply => ({ _tag: "Done", result: result ?? null }),
          }),
        )
        return ended(
          `${JSON.stringify(Schema.encodeSync(ToolReply)(reply))}\n`,
          reply._tag === "Done" ? 0 : 1,
        )
      })

    const end = (how: "stops" | "is killed") =>
      Effect.suspend(() => {
        const was = daemon
        if (was === null) return Effect.void
        daemon = null
        acts.push(`daemon ${was.version} ${how}`)
        const facts = how === "stops" ? Effect.orDie(fs.remove(paths.facts, { force: true })) : Effect.void
        return Effect.zipRight(facts, Scope.close(was.scope, Exit.void))
      })

    const start = (packageDir: string) =>
      Effect.gen(function* () {
        const version = yield* versionIn(packageDir)
        acts.push(`daemon ${version} starts`)
        const pid = ++nextPid
        if (releaseOf(version).fault === "start") return pid
        const run = Option.getOrNull(yield* journal.latest)
        const gate = gateFor(run, run !== null && run.ended === null, version)
        const scope = yield* Scope.make()
        yield* lock
          .acquire({ lock: "data", path: paths.dataLock, what: "the daemon" })
          .pipe(Scope.extend(scope))
        const { digest, config } = yield* Effect.flatMap(ConfigFile, ({ load }) => load)
        const facts: DaemonFacts = {
          format: 1,
          pid,
          processStart: String(pid),
          instance: instanceOf(pid),
          version: makeVersion(version),
          hostname: config.daemon.hostname,
          port: config.daemon.port,
          supervisor: null,
          packageDir,
          configDigest: digest,
          shutdownTimeout: 30,
          startedAt: 1,
        }
        yield* fs.writeFileString(paths.facts, JSON.stringify(Schema.encodeSync(DaemonFacts)(facts)))
        daemon = { pid, version, held: gate._tag === "Held" ? (run?.started.run ?? null) : null, scope }
        return pid
      }).pipe(Effect.provide(context), Effect.orDie)

    yield* Effect.addFinalizer(() => end("stops"))

    const health = Effect.gen(function* () {
      if (daemon === null) return null
      const path = yield* databasePath
      const schemaVersion = yield* readSchema(path).pipe(
        Effect.provide(layerDatabase({ path, create: false })),
        Effect.provide(context),
      )
      const run = Option.getOrNull(yield* journal.latest)
      const held = daemon.held !== null && run?.started.run === daemon.held && !run.announced
      const answer = {
        status: held ? "held" : "ok",
        version: daemon.version,
        latestVersion: null,
        updateAvailable: false,
        schemaVersion,
        uptime: 1,
        timestamp: 1,
      }
      return json(answer, { [INSTANCE_HEADER]: instanceOf(daemon.pid) })
    }).pipe(Effect.orDie)

    const runner: ProcessRunner["Type"] = {
      run: ({ command, args, input }) => {
        const [file = ""] = args
        if (file.endsWith("/dist/tool.js")) return tool(dirname(dirname(file)), input ?? "")
        if (file.endsWith("npm-cli.js")) return npm(args.slice(1))
        return new ProcessFailed({ command, reason: "not-found", output: args.join(" ") })
      },
      detach: ({ args: [file = ""] }) => start(dirname(dirname(file))),
      identity: (pid) => Effect.sync(() => (daemon?.pid === pid ? Option.some(String(pid)) : Option.none())),
      about: () => Effect.succeed(Option.none()),
      signal: (pid, name) =>
        Effect.suspend(() => {
          acts.push(`${name} ${pid}`)
          return daemon?.pid === pid ? Effect.as(end("stops"), true) : Effect.succeed(false)
        }),
    }
    const control: SimulatedInstall["Type"] = {
      acts,
      whenHarmed: null,
      get releases() {
        return known
      },
      set releases(now) {
        known = now
      },
      startDaemon: Effect.asVoid(start(environment.packageDir)),
      killDaemon: end("is killed"),
      running: () => daemon?.version ?? null,
      installed: versionIn(environment.packageDir),
    }
    const respond: Respond = ({ method, url }) => {
      const { pathname } = new URL(url)
      if (pathname === "/health") return health
      if (method === "POST" && pathname === "/v1/daemon/shutdown" && daemon !== null)
        return Effect.as(end("stops"), { status: 202 })
      return Effect.succeed(null)
    }
    return { control, runner, respond }
  })
