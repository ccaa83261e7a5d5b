import { dirname, join, resolve } from "node:path"
import { type BackupManifest, CONFIG_FILE } from "@waiaas/domain/BackupManifest"
import { BackupDamaged, LockBusy, NoBackup } from "@waiaas/domain/DataErrors"
import { hiddenPaths, type Install } from "@waiaas/domain/Install"
import type { PhaseFacts, Run } from "@waiaas/domain/JournalRecord"
import { CandidateRefused } from "@waiaas/domain/PackageErrors"
import { recoveryFor } from "@waiaas/domain/Recovery"
import { type RecoveryPaused, VerificationFailed } from "@waiaas/domain/RunErrors"
import type { SchemaRange } from "@waiaas/domain/SchemaRange"
import { valueTables } from "@waiaas/domain/ToolProtocol"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import type { PhaseName } from "@waiaas/domain/UpgradePhase"
import type { Version } from "@waiaas/domain/Version"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Backup, type BackupEntry, noneFor } from "./Backup.ts"
import { Cancellation, toItsEnd } from "./Cancellation.ts"
import { Compatibility } from "./Compatibility.ts"
import { ConfigFile, decodeConfig } from "./ConfigFile.ts"
import { DaemonControl } from "./DaemonControl.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { DataRestore } from "./DataRestore.ts"
import { NpmInstaller } from "./NpmInstaller.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { PhaseReporter } from "./PhaseReporter.ts"
import { expectAlone } from "./platform/DatabaseReaders.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DiskSpace } from "./platform/DiskSpace.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { Recover } from "./Recover.ts"
import { type DataLease, RunLocks } from "./RunLocks.ts"
import { expectSpace, RESERVE, sizeOfDatabase } from "./SpaceCheck.ts"
import { RunFailed } from "./Upgrade.ts"
import { type RecordBody, UpgradeJournal } from "./UpgradeJournal.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

const ANOTHER_BACKUP =
  "Choose another one out of `waiaas backup list`, and name it: `waiaas upgrade --rollback --backup <name>`."

/** What a rollback would do, for the operator to agree to. */
export interface RollbackPlan {
  readonly install: Install
  readonly installed: Version
  readonly backup: BackupEntry & { readonly manifest: BackupManifest }
  /** Rows of the tables that hold value: in the backup, and now. */
  readonly rows: ReadonlyArray<{ readonly table: string; readonly before: number; readonly now: number }>
  /** Why today's database cannot be read, where that is so: then nothing is known of its rows. */
  readonly unreadable: string | null
  /** Where the code comes from that belongs to the data. */
  readonly code: "same" | "retained" | "npm"
}

export interface RollbackReport {
  readonly from: Version
  readonly to: Version
  readonly schema: number
  readonly backup: string
  /** Name of the backup of what was there before. */
  readonly aside: string
  readonly running: boolean
}

