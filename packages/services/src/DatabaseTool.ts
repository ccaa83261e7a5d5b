import { dirname } from "node:path"
import { AgentChanges, UniqueWrites } from "@waiaas/domain/AgentChanges"
import { DatabaseFailed } from "@waiaas/domain/DataErrors"
import { packagePaths } from "@waiaas/domain/Install"
import { PACKAGE_NAME } from "@waiaas/domain/Release"
import { shellWord } from "@waiaas/domain/Shell"
import {
  type Compare,
  Comparison,
  Description,
  Examination,
  errorOf,
  KeyReport,
  Migration,
  type Tables,
  type ToolError,
  ToolReply,
  ToolRequest,
} from "@waiaas/domain/ToolProtocol"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { versionIn } from "./Invariants.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { ProcessRunner } from "./platform/ProcessRunner.ts"

type ReadError = DatabaseFailed
const ofMigration = [
  "DatabaseFailed",
  "DatabaseTooNew",
  "DatabaseTooOld",
  "MigrationHistoryDiffers",
  "MigrationFailed",
] as const
type MigrateError = Extract<ToolError, { readonly _tag: (typeof ofMigration)[number] }>
const isOfMigration = (error: ToolError): error is MigrateError =>
  ofMigration.some((tag) => tag === error._tag)

/** Below this the slowest disk that we know reads and checks a database; the rest scales with its size. */
const BYTES_PER_SECOND = 5e6
/** Time limit of work on a database of `bytes`: it grows with the size, so it is no wall. */
export const timeLimitFor = (bytes: number): Duration.Duration =>
  Duration.seconds(60 + Math.ceil(bytes / BYTES_PER_SECOND))

/** What opening a sealed key may take: fifty times what it took where we measured it. */
const PER_KEY = Duration.millis(30)

/** What an act is called in an error. */
const acts: Record<ToolRequest["_tag"], string> = {
  Describe: "check what a start with it needs",
  Examine: "examine it",
  Compare: "compare it",
  Checkpoint: "checkpoint it",
  CopyLive: "copy it",
  Migrate: "migrate it",
  CompareAgents: "compare its agents",
  KeepSuspended: "keep its agents suspended",
  FindUnique: "find what only it has",
}

/** What a child that broke off said: Node puts the error above its stack and its own version. */
const lastWords = (stderr: string): string => {
  const lines = stderr.split("\n").flatMap((line) => line.trim() || [])
  const line = lines.find((each) => /^(\w*Error\b|error:|A bug in )/.test(each)) ?? lines.at(-1)
  return line === undefined ? "said nothing" : `said: ${line.slice(0, 500)}`
}

/** An examination that was asked for the keys too. */
const KeyExamination = Schema.Struct({ ...Examination.fields, keys: KeyReport })
export type KeyExamination = typeof KeyExamination.Type
const afterSignal =
  "Make sure that the machine has enough memory (`free -m`) and that its log names no error of the disk (`dmesg`), then run the command again."
const afterTimeout = "Run the command again when the machine has less to do."

const decodeReply = Schema.decodeUnknownEither(Schema.parseJson(ToolReply))

