import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import type { Version } from "@waiaas/domain/Version"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backup } from "./Backup.ts"
import { DaemonHandover } from "./DaemonHandover.ts"
import { DataRestore } from "./DataRestore.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { notRemoved, Recover } from "./Recover.ts"
import { nothingPruned, type Pruned } from "./Retention.ts"
import type { PhaseContext } from "./RunEngine.ts"
import { UpgradeJournal } from "./UpgradeJournal.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"

export interface Upgraded {
  readonly _tag: "Upgraded"
  readonly from: Version
  readonly to: Version
  readonly schemaFrom: number
  readonly schemaTo: number
  /** Directory name of the backup. */
  readonly backup: string
  /** Seconds without a serving daemon; `null` where none ran. */
  readonly downtime: number | null
  readonly running: boolean
  /** What became of old backups. */
  readonly pruned: Pruned
}

/** What is left of an upgrade after its commit: it goes forward alone, and is done whatever is interrupted. */
export class UpgradeFinish extends Context.Tag("@waiaas/services/UpgradeFinish")<
  UpgradeFinish,
  {
    /** `missedSince`: since when no daemon served, in nanoseconds; `null` where none ran. */
    readonly finish: (
      context: PhaseContext,
      missedSince: bigint | null,
    ) => Effect.Effect<Upgraded, UpgradeError>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const recover = yield* Recover
      const journal = yield* UpgradeJournal
      const progress = yield* UpgradeProgress
      const swap = yield* PackageSwap
      const backups = yield* Backup
      const handover = yield* DaemonHandover
      const restore = yield* DataRestore

      const finish = ({ run: decided, append }: PhaseContext, missedSince: bigint | null) =>
        Effect.gen(function* () {
          const { started } = decided
          // No undo needs it any more, and what is left to do may need space.
          yield* restore.giveBack(started.run, started.databasePath)
          const run = yield* journal.announce(decided)
          const { daemon: before, patience } = run
          const running = before !== null && started.restart
          // It was healthy, and waits for the commit; one that was killed meanwhile is started again.
          if (running)
            yield* handover.ensure({
              packageDir: started.install.packageDir,
              version: started.to,
              supervisor: before.supervisor,
              patience,
              schema: run.facts.schemaTo ?? null,
              status: "ok",
              database: started.databasePath,
              configDigest: before.configDigest,
            })
          const downtime =
            running && missedSince !== null
              ? Number((yield* Clock.currentTimeNanos) - missedSince) / 1e9
              : null
          yield* swap.relink(started.install)
          // Room for the next ones; an upgrade that is committed does not fail for it.
          const pruned = yield* Effect.gen(function* () {
            const { databasePath: database, install } = started
            const found = yield* backups.prune(started.to, { database, packageDir: install.packageDir })
            const kept = (yield* backups.list).flatMap(({ manifest }) => (manifest ? [manifest.from] : []))
            for (const path of yield* swap.pruneRetained(started.install, [...kept, started.from]))
              yield* progress.emit({ _tag: "Warning", text: notRemoved(path) })
            return found
          }).pipe(
            Effect.catchAll((error) =>
              Effect.as(
                progress.emit({
                  _tag: "Warning",
                  text: `not all old backups and retained code were removed: ${error.message}`,
                }),
                nothingPruned,
              ),
            ),
          )
          yield* recover.leftovers(run)
          yield* append({ _tag: "Ended", outcome: "new", ...(downtime === null ? {} : { downtime }) })
          return {
            _tag: "Upgraded",
            from: started.from,
            to: started.to,
            schemaFrom: run.facts.schemaFrom ?? 0,
            schemaTo: run.facts.schemaTo ?? 0,
            backup: run.facts.backup ?? "",
            downtime,
            running,
            pruned,
          } as const
        })

      return { finish }
    }),
  )
}
