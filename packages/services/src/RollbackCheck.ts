import { join, resolve } from "node:path"
import type { AgentChanges } from "@waiaas/domain/AgentChanges"
import { type BackupManifest, CONFIG_FILE, DATABASE_FILE } from "@waiaas/domain/BackupManifest"
import { BackupDamaged, BackupForeign, DataNotMigrated, NoBackup } from "@waiaas/domain/DataErrors"
import type { Install } from "@waiaas/domain/Install"
import { otherWritesIn } from "@waiaas/domain/OtherWrites"
import { CandidateRefused } from "@waiaas/domain/PackageErrors"
import type { Difference } from "@waiaas/domain/SchemaChange"
import type { SchemaRange } from "@waiaas/domain/SchemaRange"
import type { ToolError } from "@waiaas/domain/ToolProtocol"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import type { Version } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Backup, type BackupEntry, noneFor } from "./Backup.ts"
import { Compatibility } from "./Compatibility.ts"
import { ConfigFile, decodeConfig } from "./ConfigFile.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { NpmInstaller } from "./NpmInstaller.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { realPlace } from "./platform/RealPlace.ts"
import { Recover } from "./Recover.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

const ANOTHER_BACKUP =
  "Choose another one out of `waiaas backup list`, and name it: `waiaas upgrade --rollback --backup <name>`."

/** How many rows of another table are named. */
const NAMED_ROWS = 5

/** What a rollback would do, for the operator to agree to. */
export interface RollbackPlan {
  readonly install: Install
  readonly installed: Version
  readonly backup: BackupEntry & { readonly manifest: BackupManifest }
  /** What happened to the agents since; `null` where today's database cannot be read. */
  readonly changes: AgentChanges | null
  /** What else was written since: in other tables, and in columns that the backup does not have. */
  readonly others: ReadonlyArray<Difference>
  /** Agents of the backup, and those that have no key here; `null` where the backup itself cannot be compared. */
  readonly ofBackup: Pick<AgentChanges, "before" | "keyless"> | null
  /** Whether today's config.toml is another one than the backup's. */
  readonly configDiffers: boolean
  /** Why today's database cannot be read, where that is so: then nothing is known of its agents. */
  readonly unreadable: string | null
  /** Where the code comes from that belongs to the data. */
  readonly code: "same" | "retained" | "npm"
  /** Digest of the installed package, which must still be that one when the operator has agreed. */
  readonly content: string
}

type ChosenBackup = RollbackPlan["backup"]

