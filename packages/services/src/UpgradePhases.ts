import { join } from "node:path"
import { DATABASE_FILE } from "@waiaas/domain/BackupManifest"
import { ConfigChanged } from "@waiaas/domain/DataErrors"
import { hiddenPaths } from "@waiaas/domain/Install"
import type { Estimate, Run } from "@waiaas/domain/JournalRecord"
import { agentsOfKeyFiles, agentsWithoutKey, keyAdvice } from "@waiaas/domain/KeyFile"
import { CandidateBroken } from "@waiaas/domain/PackageErrors"
import { VerificationFailed } from "@waiaas/domain/RunErrors"
import { sizeInWords } from "@waiaas/domain/Size"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backup } from "./Backup.ts"
import { DaemonHandover } from "./DaemonHandover.ts"
import { databaseEmpty } from "./Database.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { DataRestore } from "./DataRestore.ts"
import { counted, expectDeclared, expectKnown, expectVersion } from "./Invariants.ts"
import { NpmInstaller, type Source } from "./NpmInstaller.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { expectChangeable, filesOfDatabase } from "./PlacesCheck.ts"
import { expectAlone, othersInWords } from "./platform/DatabaseReaders.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DiskSpace } from "./platform/DiskSpace.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import type { ActsOf, RunAct } from "./RunEngine.ts"
import { expectSpace, RESERVE, sizeOfDatabase, wantedOfUpgrade } from "./SpaceCheck.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

/** Seconds that a daemon takes to stop and to answer again, whatever the size of its database. */
const STOP_AND_START = 1

/** How many rows of a difference are named. */
const NAMED = 5

/** An estimate for an operator. */
export const estimated = ({ downtime, bytes }: Estimate): string =>
  `expected downtime about ${downtime.toFixed(1)} s, ${sizeInWords(bytes)} of data`

/** What step 1 is carried out for. */
export interface CheckOptions {
  readonly source: Source
  /** Step 1 alone: it leaves nothing behind. */
  readonly dryRun: boolean
}

