import { packagePaths } from "@waiaas/domain/Install"
import { NO_DEBUGGER } from "@waiaas/domain/NodeRange"
import { PackageDamaged } from "@waiaas/domain/PackageErrors"
import { CommandFailed } from "@waiaas/domain/RunErrors"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { Privilege } from "@waiaas/services/platform/Privilege"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { flushStreams } from "@waiaas/services/platform/Streams"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Output } from "./Output.ts"

const Initialised = Schema.Struct({
  dataDir: Schema.String,
  created: Schema.Boolean,
  /** Whether the API token is a new one. */
  token: Schema.Boolean,
  keystore: Schema.Literal("password", "key-file"),
  database: Schema.String,
})

/** Runs `dist/daemon.js <verb>` of this package as a child and gives its answer. */
export const runDaemonFile = (verb: "init") =>
  Effect.gen(function* () {
    const { node, packageDir, variables, cwd } = yield* Environment
    const { paths } = yield* DataDir
    const runner = yield* ProcessRunner
    const failed = (text: string, exitCode: number) => new CommandFailed({ text, exitCode })
    const ended = yield* runner
      .run({
        command: node,
        args: [packagePaths(packageDir).daemon, verb, "--data-dir", paths.root],
        cwd: cwd ?? "/",
        env: variables,
        timeout: "2 minutes",
      })
      .pipe(Effect.mapError((error) => failed(`waiaas ${verb} ${error.reason}: ${error.output}`, 1)))
    for (const line of ended.stderr.split("\n"))
      if (line.startsWith("warning: ")) yield* (yield* Output).note(line)
    const said = ended.stderr.slice(Math.max(0, ended.stderr.search(/^(error: |A bug in )/m))).trim()
    if (ended.exitCode !== 0) return yield* failed(said, ended.exitCode ?? 1)
    const result = Schema.decodeUnknownOption(Schema.parseJson(Initialised))(ended.stdout)
    return Option.isSome(result) ? result.value : yield* failed("waiaas init gave no answer", 1)
  })

/** Milliseconds; a daemon has to start, read or not. */
const FLUSH_LIMIT = 5000

/** Becomes another program of this Node. */
const become = (args: ReadonlyArray<string>) =>
  Effect.flatMap(Environment, ({ node, variables }) =>
    // What is not written yet would end with this program.
    Effect.zipRight(
      Effect.promise(() => flushStreams(FLUSH_LIMIT)),
      Effect.sync((): void => {
        // Node marks execve as experimental; an operator cannot do anything about that line.
        process.removeAllListeners("warning")
        const env = Object.fromEntries(
          Object.entries(variables).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
        )
        if (process.execve === undefined) throw new Error(`This Node has no execve (${process.version})`)
        process.execve(node, [node, NO_DEBUGGER, ...args], env)
      }),
    ),
  )

/** Becomes the daemon: one process, which a supervisor or a terminal goes on to own. */
export const takeOver = (args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { packageDir } = yield* Environment
    // The daemon is the data owner's, for good: it reads files that the owner writes.
    yield* (yield* Privilege).renounce
    yield* become([packagePaths(packageDir).daemon, ...args])
  })

/** Becomes this command again, as the link names it now: the package may be another one than when it began. */
export const runAgain = Effect.gen(function* () {
  // It finds out anew whose data it is.
  yield* (yield* Privilege).restore
  yield* become(process.argv.slice(1))
})

declare const __WAIAAS_DAEMON_BYTES__: number | undefined

/** Fails where `dist/daemon.js` of this very package is not as large as it was built: Node would print its source. */
export const expectDaemonFile = Effect.gen(function* () {
  if (typeof __WAIAAS_DAEMON_BYTES__ === "undefined") return
  const { packageDir, version } = yield* Environment
  const files = yield* DurableFile
  const { manifest, daemon: path } = packagePaths(packageDir)
  const text = yield* files.readTextIfThere(manifest)
  // In the middle of a run another version is in the same place.
  if (!Option.exists(text, (json) => json.includes(`"version": "${version}"`))) return
  const size = Option.map(yield* files.statIfThere(path), (info) => Number(info.size))
  if (Option.contains(size, __WAIAAS_DAEMON_BYTES__)) return
  const problem = Option.match(size, {
    onNone: () => "is missing",
    onSome: (bytes) => `has ${bytes} bytes, not ${__WAIAAS_DAEMON_BYTES__}`,
  })
  return yield* new PackageDamaged({ path, problem, version })
})
