import { dirname } from "node:path"
import { type DatabaseInUse, FileFailed, LockBusy } from "@waiaas/domain/DataErrors"
import type { Install } from "@waiaas/domain/Install"
import { keyAdvice } from "@waiaas/domain/KeyFile"
import type { NoPermission, NoSpace, PackageDamaged } from "@waiaas/domain/PackageErrors"
import { type JournalDamaged, UnfinishedRun, UpgradeInProgress } from "@waiaas/domain/RunErrors"
import type { ToolError } from "@waiaas/domain/ToolProtocol"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { DaemonControl } from "./DaemonControl.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { expectAlone } from "./platform/DatabaseReaders.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DiskSpace } from "./platform/DiskSpace.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { ExclusiveLock } from "./platform/ExclusiveLock.ts"
import { RunLocks } from "./RunLocks.ts"
import { expectSpace, sizeOfDatabase, wantedOfUpgrade } from "./SpaceCheck.ts"
import { UpgradeJournal } from "./UpgradeJournal.ts"

export type Obstacle =
  | UnfinishedRun
  | UpgradeInProgress
  | LockBusy
  | DatabaseInUse
  | NoPermission
  | NoSpace
  | PackageDamaged
  | FileFailed
  | JournalDamaged

/** What would keep an upgrade from beginning here, whatever its target. Only looks: no lock is taken, nothing is written. */
export class UpgradeObstacle extends Context.Tag("@waiaas/services/UpgradeObstacle")<
  UpgradeObstacle,
  {
    /** Fails while a run of this data directory goes on, or was cut off. */
    readonly expectNoRun: Effect.Effect<void, Obstacle>
    /** Which agents cannot sign, in words; null where all can. Opens every sealed key, as step 1 does, and fails as that does. */
    readonly agentsWithoutKey: (database: string) => Effect.Effect<string | null, ToolError>
    /** Fails with the first of all obstacles. */
    readonly expectNone: (install: Install, database: string) => Effect.Effect<void, Obstacle>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const { paths } = yield* DataDir
      const journal = yield* UpgradeJournal
      const locks = yield* RunLocks
      const lock = yield* ExclusiveLock
      const swap = yield* PackageSwap
      const daemon = yield* DaemonControl
      const files = yield* DurableFile
      const environment = yield* Environment
      const tool = yield* DatabaseTool
      const disk = yield* DiskSpace

      /** Who works here now: of a run more is known than of another holder of its lock, such as a backup. */
      const expectNoRun = Effect.gen(function* () {
        // Live first: a run that ends in between has written its last word before it lets go.
        const live = yield* locks.live
        const open = Option.filter(yield* journal.latest, ({ ended }) => ended === null)
        if (Option.isSome(open)) {
          const { run: number, pid, at } = open.value.started
          const where = { dataDir: paths.root, run: number }
          return yield* live ? new UpgradeInProgress({ ...where, pid, since: at }) : new UnfinishedRun(where)
        }
        if (!live) return
        const known = yield* lock.holder(paths.runLock)
        const holder = Option.match(known, {
          onNone: () => "an unknown process",
          onSome: ({ what, pid }) => `${what}, process ${pid}`,
        })
        return yield* new LockBusy({ lock: "run", path: paths.runLock, holder })
      })

      return {
        expectNoRun,
        agentsWithoutKey: (database) =>
          Effect.map(tool.examineKeys(environment.packageDir, database, "none", paths.root), ({ keys }) =>
            keyAdvice(keys, paths.keystore),
          ),
        expectNone: Effect.fn("UpgradeObstacle.expectNone")(function* (install: Install, database: string) {
          yield* expectNoRun
          yield* locks.expectNoneElsewhere(install.packageDir)
          yield* swap.mayChange(install)
          for (const path of [paths.upgrade, paths.journals, paths.backups, dirname(database)]) {
            const refusal = yield* files.writeRefusal(path)
            if (Option.isSome(refusal))
              return yield* new FileFailed({ operation: "write", path, code: refusal.value })
          }
          yield* swap.expectWhole(install, environment.version)
          const size = yield* sizeOfDatabase(files, database)
          // Step 1 tries a rename; here nothing is written.
          const [there, here] = [yield* files.device(dirname(database)), yield* files.device(paths.backups)]
          const copy = there === here ? 0 : Math.ceil(size * 1.2)
          const packageSize = yield* files.sizeOfTree(install.packageDir)
          const wanted = wantedOfUpgrade(
            paths,
            { root: install.root, packageSize },
            { path: database, size, copy },
          )
          yield* expectSpace(files, disk, wanted)
          const state = yield* daemon.state
          if (state._tag === "Busy")
            return yield* new LockBusy({ lock: "data", path: paths.dataLock, holder: state.holder })
          yield* expectAlone(files, environment, { database, facts: paths.facts })
        }),
      }
    }),
  )
}