/** What each phase of an upgrade does, by name; the order and the undo are in `UpgradePhase`. */
export class UpgradePhases extends Context.Tag("@waiaas/services/UpgradePhases")<
  UpgradePhases,
  Omit<ActsOf<"upgrade">, "check"> & { readonly check: (options: CheckOptions) => RunAct }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const { paths } = yield* DataDir
      const files = yield* DurableFile
      const disk = yield* DiskSpace
      const installer = yield* NpmInstaller
      const swap = yield* PackageSwap
      const tool = yield* DatabaseTool
      const backups = yield* Backup
      const restore = yield* DataRestore
      const handover = yield* DaemonHandover
      const progress = yield* UpgradeProgress
      const environment = yield* Environment
      const detail = (text: string) => progress.emit({ _tag: "Detail", text })

      /** Everything that the run and its undo will need, asked for while nothing has been touched. */
      const reserveSpace = (run: Run) =>
        Effect.gen(function* () {
          const { databasePath, install } = run.started
          const database = yield* sizeOfDatabase(files, databasePath)
          const packageSize = yield* files.sizeOfTree(install.packageDir)
          const copy = yield* restore.sizeOfUndo(databasePath, database)
          const wanted = wantedOfUpgrade(
            paths,
            { root: install.root, packageSize },
            { path: databasePath, size: database, copy },
          )
          yield* expectSpace(files, disk, wanted)
          yield* files.reserve(paths.reserve, RESERVE)
          yield* restore.prepareUndo(run.started.run, databasePath, copy)
        })

      const alone = (database: string) => expectAlone(files, environment, { database, facts: paths.facts })
      const configNow = Effect.flatMap(files.exists(paths.config), (there) =>
        there ? Effect.map(files.hash(paths.config), ({ sha256 }) => sha256) : Effect.succeed(""),
      )
      /** What step 1 proved of the configuration is said of that file alone. */
      const expectConfig = (proven: string | undefined) =>
        Effect.filterOrFail(
          configNow,
          (now) => now === proven,
          () => new ConfigChanged({ path: paths.config }),
        )

      /** A restart at the end must succeed with what is here: configuration, keystore, environment. */
      const proveRestart = (run: Run, candidate: string) =>
        Effect.gen(function* () {
          const described = yield* tool.describe(candidate, paths.root)
          const { to } = run.started
          if (described.version !== to)
            return yield* new CandidateBroken({
              version: to,
              problem: `its code says to be ${described.version}`,
            })
          const running = run.started.daemon
          // A supervisor starts the daemon in its own environment: ours says nothing about it.
          if (running === null || running.supervisor !== null || !run.started.restart) return described
          yield* handover.expectSameConfiguration(running)
          return described
        })

      /** The migration on a consistent copy of the live data, with the full check: surprises come here. */
      const rehearse = (run: Run, candidate: string) =>
        Effect.gen(function* () {
          const directory = join(paths.upgrade, `rehearsal-${run.started.run}`)
          const copy = join(directory, "rehearsal.db")
          const untouched = join(directory, "before.db")
          yield* files.remove(directory)
          yield* files.makeDirectory(directory)
          const [copying] = yield* Effect.timed(
            tool.copyLive(environment.packageDir, run.started.databasePath, copy),
          )
          const { schema } = yield* tool.examine(environment.packageDir, copy, "full", {})
          if (schema === 0) return yield* databaseEmpty(run.started.databasePath)
          yield* files.copy(copy, untouched)
          const [migrating, migrated] = yield* Effect.timed(tool.migrate(candidate, copy))
          const changes = yield* expectKnown(run, migrated.changes)
          const [checking] = yield* Effect.timed(tool.examine(candidate, copy, "full", {}))
          // By the code that runs now: what the candidate does is not for the candidate to judge.
          const compared = yield* tool.compare(environment.packageDir, {
            before: untouched,
            after: copy,
            changes,
            limit: NAMED,
          })
          yield* expectDeclared(compared)
          const bytes = yield* sizeOfDatabase(files, copy)
          yield* files.remove(directory)
          // The full check takes about as long as the two quick ones while the daemon is down.
          const work = [copying, migrating, checking].reduce((sum, each) => Duration.sum(sum, each))
          const downtime = Math.round(Duration.toMillis(work) / 100) / 10 + STOP_AND_START
          return { from: migrated.from, to: migrated.to, changes, estimate: { downtime, bytes } }
        })

      return {
        check:
          ({ source, dryRun }) =>
          ({ run }) =>
            Effect.gen(function* () {
              const { started } = run
              const { install } = started
              yield* alone(started.databasePath)
              const others = yield* othersInWords(files, environment, {
                database: started.databasePath,
                facts: paths.facts,
              })
              if (others !== null) yield* progress.emit({ _tag: "Warning", text: others })
              yield* swap.expectWhole(install, started.from)
              yield* swap.expectMovable(install, started.run, started.from)
              yield* expectChangeable(files, paths, filesOfDatabase(started.databasePath))
              yield* reserveSpace(run)
              yield* detail("opening every sealed key")
              // By the code that runs now: a key that is damaged already is no fault of the candidate, and no obstacle.
              const { keys } = yield* tool.examineKeys(
                environment.packageDir,
                started.databasePath,
                "none",
                paths.root,
              )
              // No upgrade makes it better or worse, but its operator should not look for the cause there.
              const damaged = keys.damaged.map(({ id }) => id)
              const advice = keyAdvice(keys, paths.keystore)
              if (advice !== null) yield* progress.emit({ _tag: "Warning", text: advice })
              yield* detail(`staging ${started.to} with npm`)
              const release = yield* installer.stage(install, started.run, source)
              const candidate = hiddenPaths(install.hidden).stagedPackage(started.run)
              if (release.version !== started.to)
                return yield* new CandidateBroken({
                  version: started.to,
                  problem: `its package.json says ${release.version}`,
                })
              yield* detail("running the staged version with this configuration and keystore")
              const config = yield* configNow
              const described = yield* proveRestart(run, candidate)
              // It is asked later, and no key is ever removed.
              if (described.keys < keys.open)
                return yield* new CandidateBroken({
                  version: started.to,
                  problem: `it opens ${described.keys} of the ${keys.open} sealed keys that ${started.from} opens`,
                })
              // A dry run has no need of it, and to remove it afterwards would take it from a command that just began on it.
              if (!dryRun) {
                yield* detail(`retaining ${started.from}`)
                yield* swap.retain(install, started.from)
              }
              yield* detail("rehearsing the migration on a copy")
              const migrated = yield* rehearse(run, candidate)
              if (migrated.to !== described.schema.latest)
                return yield* new CandidateBroken({
                  version: started.to,
                  problem: `it migrated to schema ${migrated.to}, not ${described.schema.latest}`,
                })
              // The rehearsal took its time, and a failure of step 2 would cost a restart.
              yield* alone(started.databasePath)
              yield* expectConfig(config)
              if (!dryRun) yield* swap.detour(install, started.from)
              return {
                text: `schema ${migrated.from} -> ${migrated.to} rehearsed, ${estimated(migrated.estimate)}`,
                facts: {
                  schemaFrom: migrated.from,
                  schemaTo: migrated.to,
                  changes: migrated.changes,
                  config,
                  estimate: migrated.estimate,
                  ...(damaged.length === 0 ? {} : { damagedKeys: damaged }),
                },
              }
            }),

        stop: ({ run, lease, append }) =>
          Effect.map(handover.stop({ run, lease, append }), (text) => ({ text })),

        backup: ({ run }) =>
          Effect.gen(function* () {
            const { started, facts } = run
            const backup = backups.create({
              kind: "pre-upgrade",
              source: "closed",
              database: started.databasePath,
              from: started.from,
              to: started.to,
              // The package is moved soon; the retained code is what stays.
              packageDir: hiddenPaths(started.install.hidden).retained(started.from),
            })
            // The daemon is down: what waits for different files shares the time.
            const [made, keystore] = yield* Effect.all([backup, files.hashTree(paths.keystore)], {
              concurrency: 2,
            })
            if (made.manifest.schema !== facts.schemaFrom)
              return yield* new VerificationFailed({
                what: "the schema of the backup",
                expected: String(facts.schemaFrom),
                found: String(made.manifest.schema),
              })
            return {
              text: made.name,
              facts: { backup: made.name, invariants: { keystore } },
            }
          }),

        update: ({ run }) =>
          Effect.as(swap.swap(run.started.install, run.started.run, run.started.from), {
            text: `${run.started.to} in place`,
          }),

        migrate: ({ run }) =>
          Effect.map(tool.migrate(run.started.install.packageDir, run.started.databasePath), (migrated) => ({
            text:
              migrated.from === migrated.to
                ? `schema ${migrated.to}, unchanged`
                : `schema ${migrated.from} -> ${migrated.to}`,
          })),

        verify: ({ run }) =>
          Effect.gen(function* () {
            const { started, facts } = run
            const { packageDir } = started.install
            yield* expectVersion(files, packageDir, started.to)
            // At once, for the daemon is down: whether the new code can work with these data, and, by the old code,
            // whether they are what they were.
            const [found, compared] = yield* Effect.all(
              [
                tool.examineKeys(packageDir, started.databasePath, "quick", paths.root),
                tool.compare(hiddenPaths(started.install.hidden).retained(started.from), {
                  before: join(paths.backups, facts.backup ?? "", DATABASE_FILE),
                  after: started.databasePath,
                  changes: facts.changes ?? [],
                  limit: NAMED,
                }),
              ],
              { concurrency: 2 },
            )
            if (found.schema !== facts.schemaTo)
              return yield* new VerificationFailed({
                what: "the schema of the database",
                expected: String(facts.schemaTo),
                found: String(found.schema),
              })
            yield* expectDeclared(compared)
            const keystore = yield* files.hashTree(paths.keystore)
            if (keystore !== facts.invariants?.keystore)
              return yield* new VerificationFailed({
                what: "the keystore",
                expected: "the files from before the upgrade",
                found: "changed",
              })
            const { keys } = found
            // The files are the same as before, as was just seen: one that the new code passes over, or that opened before
            // and does not now, is a key that is lost.
            const keyFiles = agentsOfKeyFiles(yield* files.list(paths.keystore)).length
            const damaged = keys.damaged.filter(({ id }) => facts.damagedKeys?.includes(id) === true).length
            if (keys.open + damaged !== keyFiles)
              return yield* new VerificationFailed({
                what: "the number of sealed keys that open",
                expected: String(keyFiles - damaged),
                found: String(keys.open),
              })
            const silent = agentsWithoutKey(keys)
            // Of those that open, what is more than the agents' own is nobody's.
            const own = keys.agents - keys.missing
            const orphans = keys.open - own
            const words = [
              counted(keys.agents, "agent"),
              `${counted(own, "key")} open`,
              ...(orphans > 0 ? [`${counted(orphans, "key")} of no agent`] : []),
            ]
            return { text: [...words, ...(silent === null ? [] : [silent])].join(", ") }
          }),

        restart: ({ run, lease, append }) =>
          Effect.gen(function* () {
            const { started, facts, daemon: before, patience } = run
            if (before === null || !started.restart) return { text: "not started" }
            yield* append({ _tag: "Starting", version: started.to })
            yield* lease.release
            yield* handover.start({
              packageDir: started.install.packageDir,
              version: started.to,
              supervisor: before.supervisor,
              patience,
              schema: facts.schemaTo ?? null,
              status: "held",
              database: started.databasePath,
              configDigest: before.configDigest,
            })
            // It is held: one that read another file goes, and nothing was acknowledged.
            yield* expectConfig(facts.config)
            return { text: "healthy" }
          }),
      }
    }),
  )
}
