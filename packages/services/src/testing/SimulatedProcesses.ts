/** The boundaries beside the file system: children (tool, npm, daemon), HTTP, locks, free space. */

import { dirname } from "node:path"
import { isDeepStrictEqual } from "node:util"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type { AgentChanges } from "@waiaas/domain/AgentChanges"
import { INSTANCE_HEADER } from "@waiaas/domain/DaemonFacts"
import { FileFailed, LockBusy } from "@waiaas/domain/DataErrors"
import { packagePaths } from "@waiaas/domain/Install"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { DiskSpace } from "../platform/DiskSpace.ts"
import { DurableFile, readJsonIfValid } from "../platform/DurableFile.ts"
import { ExclusiveLock, Holder, holderPath, pollInterval, writeHolder } from "../platform/ExclusiveLock.ts"
import { ProcessFailed, type ProcessResult, ProcessRunner } from "../platform/ProcessRunner.ts"
import { connect, DatabaseBroken, digestOf } from "./SimulatedDatabase.ts"
import { Errno } from "./SimulatedDiskState.ts"
import { type Host, operate } from "./SimulatedFileSystem.ts"
import { codeIn, database, dataDir, filesOf, releaseOf, schemaOf, writeFile } from "./SimulatedPackage.ts"
import type { SimulatedProcess } from "./SimulatedWorld.ts"

/** Faults that a child of each kind knows; `late` ones come when its work is done. */
export const childFaults = {
  tool: ["timeout", "exit", "garbage", "signal", "late timeout", "late garbage"],
  npm: [
    "timeout",
    "garbage",
    "npm error code ENOSPC",
    "npm error code EINTEGRITY",
    "npm error code ETARGET",
    "npm error code E404",
    "npm error code EACCES",
    "npm error code ESTRICTALLOWSCRIPTS",
    "npm error code ENOTFOUND",
    "npm error of another kind",
  ],
  spawn: ["not-allowed", "dies", "hangs"],
  http: ["unreachable", "garbage"],
} as const

const ended = (stdout: string, exitCode = 0, stderr = ""): ProcessResult => ({
  exitCode,
  signal: null,
  stdout,
  stderr,
})
const timedOut = (command: string) => new ProcessFailed({ command, reason: "timeout", output: "" })

interface ToolRequest {
  readonly _tag: "Describe" | "Examine" | "Compare" | "CompareAgents" | "Checkpoint" | "CopyLive" | "Migrate"
  readonly database: string
  readonly dataDir?: string
  readonly from: string
  readonly to: string
  readonly before: string
  readonly after: string
  readonly now: string
}

/** Rows are agents here, that neither change nor lose their key. */
const agentChanges = (before: ReadonlyArray<string>, now: ReadonlyArray<string>): AgentChanges => {
  const some = (rows: ReadonlyArray<string>) => ({
    count: rows.length,
    agents: rows.map((row) => ({ id: row, name: row })),
  })
  return {
    before: before.length,
    now: now.length,
    added: some(now.filter((row) => !before.includes(row))),
    removed: some(before.filter((row) => !now.includes(row))),
    suspended: some([]),
    resumed: some([]),
    changed: { count: 0, agents: [] },
    keyless: some([]),
    withoutFile: 0,
  }
}