/** Acts on a database with the code of a given package, so that the upgrader itself never opens it. */
export class DatabaseTool extends Context.Tag("@waiaas/services/DatabaseTool")<
  DatabaseTool,
  {
    /** Whether it acts in processes of its own: only then may this one read, meanwhile, a file that is acted on. */
    readonly isApart: boolean
    /** Whether that code can run here, with this configuration (a file, else the live one), environment and keystore. */
    readonly describe: (
      packageDir: string,
      dataDir: string,
      config?: string,
    ) => Effect.Effect<typeof Description.Type, ToolError>
    readonly examine: (
      packageDir: string,
      database: string,
      check: "none" | "quick" | "full",
      tables: typeof Tables.Type,
    ) => Effect.Effect<Examination, ReadError>
    /** Examines a database and opens every sealed key of a data directory: which of the agents have none that opens. */
    readonly examineKeys: (
      packageDir: string,
      database: string,
      check: "none" | "quick" | "full",
      dataDir: string,
      tables?: typeof Tables.Type,
    ) => Effect.Effect<KeyExamination, ToolError>
    /**
     * Compares two databases, all columns and all rows of each table: what differs beyond the declared changes, and
     * which of those did not happen. `limit`: how many rows of a difference are named.
     */
    readonly compare: (
      packageDir: string,
      options: Pick<typeof Compare.Type, "before" | "after" | "changes" | "limit">,
    ) => Effect.Effect<Comparison, ReadError>
    readonly checkpoint: (packageDir: string, database: string) => Effect.Effect<void, ReadError>
    readonly copyLive: (packageDir: string, from: string, to: string) => Effect.Effect<void, ReadError>
    /** `before`: a database with the same data; what differs from it beyond what is declared undoes the migration. */
    readonly migrate: (
      packageDir: string,
      database: string,
      before?: string,
    ) => Effect.Effect<Migration, MigrateError>
    /** Compares the agents of an earlier database with those of `now`; in `dataDir` every sealed key is opened for it. */
    readonly compareAgents: (
      packageDir: string,
      before: string,
      now: string,
      dataDir?: string,
    ) => Effect.Effect<AgentChanges, ToolError>
    /** Suspends in `database` whatever agent is suspended in `now`; it is closed and checkpointed then. */
    readonly keepSuspended: (
      packageDir: string,
      database: string,
      now: string,
    ) => Effect.Effect<void, ReadError>
    /** Finds the acknowledged writes in `database` that none of the `others` has. */
    readonly findUnique: (
      packageDir: string,
      database: string,
      others: ReadonlyArray<string>,
    ) => Effect.Effect<UniqueWrites, ReadError>
  }