/** `waiaas upgrade --rollback`: data and the code that belongs to it, back together. */
export class Rollback extends Context.Tag("@waiaas/services/Rollback")<
  Rollback,
  {
    /** Finds and verifies the backup; changes nothing. */
    readonly plan: (backup: Option.Option<string>) => Effect.Effect<RollbackPlan, UpgradeError>
    readonly run: (
      plan: RollbackPlan,
      restart: boolean,
    ) => Effect.Effect<RollbackReport, RunFailed | UpgradeError>
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
      const restore = yield* DataRestore
      const daemon = yield* DaemonControl
      const locks = yield* RunLocks
      const journal = yield* UpgradeJournal
      const recover = yield* Recover
      const reporter = yield* PhaseReporter
      const progress = yield* UpgradeProgress
      const files = yield* DurableFile
      const disk = yield* DiskSpace
      const environment = yield* Environment
      const { cancellable } = yield* Cancellation
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

      const rowsOf = (path: string) =>
        Effect.map(tool.examine(environment.packageDir, path, "none", valueTables), ({ tables }) => tables)

      /** What is there now, as a backup; as its bare files where SQLite cannot read it. */
      const keepAside = (plan: RollbackPlan, { databasePath, from, to }: Run["started"]) =>
        Effect.gen(function* () {
          const { packageDir } = environment
          const damaged = backups.keepDamaged(databasePath, from)
          const look = Effect.either(tool.examine(packageDir, databasePath, "quick", {}))
          // The plan's look may have failed for another reason, such as a time limit.
          if (plan.unreadable !== null && Either.isLeft(yield* look)) return yield* damaged
          return yield* backups
            .create({ kind: "pre-rollback", source: "closed", database: databasePath, from, to, packageDir })
            .pipe(
              Effect.catchTag("DatabaseFailed", (error) =>
                Effect.gen(function* () {
                  // Only where another look finds the damage too: anything else is a failure of this step.
                  if (Either.isRight(yield* look)) return yield* error
                  const text = `today's database cannot be read; its files are kept as they are: ${error.message}`
                  yield* progress.emit({ _tag: "Warning", text })
                  return yield* damaged
                }),
              ),
            )
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
            return { schema: range, databasePath: resolve(paths.root, decoded.database.path) }
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

      /** Two copies and a package: asked for while the daemon serves. */
      const reserveSpace = ({ backup, code, install }: RollbackPlan, database: string) =>
        Effect.gen(function* () {
          const { manifest } = backup
          const packageSize = code === "same" ? 0 : yield* files.sizeOfTree(install.packageDir)
          yield* expectSpace(files, disk, [
            [paths.upgrade, RESERVE],
            [paths.backups, yield* sizeOfDatabase(files, database)],
            [dirname(database), manifest.files.reduce((sum, { size }) => sum + size, 0)],
            [install.root, packageSize * 3],
          ])
          yield* files.reserve(paths.reserve, RESERVE)
        })

      const runPhases = (begun: Run, plan: RollbackPlan, lease: DataLease) =>
        Effect.uninterruptible(
          Effect.gen(function* () {
            let run = begun
            let phase: PhaseName = "check"
            const { install, backup } = plan
            const { started } = begun
            const append = (record: RecordBody) =>
              Effect.tap(journal.append(run, record), (next) =>
                Effect.sync(() => {
                  run = next
                }),
              )
            const alone = expectAlone(files, environment, started)
            const step = (
              name: "check" | "stop" | "aside",
              act: Effect.Effect<string, UpgradeError>,
              facts?: PhaseFacts,
            ) =>
              Effect.gen(function* () {
                phase = name
                yield* append({ _tag: "PhaseBegun", phase: name, ...(facts && { facts }) })
                yield* reporter.report("rollback", name, cancellable(act))
                yield* append({ _tag: "PhaseDone", phase: name })
              })
            let aside = ""

            const untilCommit = Effect.gen(function* () {
              yield* swap.point(install, {
                format: 1,
                dataDir: paths.root,
                run: started.run,
                since: started.at,
                pid: environment.pid,
              })
              yield* step(
                "check",
                Effect.gen(function* () {
                  yield* alone
                  yield* reserveSpace(plan, started.databasePath)
                  yield* restore.prepareRollback(started.run, backup.name, started.databasePath)
                  const staged = hiddenPaths(install.hidden).stagedPackage(started.run)
                  if (plan.code !== "same") {
                    yield* swap.retain(install, started.from)
                    if (plan.code === "retained") yield* swap.stageRetained(install, started.run, started.to)
                    else
                      yield* installer.stage(install, started.run, { _tag: "Registry", version: started.to })
                  }
                  yield* expectFit(plan, yield* describeBefore(plan, staged, started.databasePath))
                  yield* alone
                  if (plan.code !== "same") yield* swap.detour(install, started.from)
                  return `backup ${backup.name} is whole`
                }),
                { schemaTo: backup.manifest.schema },
              )
              yield* step(
                "stop",
                Effect.gen(function* () {
                  if (started.daemon !== null) yield* daemon.stop(started.daemon)
                  yield* lease.take("5 seconds", started.databasePath)
                  return started.daemon === null ? "it was not running" : "stopped"
                }),
              )
              yield* step(
                "aside",
                Effect.gen(function* () {
                  const made = yield* keepAside(plan, started)
                  aside = made.name
                  return made.name
                }),
              )
              yield* Effect.tap(journal.commit(run), (next) =>
                Effect.sync(() => {
                  run = next
                }),
              )
            })

            const exit = yield* Effect.exit(untilCommit)
            if (Exit.isFailure(exit) && !run.committed) {
              const error = Option.getOrElse(
                Cause.failureOption(exit.cause),
                (): UpgradeError =>
                  new VerificationFailed({
                    what: "the rollback's own code",
                    expected: "sound",
                    found: Cause.pretty(exit.cause).slice(0, 2000),
                  }),
              )
              const written = yield* Effect.either(
                journal.append(run, {
                  _tag: "Failed",
                  phase,
                  error: error._tag,
                  message: error.message,
                  next: error.next,
                }),
              )
              const recovered = yield* Effect.either(
                recover.execute(written._tag === "Right" ? written.right : run, lease, { startDaemon: true }),
              )
              const ended = recovered._tag === "Left" ? recovered.left : error
              const stands = recovered._tag === "Left" ? run : recovered.right
              return yield* new RunFailed({ cause: ended, phase, ...recoveryFor(ended, stands) })
            }
            yield* progress.emit({ _tag: "Committed" })
            yield* recover
              .execute(run, lease, { startDaemon: true, silent: true })
              .pipe(
                Effect.mapError(
                  (error: RecoveryPaused) =>
                    new RunFailed({ cause: error, phase: "restore", ...recoveryFor(error, run) }),
                ),
              )
            // The run has ended: what could not be removed is removed by the next one.
            yield* Effect.catchAll(backups.prune(started.to), (error) =>
              progress.emit({ _tag: "Warning", text: `old backups were not removed: ${error.message}` }),
            )
            return {
              from: started.from,
              to: started.to,
              schema: backup.manifest.schema,
              backup: backup.name,
              aside,
              running: started.daemon !== null && started.restart,
            }
          }),
        )

      return {
        plan: Effect.fn("Rollback.plan")(function* (name: Option.Option<string>) {
          const { databasePath } = yield* config.load
          yield* recover.onSight({ startDaemon: true })
          const install = yield* installer.install
          const backup = yield* choose(name)
          const then = yield* rowsOf(`${backup.path}/waiaas.db`)
          // When it is damaged a rollback is needed most.
          const now = yield* Effect.either(rowsOf(databasePath))
          const wanted = backup.manifest.from
          const code =
            wanted === installed ? "same" : (yield* swap.isRetained(install, wanted)) ? "retained" : "npm"
          return {
            install,
            installed,
            backup,
            rows: Either.match(now, {
              onLeft: () => [],
              onRight: (tables) =>
                Object.keys(valueTables).map((table) => ({
                  table,
                  before: then[table]?.rows ?? 0,
                  now: tables[table]?.rows ?? 0,
                })),
            }),
            unreadable: Either.isLeft(now) ? now.left.message : null,
            code,
          } as const
        }),
        run: Effect.fn("Rollback.run")(function* (plan: RollbackPlan, restart: boolean) {
          const { databasePath } = yield* config.load
          yield* swap.probe(plan.install)
          return yield* Effect.scoped(
            Effect.gen(function* () {
              const lease = yield* locks.acquire(plan.install, "rollback")
              yield* installer.expectInstalled(plan.install, plan.installed)
              const state = yield* daemon.state
              if (state._tag === "Busy")
                return yield* new LockBusy({ lock: "data", path: paths.dataLock, holder: state.holder })
              const run = yield* journal.begin({
                kind: "rollback",
                from: plan.installed,
                to: plan.backup.manifest.from,
                dataDir: paths.root,
                databasePath,
                install: plan.install,
                daemon: state._tag === "Running" ? state.facts : null,
                restart,
                backup: plan.backup.name,
                pid: environment.pid,
              })
              return yield* runPhases(run, plan, lease)
            }),
          )
        }, toItsEnd),
      }
    }),
  )
}

/** Code that does not know the backup's schema would refuse to start on it: seen before anything is touched. */
const expectFit = (plan: RollbackPlan, range: SchemaRange): Effect.Effect<void, CandidateRefused> => {
  const { name, manifest } = plan.backup
  return manifest.schema >= range.minimum && manifest.schema <= range.latest
    ? Effect.void
    : new CandidateRefused({
        version: manifest.from,
        reason: `backup ${name} has schema ${manifest.schema}, that version works with ${range.minimum} to ${range.latest}`,
        command: ANOTHER_BACKUP,
      })
}