/** One act of `dist/tool.js`, of the code in `packageDir`. */
const toolAct = (process: SimulatedProcess, packageDir: string, request: ToolRequest): unknown => {
  const { world } = process
  const code = world.perform(process, "read", `load ${packageDir}`, (fault) => {
    if (fault !== null) throw new Errno(fault, packageDir)
    return codeIn(world.disk, packageDir)
  })
  if (code === null) throw new Error(`Cannot find module ${packagePaths(packageDir).tool}`)
  const latest = schemaOf[code.version] ?? 0
  if (request._tag === "Describe")
    return {
      version: code.version,
      schema: { minimum: 3, latest },
      configDigest: "",
      databasePath: database,
      keys: 1,
    }
  // Where the daemon has it open, another connection comes and goes without a trace.
  const serves = world.locks.get(`${dataDir}/upgrade/data.lock`)?.role === "daemon"
  const rowsOf = (file: string) => {
    const connection = connect(process, file)
    const isOpen = file === database && serves
    if (!isOpen) connection.open()
    const { rows } = connection.read()
    if (!isOpen) connection.close()
    return rows
  }
  if (request._tag === "Compare") {
    const same = isDeepStrictEqual(rowsOf(request.before), rowsOf(request.after))
    const difference = { change: { _tag: "RowsRemoved", table: "agents" }, rows: 1, sample: [] }
    return { differences: same ? [] : [difference], absent: [] }
  }
  if (request._tag === "CompareAgents") return agentChanges(rowsOf(request.before), rowsOf(request.now))
  const path = request._tag === "CopyLive" ? request.from : request.database
  const connection = connect(process, path)
  const isShared = path === database && serves
  if (!isShared) connection.open()
  const document = connection.read()
  const result = (() => {
    switch (request._tag) {
      case "Examine":
        return {
          schema: document.schema,
          tables: { agents: digestOf(document) },
          ...(request.dataDir !== undefined && {
            keys: { agents: document.rows.length, open: 1, missing: 0, names: [], damaged: [] },
          }),
        }
      case "Checkpoint":
        connection.checkpoint()
        return null
      case "CopyLive":
        connection.step("write", "copy to", (disk) =>
          writeFile(disk, request.to, JSON.stringify(document), 0o600),
        )
        return null
      case "Migrate":
        if (document.schema > latest)
          throw new DatabaseBroken(`schema ${document.schema} is newer than ${latest}`)
        if (document.schema < latest) connection.commit({ ...document, schema: latest })
        return { from: document.schema, to: latest, changes: [] }
    }
  })()
  if (!isShared) connection.close()
  return result
}

const runTool = (process: SimulatedProcess, packageDir: string, input: string, fault: string | null) => {
  if (fault === "timeout") throw timedOut("tool")
  if (fault === "exit") return ended("", 3, "boom")
  if (fault === "signal") return { ...ended(""), exitCode: null, signal: "SIGKILL" }
  if (fault === "garbage") return ended("\u0000{]\n")
  const request: ToolRequest = JSON.parse(input)
  try {
    const result = toolAct(process, packageDir, request)
    if (fault === "late timeout") throw timedOut("tool")
    return fault === "late garbage" ? ended("{}") : ended(`${JSON.stringify({ _tag: "Done", result })}\n`)
  } catch (cause) {
    if (!(cause instanceof Errno) && !(cause instanceof DatabaseBroken)) {
      if (cause instanceof Error && cause.message.startsWith("Cannot find module"))
        return ended("", 1, cause.message)
      throw cause
    }
    const error = {
      _tag: "DatabaseFailed",
      operation: request._tag,
      path: request.database ?? "",
      reason: cause.message,
    }
    return ended(
      `${JSON.stringify({ _tag: "Refused", error, message: cause.message, next: "", exitCode: 1 })}\n`,
      1,
    )
  }
}