>() {
  /** Each act in a child process of the package's own code. */
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const files = yield* DurableFile
      const environment = yield* Environment
      const { paths } = yield* DataDir

      /** Where this program's own package cannot even load its code, it is put back. Of another one an operator knows nothing. */
      const remedyFor = (packageDir: string, exitCode: number | null) =>
        Effect.gen(function* () {
          // A signal comes from outside, and says nothing of the data.
          if (exitCode === null) return afterSignal
          if (packageDir !== environment.packageDir) return undefined
          const version = yield* versionIn(files, packageDir).pipe(Effect.orElseSucceed(() => Option.none()))
          // In the middle of a run another version is in the same place.
          if (Option.exists(version, (found) => found !== environment.version)) return undefined
          return `npm install --global ${shellWord(`${PACKAGE_NAME}@${environment.version}`)}`
        })

      const ask = <A, I>(
        packageDir: string,
        request: ToolRequest,
        result: Schema.Schema<A, I>,
        database: string,
      ): Effect.Effect<A, ToolError> =>
        Effect.gen(function* () {
          const failed = (reason: string, remedy?: string) =>
            new DatabaseFailed({ operation: acts[request._tag], path: database, reason, remedy })
          const bytes = yield* files.stat(database).pipe(
            Effect.map((info) => Number(info.size)),
            Effect.orElseSucceed(() => 0),
          )
          const keys =
            "dataDir" in request && request.dataDir !== undefined
              ? (yield* files.list(paths.keystore).pipe(Effect.orElseSucceed(() => []))).length
              : 0
          const ended = yield* runner
            .run({
              command: environment.node,
              args: [
                packagePaths(packageDir).tool,
                ...((yield* files.exists(paths.toolLock).pipe(Effect.orElseSucceed(() => false)))
                  ? ["--upgrader", String(environment.pid), "--lock", paths.toolLock]
                  : []),
              ],
              // Never inside a package that is about to be moved.
              cwd: dirname(database),
              env: environment.variables,
              input: JSON.stringify(Schema.encodeSync(ToolRequest)(request)),
              timeout: Duration.sum(timeLimitFor(bytes), Duration.times(PER_KEY, keys)),
            })
            .pipe(
              Effect.mapError((error) =>
                error.reason === "timeout" ? failed("it took too long", afterTimeout) : failed(error.output),
              ),
            )
          const replies = ended.stdout
            .split("\n")
            .map((line) => decodeReply(line))
            .filter(Either.isRight)
            .map((reply) => reply.right)
          const last = replies.at(-1)
          if (last?._tag === "Refused") return yield* errorOf(last)
          if (last?._tag !== "Done" || ended.exitCode !== 0)
            return yield* failed(
              `${packagePaths(packageDir).tool} ended with ${ended.exitCode ?? ended.signal} and ${lastWords(ended.stderr)}`,
              yield* remedyFor(packageDir, ended.exitCode),
            )
          return yield* Schema.decodeUnknown(result)(last.result).pipe(
            Effect.mapError(() => failed("the tool gave an answer that is not of the protocol")),
          )
        })

      // The protocol can carry any of its errors; those that an act does not have become its own.
      const readOnly = <A>(database: string, operation: string, effect: Effect.Effect<A, ToolError>) =>
        Effect.mapError(effect, (error) =>
          error._tag === "DatabaseFailed"
            ? error
            : new DatabaseFailed({ operation, path: database, reason: error.message }),
        )

      return DatabaseTool.of({
        isApart: true,
        describe: (packageDir, dataDir, config) =>
          ask(
            packageDir,
            { _tag: "Describe", protocol: 1, dataDir, config },
            Description,
            `${dataDir}/config.toml`,
          ),
        examine: (packageDir, database, check, tables) =>
          readOnly(
            database,
            "examine it",
            ask(packageDir, { _tag: "Examine", protocol: 1, database, check, tables }, Examination, database),
          ),
        examineKeys: (packageDir, database, check, dataDir, tables = {}) =>
          ask(
            packageDir,
            { _tag: "Examine", protocol: 1, database, check, tables, dataDir },
            KeyExamination,
            database,
          ),
        compare: (packageDir, options) =>
          readOnly(
            options.after,
            "compare it",
            ask(packageDir, { _tag: "Compare", protocol: 1, ...options }, Comparison, options.after),
          ),
        checkpoint: (packageDir, database) =>
          readOnly(
            database,
            "checkpoint it",
            ask(packageDir, { _tag: "Checkpoint", protocol: 1, database }, Schema.Unknown, database),
          ).pipe(Effect.asVoid),
        copyLive: (packageDir, from, to) =>
          readOnly(
            from,
            "copy it",
            ask(packageDir, { _tag: "CopyLive", protocol: 1, from, to }, Schema.Unknown, from),
          ).pipe(Effect.asVoid),
        compareAgents: (packageDir, before, now, dataDir) =>
          ask(packageDir, { _tag: "CompareAgents", protocol: 1, before, now, dataDir }, AgentChanges, now),
        keepSuspended: (packageDir, database, now) =>
          readOnly(
            database,
            "keep its agents suspended",
            ask(packageDir, { _tag: "KeepSuspended", protocol: 1, database, now }, Schema.Unknown, database),
          ).pipe(Effect.asVoid),
        findUnique: (packageDir, database, others) =>
          readOnly(
            database,
            "find what only it has",
            ask(packageDir, { _tag: "FindUnique", protocol: 1, database, others }, UniqueWrites, database),
          ),
        migrate: (packageDir, database, before) =>
          ask(packageDir, { _tag: "Migrate", protocol: 1, database, before }, Migration, database).pipe(
            Effect.mapError((error) =>
              isOfMigration(error)
                ? error
                : new DatabaseFailed({ operation: "migrate it", path: database, reason: error.message }),
            ),
          ),
      })
    }),
  )
}
