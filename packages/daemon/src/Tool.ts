/** The child side of `ToolProtocol`: one request on standard input, replies on standard output. */
import { text } from "node:stream/consumers"
import { AgentChanges, UniqueWrites } from "@waiaas/domain/AgentChanges"
import { LATEST_SCHEMA, VERSION } from "@waiaas/domain/Build"
import { RestartWouldFail } from "@waiaas/domain/PackageErrors"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import { NotUnderstood } from "@waiaas/domain/ToolErrors"
import {
  Comparison,
  Description,
  Examination,
  errorOf,
  Migration,
  refusedWith,
  type ToolError,
  ToolReply,
  ToolRequest,
} from "@waiaas/domain/ToolProtocol"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import type { DataDirectoryActs } from "@waiaas/services/DatabaseToolLocal"
import { DataDir } from "@waiaas/services/platform/DataDir"
import type { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import type { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import type { SealedKeys } from "@waiaas/services/SealedKeys"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { Keystore } from "./Keystore.ts"
import { underGuard } from "./ToolGuard.ts"

const cannot = (error: { readonly message: string; readonly next: string }) =>
  new RestartWouldFail({ missing: error.message.replace(/\.$/, ""), command: error.next })

/** Whether a daemon of this code could start here: configuration (of `configFile`, else its own), keystore, environment. Exports nothing of them. */
export const describeHere = (
  dataDir: string,
  configFile?: string,
): Effect.Effect<typeof Description.Type, ToolError, DurableFile | Environment> =>
  Effect.gen(function* () {
    const { paths, check } = yield* DataDir
    const config = yield* ConfigFile
    yield* check.pipe(
      Effect.catchTags({ UnsafeDataDir: cannot, OtherOwner: cannot, NoWorkingDirectory: cannot }),
    )
    const { digest, databasePath } = yield* config.load
    const { open } = yield* Keystore.proveKeys.pipe(Effect.catchTag("KeystoreLocked", cannot))
    return {
      version: makeVersion(VERSION),
      schema: rangeFor(LATEST_SCHEMA),
      configDigest: digest,
      databasePath: databasePath || paths.data,
      keys: open.length,
    }
  }).pipe(Effect.provide(ConfigFile.layerOf(configFile)), Effect.provide(DataDir.layer(Option.some(dataDir))))

/** Opens every sealed key of a data directory. */
const openKeysHere = (dataDir: string): Effect.Effect<SealedKeys, ToolError, DurableFile | Environment> =>
  Keystore.proveKeys.pipe(
    Effect.catchTag("KeystoreLocked", cannot),
    Effect.provide(DataDir.layer(Option.some(dataDir))),
  )

/** What this code makes of a data directory, for `DatabaseTool`. */
export const dataDirectoryActs = Effect.map(
  Effect.context<DurableFile | Environment>(),
  (context): DataDirectoryActs => ({
    describe: (dataDir, config) => Effect.provide(describeHere(dataDir, config), context),
    openKeys: (dataDir) => Effect.provide(openKeysHere(dataDir), context),
  }),
)

const act = (request: ToolRequest): Effect.Effect<unknown, ToolError, DatabaseTool | Environment> =>
  Effect.gen(function* () {
    const tool = yield* DatabaseTool
    const { packageDir } = yield* Environment
    switch (request._tag) {
      case "Describe":
        return Schema.encodeSync(Description)(
          yield* tool.describe(packageDir, request.dataDir, request.config),
        )
      case "Examine": {
        const { database, check, tables, dataDir } = request
        return Schema.encodeSync(Examination)(
          yield* dataDir === undefined
            ? tool.examine(packageDir, database, check, tables)
            : tool.examineKeys(packageDir, database, check, dataDir, tables),
        )
      }
      case "Compare":
        return Schema.encodeSync(Comparison)(yield* tool.compare(packageDir, request))
      case "Checkpoint":
        return yield* tool.checkpoint(packageDir, request.database)
      case "CopyLive":
        return yield* tool.copyLive(packageDir, request.from, request.to)
      case "CompareAgents":
        return Schema.encodeSync(AgentChanges)(
          yield* tool.compareAgents(packageDir, request.before, request.now, request.dataDir),
        )
      case "KeepSuspended":
        return yield* tool.keepSuspended(packageDir, request.database, request.now)
      case "FindUnique":
        return Schema.encodeSync(UniqueWrites)(
          yield* tool.findUnique(packageDir, request.database, request.others),
        )
      case "Migrate":
        return Schema.encodeSync(Migration)(yield* tool.migrate(packageDir, request.database, request.before))
    }
  })

/** A field that is not known is refused too: to do less than what was asked would look like having done it. */
const decodeRequest = Schema.decodeUnknownEither(Schema.parseJson(ToolRequest), { onExcessProperty: "error" })

/** What is wrong with a request, in one line; its own values are not repeated. */
const problemOf = (error: ParseResult.ParseError): string => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  const where = (issue?.path ?? []).join(".")
  return where === "" ? "it is not a request of protocol 1" : `its field ${where} is not of protocol 1`
}

/** The reply to a request as the tool writes it. `args`: the command line's, which name the run that asks. */
export const replyTo = (
  input: string,
  args: ReadonlyArray<string>,
): Effect.Effect<ToolReply, never, DatabaseTool | Environment | ExclusiveLock> =>
  Effect.gen(function* () {
    const request = decodeRequest(input)
    if (Either.isLeft(request))
      return yield* new NotUnderstood({ version: VERSION, problem: problemOf(request.left) })
    const result = yield* underGuard(args, act(request.right))
    return { _tag: "Done", result: result ?? null } as const
  }).pipe(Effect.catchAll((error) => Effect.succeed(refusedWith(error))))

/** `args`: the command line's. */
export const runTool = (args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const input = yield* Effect.promise(() => text(process.stdin))
    const reply: ToolReply = yield* replyTo(input, args)
    yield* Effect.async<void>((resume) => {
      // Only once it is written: an end of the process cuts what is still in the pipe.
      process.stdout.write(`${JSON.stringify(Schema.encodeSync(ToolReply)(reply))}\n`, () =>
        resume(Effect.void),
      )
    })
    if (reply._tag === "Refused") return yield* errorOf(reply)
  })