const runNpm = (
  process: SimulatedProcess,
  args: ReadonlyArray<string>,
  fault: string | null,
): ProcessResult => {
  if (fault === "timeout") throw timedOut("npm")
  if (fault === "garbage" && args[0] !== "install") return ended("<html>")
  const spec = args.find((arg) => arg.startsWith("@waiaas/cli@"))?.slice("@waiaas/cli@".length) ?? ""
  if (args[0] === "config")
    return fault === null ? ended(JSON.stringify({ registry: "http://registry.test/" })) : ended("", 1, fault)
  if (args[0] === "view")
    return fault === null
      ? ended(JSON.stringify(releaseOf(spec === "latest" ? "2.1.0" : spec)))
      : ended("", 1, fault)
  if (args[0] !== "install") throw new Error(`npm ${args.join(" ")} is not simulated`)
  const prefix = args.find((arg) => arg.startsWith("--prefix="))?.slice("--prefix=".length) ?? ""
  const all = filesOf(spec)
  // It fails with a part of its work done, and syncs nothing.
  for (const [name, text] of fault === null ? all : all.slice(0, 1)) {
    const path = `${prefix}/lib/node_modules/@waiaas/cli/${name}`
    process.world.perform(process, "write", `npm writes ${path}`, (errno) => {
      if (errno !== null) throw new Errno(errno, path)
      writeFile(process.world.disk, path, text, 0o644)
    })
  }
  return fault === null ? ended("added 1 package") : fault === "garbage" ? ended("") : ended("", 1, fault)
}

/** `spawn` starts a daemon of the code in a package directory. */
export const layerProcessRunner = (host: Host, spawn: (packageDir: string, fault: string | null) => number) =>
  Layer.succeed(ProcessRunner, {
    run: ({ command, args, input = "" }) => {
      const isTool = args[0]?.endsWith("/dist/tool.js") === true
      const what = isTool
        ? `tool ${JSON.parse(input)._tag} of ${args[0]}`
        : `npm ${args.slice(1, 3).join(" ")}`
      const work = operate(host, isTool ? "tool" : "npm", what, (_disk, fault) => fault).pipe(
        // Long enough for the daemon that serves meanwhile to acknowledge something.
        Effect.tap(() => (isTool ? Effect.void : Effect.sleep("500 millis"))),
        Effect.flatMap((fault) =>
          operate(host, "read", `end of ${what}`, () => fault).pipe(
            Effect.flatMap((same) =>
              attempt(command, () =>
                isTool
                  ? runTool(host.process, dirname(dirname(args[0] ?? "")), input, same)
                  : runNpm(host.process, args.slice(1), same),
              ),
            ),
          ),
        ),
      )
      return Effect.mapError(work, (error) =>
        error instanceof ProcessFailed
          ? error
          : new ProcessFailed({ command, reason: "other", output: `npm error code ${error.code}` }),
      )
    },
    detach: ({ args }) =>
      operate(host, "spawn", `spawn ${args[0]}`, (_disk, fault) => {
        if (fault === "not-allowed") throw new Errno("EACCES", args[0] ?? "")
        return spawn(dirname(dirname(args[0] ?? "")), fault)
      }).pipe(
        Effect.mapError(
          (error) =>
            new ProcessFailed({
              command: "daemon",
              reason: "not-allowed",
              output: error.message,
              code: "EACCES",
            }),
        ),
      ),
    identity: (pid) =>
      Effect.sync(() => {
        const found = host.process.world.processes.find((process) => process.alive && process.pid === pid)
        return Option.map(Option.fromNullable(found), ({ start }) => start)
      }),
    about: () => Effect.succeed(Option.none()),
    signal: (pid, signal) =>
      Effect.sync(() => {
        const { world } = host.process
        const found = world.processes.find((process) => process.alive && process.pid === pid)
        if (found === undefined) return false
        if (signal === "SIGKILL") world.kill(found)
        else found.onStop?.()
        return true
      }),
  })

const attempt = <A>(command: string, act: () => A): Effect.Effect<A, Errno | ProcessFailed> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(act())
    } catch (cause) {
      if (cause instanceof ProcessFailed || cause instanceof Errno) return Effect.fail(cause)
      // The upgrader was killed, and its child with it.
      return cause instanceof Error && cause.constructor.name === "ProcessDead"
        ? Effect.never
        : Effect.die(new Error(command, { cause }))
    }
  })

const answerOf = (
  request: HttpClientResponse.HttpClientResponse["request"],
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
) => {
  const response = HttpClientResponse.fromWeb(request, new Response(null, { status, headers }))
  return Object.create(response, {
    json: { value: Effect.succeed(body) },
  }) as HttpClientResponse.HttpClientResponse
}