/** What a rollback would restore and undo, and whether it can: asked before anything is touched. */
export class RollbackCheck extends Context.Tag("@waiaas/services/RollbackCheck")<
  RollbackCheck,
  {
    /** Finds and verifies the backup, and compares it with today's data; changes nothing. */
    readonly plan: (backup: Option.Option<string>) => Effect.Effect<RollbackPlan, UpgradeError>
    /** Compares the agents of a backup with those of `database`. */
    readonly changes: (backup: ChosenBackup, database: string) => Effect.Effect<AgentChanges, ToolError>
    /** What else was written in `database` since a backup. */
    readonly others: (
      backup: ChosenBackup,
      database: string,
    ) => Effect.Effect<ReadonlyArray<Difference>, UpgradeError>
    /** Fails unless the code in `staged`, which comes back, works with the data and the config.toml that come back with it. */
    readonly expectFit: (
      plan: RollbackPlan,
      staged: string,
      database: string,
    ) => Effect.Effect<void, UpgradeError>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const backups = yield* Backup
      const config = yield* ConfigFile
      const installer = yield* NpmInstaller
      const swap = yield* PackageSwap
      const tool = yield* DatabaseTool
      const recover = yield* Recover
      const progress = yield* UpgradeProgress
      const files = yield* DurableFile
      const environment = yield* Environment
      const { range } = yield* Compatibility
      const { paths } = yield* DataDir
      const installed = environment.version

      const choose = (name: Option.Option<string>) =>
        Effect.gen(function* () {
          if (Option.isNone(name)) {
            const { chosen, damaged } = yield* backups.lookForRollback(installed)
            for (const { name: newer, problem } of damaged)
              yield* progress.emit({
                _tag: "Warning",
                text: `backup ${newer} is damaged (${problem}): older data is taken instead, if there is any`,
              })
            if (Option.isSome(chosen)) return chosen.value
            return yield* new NoBackup({ wanted: noneFor(installed) })
          }
          const entry = (yield* backups.list).find((each) => each.name === name.value)
          if (!entry) return yield* new NoBackup({ wanted: `backup named ${name.value}` })
          if (entry.manifest === null || entry.problem !== null)
            return yield* new BackupDamaged({
              name: entry.name,
              problem: entry.problem ?? "it has no manifest",
            })
          return { ...entry, manifest: yield* backups.verify(entry.name) }
        })

      const changesSince = (backup: ChosenBackup, database: string, keystoreOf?: string) =>
        tool.compareAgents(environment.packageDir, join(backup.path, DATABASE_FILE), database, keystoreOf)

      const othersSince = (backup: ChosenBackup, database: string) =>
        tool
          .compare(environment.packageDir, {
            before: join(backup.path, DATABASE_FILE),
            after: database,
            changes: [],
            limit: NAMED_ROWS,
          })
          .pipe(
            Effect.map(({ differences }) => otherWritesIn(differences)),
            // Damage where no agent is: what can be said of agents is said, and the data goes back.
            Effect.catchTag("DatabaseFailed", ({ message }) =>
              Effect.as(
                progress.emit({
                  _tag: "Warning",
                  text: `what was written since in other tables is not known: ${message}`,
                }),
                [],
              ),
            ),
          )

      /** Another installation's agents would be there, and not one of them has a key here, not even a damaged one. */
      const expectOwn = (backup: ChosenBackup, { before, withoutFile, removed }: AgentChanges) =>
        before > 0 && withoutFile === before && removed.count > 0
          ? new BackupForeign({ name: backup.name, agents: before, keystore: paths.keystore })
          : Effect.void

      /** Writes of an older version, which a newer one has not seen yet, are no part of what the newer one did. */
      const expectMigrated = (
        backup: ChosenBackup,
        database: string,
        found: AgentChanges,
        others: ReadonlyArray<Difference>,
      ) =>
        Effect.gen(function* () {
          const { added, removed, suspended, resumed, changed } = found
          const written = [added, removed, suspended, resumed, changed].some(({ count }) => count > 0)
          if (!written && others.length === 0) return
          const { writtenBy } = yield* tool.examine(environment.packageDir, database, "none", {})
          if (writtenBy === backup.manifest.from && writtenBy !== installed)
            return yield* new DataNotMigrated({ installed, writtenBy, backup: backup.name })
        })

      const configDiffers = ({ path, manifest }: ChosenBackup) =>
        Effect.gen(function* () {
          const theirs = manifest.files.find(({ name }) => name === CONFIG_FILE)
          if (theirs === undefined || !(yield* files.exists(join(path, CONFIG_FILE)))) return false
          if (!(yield* files.exists(paths.config))) return true
          return (yield* files.hash(paths.config)).sha256 !== theirs.sha256
        })

      /**
       * What the code that comes back makes of the config.toml that comes back with it. Our own code is asked
       * nothing more: it runs here already.
       */
      const describeBefore = ({ backup, code }: RollbackPlan, staged: string, database: string) =>
        Effect.gen(function* () {
          const file = join(backup.path, CONFIG_FILE)
          const text = yield* files.readTextIfThere(file)
          const before = yield* Effect.gen(function* () {
            if (code !== "same")
              return yield* tool.describe(staged, paths.root, Option.isSome(text) ? file : undefined)
            if (Option.isNone(text)) return { schema: range, databasePath: database }
            const decoded = yield* decodeConfig(file, text.value, environment.variables)
            return {
              schema: range,
              databasePath: yield* realPlace(files, resolve(paths.root, decoded.database.path)),
            }
          }).pipe(
            Effect.mapError((error) =>
              error._tag === "ConfigInvalid" && error.source === file
                ? new CandidateRefused({
                    version: backup.manifest.from,
                    reason: `it cannot work with the config.toml of backup ${backup.name}: ${error.key} = ${error.value} is not allowed (allowed: ${error.allowed})`,
                    command: ANOTHER_BACKUP,
                  })
                : error,
            ),
          )
          const path = before.databasePath
          // It comes back with its data: it must not name another database.
          if (path === database) return before.schema
          return yield* new CandidateRefused({
            version: backup.manifest.from,
            reason: `its config.toml in backup ${backup.name} has the database at ${path}, today's is at ${database}`,
            command: `Run \`waiaas stop\`, move the database (with its -wal and -shm) to ${path}, set database.path in config.toml to that, then run \`waiaas upgrade --rollback\`.`,
          })
        })

      return {
        changes: changesSince,
        others: othersSince,
        expectFit: (plan, staged, database) =>
          Effect.flatMap(describeBefore(plan, staged, database), (found) => expectSchema(plan, found)),
        plan: Effect.fn("RollbackCheck.plan")(function* (name: Option.Option<string>) {
          const { databasePath } = yield* config.load
          yield* recover.onSight({ startDaemon: true })
          const install = yield* installer.install
          const { content } = yield* installer.build(install)
          const backup = yield* choose(name)
          // When today's data are damaged a rollback is needed most. A keystore that does not open is no damage of theirs.
          const found = yield* changesSince(backup, databasePath, paths.root).pipe(
            Effect.map(Either.right),
            Effect.catchTag("DatabaseFailed", (error) => Effect.succeed(Either.left(error))),
          )
          const others = Either.isRight(found) ? yield* othersSince(backup, databasePath) : []
          if (Either.isRight(found)) {
            yield* expectOwn(backup, found.right)
            if (Option.isNone(name)) yield* expectMigrated(backup, databasePath, found.right, others)
          }
          const ofBackup = Either.isRight(found)
            ? found.right
            : // With itself: what is asked is whether its agents could sign.
              yield* changesSince(backup, join(backup.path, DATABASE_FILE), paths.root).pipe(
                Effect.catchTag("DatabaseFailed", () => Effect.succeed(null)),
              )
          const wanted = backup.manifest.from
          const code =
            wanted === installed ? "same" : (yield* swap.isRetained(install, wanted)) ? "retained" : "npm"
          return {
            install,
            installed,
            backup,
            ofBackup,
            changes: Option.getOrNull(Either.getRight(found)),
            others,
            configDiffers: yield* configDiffers(backup),
            unreadable: Either.isLeft(found) ? found.left.message : null,
            code,
            content,
          } as const
        }),
      }
    }),
  )
}

/** Code that does not know the backup's schema would refuse to start on it: seen before anything is touched. */
const expectSchema = (plan: RollbackPlan, range: SchemaRange): Effect.Effect<void, CandidateRefused> => {
  const { name, manifest } = plan.backup
  return manifest.schema >= range.minimum && manifest.schema <= range.latest
    ? Effect.void
    : new CandidateRefused({
        version: manifest.from,
        reason: `backup ${name} has schema ${manifest.schema}, that version works with ${range.minimum} to ${range.latest}`,
        command: ANOTHER_BACKUP,
      })
}
