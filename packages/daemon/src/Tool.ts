/** The child side of `ToolProtocol`: one request on standard input, replies on standard output. */
import { text } from "node:stream/consumers"
import { LATEST_SCHEMA, VERSION } from "@waiaas/domain/Build"
import { RestartWouldFail } from "@waiaas/domain/PackageErrors"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import { shellWord } from "@waiaas/domain/Shell"
import {
  Description,
  Examination,
  Migration,
  type ToolError,
  ToolReply,
  ToolRequest,
} from "@waiaas/domain/ToolProtocol"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { DataDir } from "@waiaas/services/platform/DataDir"
import type { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
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
    const keys = yield* Keystore.proveKeys.pipe(Effect.catchTag("KeystoreLocked", cannot))
    return {
      version: makeVersion(VERSION),
      schema: rangeFor(LATEST_SCHEMA),
      configDigest: digest,
      databasePath: databasePath || paths.data,
      keys,
    }
  }).pipe(Effect.provide(ConfigFile.layerOf(configFile)), Effect.provide(DataDir.layer(Option.some(dataDir))))

const reply = (message: ToolReply): Effect.Effect<void> =>
  Effect.sync(() => void process.stdout.write(`${JSON.stringify(Schema.encodeSync(ToolReply)(message))}\n`))

const answer = (request: ToolRequest): Effect.Effect<unknown, ToolError, DatabaseTool | Environment> =>
  Effect.gen(function* () {
    const tool = yield* DatabaseTool
    const { packageDir } = yield* Environment
    switch (request._tag) {
      case "Describe":
        return Schema.encodeSync(Description)(
          yield* tool
            .describe(packageDir, request.dataDir, request.config)
            .pipe(
              Effect.mapError((error) =>
                error._tag === "KeystoreDamaged" && !request.keys ? cannot(error) : error,
              ),
            ),
        )
      case "Examine":
        return Schema.encodeSync(Examination)(
          yield* request.dataDir === undefined
            ? tool.examine(packageDir, request.database, request.check, request.tables)
            : tool.verify(packageDir, request.database, request.dataDir),
        )
      case "Checkpoint":
        return yield* tool.checkpoint(packageDir, request.database)
      case "CopyLive":
        return yield* tool.copyLive(packageDir, request.from, request.to)
      case "Migrate":
        return Schema.encodeSync(Migration)(yield* tool.migrate(packageDir, request.database))
    }
  })

/** `args`: the command line's. */
export const runTool = (args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const input = yield* Effect.promise(() => text(process.stdin))
    const request = Schema.decodeUnknownOption(Schema.parseJson(ToolRequest))(input)
    if (Option.isNone(request))
      return yield* new RestartWouldFail({
        missing: `this code does not know the request ${input.slice(0, 200)}`,
        command: `npm install --global ${shellWord(`@waiaas/cli@${VERSION}`)}`,
      })
    const result = yield* underGuard(args, answer(request.value))
    yield* reply({ _tag: "Done", result: result ?? null })
  }).pipe(Effect.tapError((error) => reply({ _tag: "Refused", error })))