export const layerHttp = (host: Host) =>
  Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request, url) =>
      operate(host, "http", `${request.method} ${url.pathname}`, (_disk, fault) => {
        const { world } = host.process
        const daemon = world.daemons().find(({ serving }) => serving !== null)
        if (fault === "garbage") return answerOf(request, 200, { hello: "world" })
        if (fault !== null || daemon === undefined) throw new Errno("ECONNREFUSED", url.href)
        if (request.method === "POST") {
          daemon.onStop?.()
          return answerOf(request, 202, {})
        }
        const { serving, version, schema, instance } = daemon
        const health = {
          status: serving,
          version,
          latestVersion: null,
          updateAvailable: false,
          schemaVersion: schema,
          uptime: 0,
          timestamp: 0,
        }
        return answerOf(request, 200, health, { [INSTANCE_HEADER]: instance })
      }).pipe(
        Effect.mapError((cause) => new HttpClientError.RequestError({ request, reason: "Transport", cause })),
      ),
    ),
  )

export const layerDiskSpace = (host: Host) =>
  Layer.succeed(DiskSpace, {
    available: (path) =>
      operate(host, "space", `free space of ${path}`, (_disk, fault) => (fault === "ENOSPC" ? 0 : 1e12)).pipe(
        Effect.mapError(({ code }) => new FileFailed({ operation: "ask the free space of", path, code })),
      ),
    isNetwork: () => Effect.succeed(false),
  })

/** The product's lock with the machine's table in the place of SQLite's: free when its owner dies. */
export const layerLock = (host: Host) =>
  Layer.effect(
    ExclusiveLock,
    Effect.gen(function* () {
      const files = yield* DurableFile
      const holder = (path: string) =>
        readJsonIfValid(Holder, holderPath(path)).pipe(Effect.provideService(DurableFile, files))
      const failed = (path: string) => (error: Errno) =>
        new FileFailed({ operation: "lock", path, code: error.code })
      return ExclusiveLock.of({
        // Children of this machine die with their upgrader.
        share: () => Effect.void,
        drain: () => Effect.void,
        holder,
        isClaimed: (path) => Effect.map(holder(path), Option.isSome),
        isHeld: (path) =>
          Effect.flatMap(files.exists(path), (there) =>
            Effect.sync(() => there && host.process.world.locks.has(path)),
          ),
        acquire: ({ lock, path, what, wait = 0, mode = 0o600 }) =>
          Effect.gen(function* () {
            if (!(yield* files.exists(path))) {
              yield* files.makeDirectory(dirname(path))
              yield* files.append(path, "", 0o600)
            }
            const once = Effect.acquireRelease(
              operate(host, "lock", `lock ${path}`, (_disk, fault) => {
                if (fault !== null) throw new Errno(fault, path)
                const { locks } = host.process.world
                if (locks.has(path)) return null
                locks.set(path, host.process)
                return host.process
              }).pipe(
                Effect.mapError(failed(path)),
                Effect.flatMap((owner) =>
                  owner === null
                    ? Effect.flatMap(
                        holder(path),
                        (known) =>
                          new LockBusy({
                            lock,
                            path,
                            holder: Option.match(known, { onNone: () => "?", onSome: (facts) => facts.what }),
                          }),
                      )
                    : Effect.succeed(owner),
                ),
              ),
              (owner) =>
                Effect.sync(() => {
                  const { locks } = owner.world
                  if (locks.get(path) === owner) locks.delete(path)
                }),
            )
            yield* Effect.retry(once, {
              while: (error) => error._tag === "LockBusy",
              schedule: Schedule.spaced(pollInterval).pipe(Schedule.upTo(Duration.decode(wait))),
            })
            yield* writeHolder(files, path, { pid: host.process.pid, what, since: 0 }, mode)
          }),
      })
    }),
  )
