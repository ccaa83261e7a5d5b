/** A daemon over real SQLite and a real data directory, in a temporary place; HTTP on a free port of loopback. */
import { chmodSync, existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import * as http from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { VERSION } from "@waiaas/domain/Build"
import type { DaemonFacts } from "@waiaas/domain/DaemonFacts"
import { makeVersion, type Version } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { layerDatabase } from "@waiaas/services/Database"
import { migrate } from "@waiaas/services/Migrator"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { ApiToken } from "../src/ApiToken.ts"
import { layerDaemon } from "../src/DaemonLayers.ts"
import { Facts } from "../src/Facts.ts"
import { HeldGate, type HeldState } from "../src/HeldGate.ts"
import { HttpAddress, type ServerOptions } from "../src/Http/Server.ts"
import { Keystore } from "../src/Keystore.ts"
import { ProcessLifetime } from "../src/ProcessLifetime.ts"
import { Shutdown } from "../src/Shutdown.ts"
import { UpdateCheck } from "../src/UpdateCheck.ts"

export type Variables = Readonly<Record<string, string | undefined>>

export const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => {
    const path = realpathSync(mkdtempSync(join(tmpdir(), "waiaas-daemon-")))
    chmodSync(path, 0o700)
    return path
  }),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
)

export const layerEnvironment = (variables: Variables = {}, version: Version = makeVersion(VERSION)) =>
  Layer.succeed(Environment, {
    variables,
    uid: process.geteuid?.() ?? null,
    home: "/nowhere",
    cwd: "/",
    pid: process.pid,
    platform: process.platform,
    architecture: process.arch,
    node: process.execPath,
    nodeVersion: process.versions.node,
    version,
    packageDir: "/nowhere",
    container: false,
    now: Effect.clockWith((clock) => clock.currentTimeMillis),
  })

/** Files, data directory and environment, as main builds them. */
export const layerPlatform = (root: string, variables: Variables = {}, version?: Version) =>
  ConfigFile.layer.pipe(
    Layer.provideMerge(DataDir.layer(Option.some(root))),
    Layer.provideMerge(DurableFile.layer),
    Layer.provideMerge(NodeFileSystem.layer),
    Layer.provideMerge(layerEnvironment(variables, version)),
  )

/** The open database of a data directory, at the newest schema unless the test brings its own. */
export const layerMigrated = (root: string, newest = true) => {
  const path = join(root, "data", "waiaas.db")
  if (!existsSync(path)) writeFileSync(path, "", { mode: 0o600 })
  return Layer.effectDiscard(newest ? migrate(path) : Effect.void).pipe(
    Layer.provideMerge(layerDatabase({ path, create: true })),
  )
}

export const facts: DaemonFacts = {
  format: 1,
  pid: process.pid,
  processStart: "1",
  instance: "0123456789abcdef".repeat(2),
  version: makeVersion(VERSION),
  hostname: "127.0.0.1",
  port: 3100,
  supervisor: null,
  packageDir: "/nowhere",
  configDigest: "0",
  shutdownTimeout: 30,
  startedAt: 1,
}

export const layerBackups = (list: Backup["Type"]["list"] = Effect.succeed([])) =>
  Layer.succeed(
    Backup,
    new Proxy({} as Backup["Type"], { get: (_, name) => (name === "list" ? list : undefined) }),
  )

export interface DaemonOptions {
  readonly root: string
  readonly gate?: HeldState
  readonly server?: Partial<ServerOptions>
  readonly variables?: Variables
  readonly version?: Version
  readonly check?: UpdateCheck["Type"]["check"]
  readonly backups?: Backup["Type"]["list"]
  /** Default: until the daemon's scope closes. */
  readonly lifetime?: Layer.Layer<ProcessLifetime>
}

/** Everything of a daemon, and what a test looks at it with. */
export const layerTestDaemon = (options: DaemonOptions) =>
  layerDaemon({ hostname: "127.0.0.1", port: 0, drain: "5 seconds", ...options.server }).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        Keystore.layer,
        HeldGate.layer(options.gate ?? "open"),
        Shutdown.layer,
        Layer.succeed(Facts, facts),
        Layer.succeed(UpdateCheck, { check: options.check ?? Effect.void }),
        layerBackups(options.backups),
      ),
    ),
    Layer.provideMerge(options.lifetime ?? ProcessLifetime.layerScoped),
    Layer.provideMerge(layerMigrated(options.root)),
    Layer.provideMerge(layerPlatform(options.root, options.variables, options.version)),
  )

/** A data directory as `waiaas init` leaves it. */
export const initialise = (root: string, variables: Variables = {}) =>
  Effect.gen(function* () {
    yield* (yield* DataDir).create
    yield* Keystore.initialise
    yield* ApiToken.initialise
  }).pipe(Effect.provide(layerPlatform(root, variables)))

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: a test looks at what came, whatever it is
  readonly json: any
}

export interface Ask {
  readonly method?: string
  readonly headers?: http.OutgoingHttpHeaders
  readonly body?: string | Buffer
  readonly agent?: http.Agent
}

/** One request, with every header as the test wants it (fetch would set Host by itself). */
export const ask = (port: number, path: string, options: Ask = {}): Effect.Effect<Answer, Error> =>
  Effect.async((resume) => {
    const request = http.request(
      {
        host: "127.0.0.1",
        port,
        path,
        method: options.method ?? "GET",
        headers: { host: `127.0.0.1:${port}`, ...options.headers },
        agent: options.agent ?? false,
      },
      (response) => {
        let text = ""
        response.setEncoding("utf8")
        response.on("data", (chunk: string) => {
          text += chunk
        })
        response.on("error", (error) => resume(Effect.fail(error)))
        response.on("end", () =>
          resume(
            Effect.sync(() => ({
              status: response.statusCode ?? 0,
              headers: response.headers,
              text,
              json:
                response.headers["content-type"]?.includes("json") && text !== ""
                  ? JSON.parse(text)
                  : undefined,
            })),
          ),
        )
      },
    )
    request.on("error", (error) => resume(Effect.fail(error)))
    request.end(options.body)
  })

/** A running daemon with a client that carries the token. */
export const startDaemon = (options: Omit<DaemonOptions, "root"> & { readonly root?: string } = {}) =>
  Effect.gen(function* () {
    const root = options.root ?? (yield* temporaryDirectory)
    yield* initialise(root, options.variables)
    const context = yield* Layer.build(layerTestDaemon({ ...options, root })).pipe(
      Effect.provide(Logger.remove(Logger.defaultLogger)),
    )
    const { port } = Context.get(context, HttpAddress)
    const token = (yield* Context.get(context, DurableFile).readText(
      Context.get(context, DataDir).paths.token,
    )).trim()
    const call = (method: string, path: string, body?: unknown) =>
      ask(port, path, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { "content-type": "application/json" }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
    return { root, context, port, token, call }
  })
