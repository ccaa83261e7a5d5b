import type { FileFailed } from "@waiaas/domain/DataErrors"
import { isInPlace, type Run } from "@waiaas/domain/JournalRecord"
import { type JournalDamaged, VerificationFailed } from "@waiaas/domain/RunErrors"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import type { PhaseName } from "@waiaas/domain/UpgradePhase"
import { isVersion } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { DaemonHandover } from "./DaemonHandover.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { DataRestore } from "./DataRestore.ts"
import { expectVersion } from "./Invariants.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { PhaseReporter } from "./PhaseReporter.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import type { DataLease } from "./RunLocks.ts"
import type { RecordBody } from "./UpgradeJournal.ts"

export interface ForwardOptions {
  readonly run: Run
  readonly lease: DataLease
  readonly startDaemon: boolean
  readonly append: (record: RecordBody) => Effect.Effect<Run, JournalDamaged | FileFailed>
}

/** The half of a rollback after its point of no return: by the rollback itself, or by whoever resumes it. */
export class RollbackSteps extends Context.Tag("@waiaas/services/RollbackSteps")<
  RollbackSteps,
  {
    /** Restores data and package, verifies, starts. Every step looks at what it finds. */
    readonly forward: (options: ForwardOptions) => Effect.Effect<void, UpgradeError>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const restore = yield* DataRestore
      const files = yield* DurableFile
      const swap = yield* PackageSwap
      const tool = yield* DatabaseTool
      const handover = yield* DaemonHandover
      const reporter = yield* PhaseReporter

      return {
        forward: Effect.fn("RollbackSteps.forward")(function* ({ run, lease, startDaemon, append }) {
          const { started, facts } = run
          const { install } = started
          const phase = (name: PhaseName, act: Effect.Effect<string, UpgradeError>) =>
            run.done.includes(name)
              ? Effect.void
              : Effect.gen(function* () {
                  yield* append({ _tag: "PhaseBegun", phase: name })
                  yield* reporter.report("rollback", name, act)
                  yield* append({ _tag: "PhaseDone", phase: name })
                })

          // A daemon may have been started on the restored data since: that is nobody's to move any more.
          if (!isInPlace(run)) {
            yield* lease.take("20 seconds", started.databasePath)
            yield* phase(
              "restore",
              Effect.as(restore.rollback(started.run, started.databasePath), "data restored"),
            )
            yield* phase(
              "update",
              started.from === started.to
                ? Effect.succeed("the same version")
                : Effect.as(swap.swap(install, started.run, started.from), `${started.to} in place`),
            )
            yield* phase(
              "verify",
              Effect.gen(function* () {
                yield* expectVersion(files, install.packageDir, started.to)
                const found = yield* tool.examine(install.packageDir, started.databasePath, "quick", {})
                if (found.schema !== facts.schemaTo)
                  return yield* new VerificationFailed({
                    what: "the schema of the restored database",
                    expected: String(facts.schemaTo),
                    found: String(found.schema),
                  })
                return `${started.to}, schema ${found.schema}`
              }),
            )
          }
          yield* swap.relink(install)
          const { daemon: before, patience } = run
          if (before === null || !started.restart)
            return yield* phase("restart", Effect.succeed("not started"))
          yield* phase(
            "restart",
            Effect.gen(function* () {
              if (isVersion(started.to)) yield* append({ _tag: "Starting", version: started.to })
              yield* lease.release
              if (!startDaemon) return "left to the start that is going on"
              yield* handover.ensure({
                packageDir: install.packageDir,
                version: started.to,
                supervisor: before.supervisor,
                patience,
                schema: facts.schemaTo ?? null,
                status: "ok",
                database: started.databasePath,
              })
              return "healthy"
            }),
          )
        }),
      }
    }),
  )
}
