import { dirname } from "node:path"
import type { AgentChanges } from "@waiaas/domain/AgentChanges"
import { hiddenPaths } from "@waiaas/domain/Install"
import type { Run } from "@waiaas/domain/JournalRecord"
import type { Difference } from "@waiaas/domain/SchemaChange"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { Backup } from "./Backup.ts"
import { DaemonHandover } from "./DaemonHandover.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { DataRestore } from "./DataRestore.ts"
import { NpmInstaller } from "./NpmInstaller.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { expectChangeable, filesOfDatabase } from "./PlacesCheck.ts"
import { expectAlone } from "./platform/DatabaseReaders.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DiskSpace } from "./platform/DiskSpace.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { realPlace } from "./platform/RealPlace.ts"
import { RollbackCheck, type RollbackPlan } from "./RollbackCheck.ts"
import type { ActsOf } from "./RunEngine.ts"
import { expectSpace, RESERVE, sizeOfDatabase } from "./SpaceCheck.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

/** What a rollback undoes, to the last write: known from step 3 on. */
export interface Undone {
  /** `null` where today's database could not be read. */
  readonly changes: AgentChanges | null
  /** What else is undone: in other tables, and in columns that the backup does not have. */
  readonly others: ReadonlyArray<Difference>
}

export const nothingUndone: Undone = { changes: null, others: [] }

export interface ForwardPlan {
  readonly plan: RollbackPlan
  readonly resumeSuspended: boolean
  readonly undone: Ref.Ref<Undone>
}

/** What each phase of a rollback does until its commit, by name; the order and the undo are in `UpgradePhase`. */
export class RollbackPhases extends Context.Tag("@waiaas/services/RollbackPhases")<
  RollbackPhases,
  { readonly acts: (options: ForwardPlan) => ActsOf<"rollback"> }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const backups = yield* Backup
      const installer = yield* NpmInstaller
      const swap = yield* PackageSwap
      const tool = yield* DatabaseTool
      const restore = yield* DataRestore
      const handover = yield* DaemonHandover
      const progress = yield* UpgradeProgress
      const files = yield* DurableFile
      const disk = yield* DiskSpace
      const environment = yield* Environment
      const { paths } = yield* DataDir
      const check = yield* RollbackCheck

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

      /** What the rollback undoes, of data that nobody has open; `null` where they cannot be read. */
      const changesOf = ({ backup, unreadable }: RollbackPlan, database: string) =>
        check.changes(backup, database).pipe(
          Effect.catchTag("DatabaseFailed", (error) =>
            Effect.as(
              unreadable === null
                ? progress.emit({
                    _tag: "Warning",
                    text: `what is undone is not known, and an agent that was suspended since may sign again: ${error.message}`,
                  })
                : Effect.void,
              null,
            ),
          ),
        )

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

      const alone = (database: string) => expectAlone(files, environment, { database, facts: paths.facts })

      return {
        acts: ({ plan, resumeSuspended, undone }) => ({
          check: ({ run: { started } }) =>
            Effect.gen(function* () {
              const { install, backup } = plan
              yield* alone(started.databasePath)
              if (plan.code !== "same") yield* swap.expectMovable(install, started.run, started.from)
              yield* expectChangeable(files, paths, [
                ...filesOfDatabase(started.databasePath),
                // One that is the backup's already stays as it is.
                ...(plan.configDiffers ? [yield* realPlace(files, paths.config)] : []),
              ])
              yield* reserveSpace(plan, started.databasePath)
              yield* restore.prepareRollback(started.run, backup.name, started.databasePath)
              const staged = hiddenPaths(install.hidden).stagedPackage(started.run)
              if (plan.code !== "same") {
                yield* swap.retain(install, started.from)
                if (plan.code === "retained") yield* swap.stageRetained(install, started.run, started.to)
                else yield* installer.stage(install, started.run, { _tag: "Registry", version: started.to })
              }
              yield* check.expectFit(plan, staged, started.databasePath)
              yield* alone(started.databasePath)
              if (plan.code !== "same") yield* swap.detour(install, started.from)
              return {
                text: `backup ${backup.name} is whole`,
                facts: { schemaTo: backup.manifest.schema },
              }
            }),

          stop: (context) => Effect.map(handover.stop(context), (text) => ({ text })),

          aside: ({ run: { started } }) =>
            Effect.gen(function* () {
              const { name } = yield* keepAside(plan, started)
              // Nobody writes any more: what came between the question and the stop is in it.
              const changes = yield* changesOf(plan, started.databasePath)
              const others = changes === null ? [] : yield* check.others(plan.backup, started.databasePath)
              yield* Ref.set(undone, { changes, others })
              if (!resumeSuspended && (changes?.suspended.count ?? 0) > 0)
                yield* restore.keepSuspended(started.run, started.databasePath, environment.packageDir)
              return { text: name, facts: { aside: name } }
            }),
        }),
      }
    }),
  ).pipe(Layer.provide(RollbackCheck.layer))
}
