import { LockBusy } from "@waiaas/domain/DataErrors"
import type { Run } from "@waiaas/domain/JournalRecord"
import { BadTarget } from "@waiaas/domain/PackageErrors"
import type { UpgradeError } from "@waiaas/domain/UpgradeError"
import type { Version } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { digestOf } from "./BuildDigest.ts"
import { Cancellation } from "./Cancellation.ts"
import { DaemonControl } from "./DaemonControl.ts"
import { DaemonHandover } from "./DaemonHandover.ts"
import { NpmInstaller, type Source } from "./NpmInstaller.ts"
import { PackageSwap } from "./PackageSwap.ts"
import { DataDir } from "./platform/DataDir.ts"
import { Environment } from "./platform/Environment.ts"
import { ReleaseFile } from "./ReleaseFile.ts"
import { type DataLease, RunLocks } from "./RunLocks.ts"
import { UpgradeJournal } from "./UpgradeJournal.ts"
import { UpgradeProgress } from "./UpgradeProgress.ts"
import { otherBuild, type Target, UpgradeTarget } from "./UpgradeTarget.ts"

export interface UpgradeOptions {
  /** An exact version or a dist-tag. */
  readonly to: Option.Option<string>
  /** A tarball: nothing is asked of a registry. */
  readonly from: Option.Option<string>
  /** Start the daemon at the end, if it ran at the beginning. */
  readonly restart: boolean
  /** Only step 1, cleaned up afterwards. */
  readonly dryRun: boolean
}

export type UpgradeBeginning =
  | { readonly _tag: "UpToDate"; readonly installed: Version; readonly newest: Version }
  | { readonly _tag: "Begun"; readonly run: Run; readonly source: Source; readonly lease: DataLease }

/** An upgrade up to its run's first record: target, permission, locks, daemon. Nothing is changed if it fails. */
export class UpgradeBegin extends Context.Tag("@waiaas/services/UpgradeBegin")<
  UpgradeBegin,
  {
    /** `what`: as the locks name it to others. */
    readonly begin: (
      options: UpgradeOptions,
      databasePath: string,
      what: string,
    ) => Effect.Effect<UpgradeBeginning, UpgradeError, Scope.Scope>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const targets = yield* UpgradeTarget
      const installer = yield* NpmInstaller
      const releaseFile = yield* ReleaseFile
      const locks = yield* RunLocks
      const journal = yield* UpgradeJournal
      const progress = yield* UpgradeProgress
      const swap = yield* PackageSwap
      const daemon = yield* DaemonControl
      const handover = yield* DaemonHandover
      const environment = yield* Environment
      const { paths } = yield* DataDir
      const { cancellable } = yield* Cancellation

      const findTarget = (
        options: UpgradeOptions,
        database: string,
      ): Effect.Effect<readonly [Target, Source], UpgradeError> =>
        Effect.gen(function* () {
          if (Option.isNone(options.from)) {
            const target = yield* targets.find(options.to, database)
            const { version, waiaas } = target.release
            return [target, { _tag: "Registry", version, build: waiaas?.build }] as const
          }
          if (Option.isSome(options.to))
            return yield* new BadTarget({
              target: options.to.value,
              problem: "--to and --from exclude each other",
            })
          const install = yield* installer.install
          const file = options.from.value
          const { release, files, sha256 } = yield* releaseFile.read(file)
          const judged = yield* targets.judge(install, release, database)
          const isOther =
            release.version === judged.installed &&
            digestOf(files) !== (yield* installer.build(install)).content
          const target = isOther
            ? { ...judged, refusal: otherBuild(judged.installed, "the tarball's") }
            : judged
          return [target, { _tag: "Tarball", file, sha256 }] as const
        })

      /** The build that a target is looked for; `null` where another run has it in its hands just now. */
      const installedNow = Effect.gen(function* () {
        return (yield* installer.build(yield* installer.install)).content
      }).pipe(
        Effect.catchIf(
          (error) => error._tag === "FileFailed" && error.code === "ENOENT",
          () => Effect.succeed(null),
        ),
      )

      const begin = (options: UpgradeOptions, databasePath: string, what: string) =>
        Effect.gen(function* () {
          const before = yield* installedNow
          const [target, source] = yield* cancellable(findTarget(options, databasePath))
          for (const text of target.warnings) yield* progress.emit({ _tag: "Warning", text })
          if (target.refusal !== null) return yield* target.refusal
          const { install, installed, release } = target
          if (!target.isNewer) return { _tag: "UpToDate", installed, newest: release.version } as const
          yield* swap.probe(install)
          const lease = yield* locks.acquire(install, what, { hasRun: true })
          yield* installer.expectInstalled(install, installed, before)
          const state = yield* daemon.state
          // Nobody who could be asked to stop: better said now than with the upgrade half-way.
          if (state._tag === "Busy")
            return yield* new LockBusy({ lock: "data", path: paths.dataLock, holder: state.holder })
          const found = state._tag === "Running" ? yield* handover.proven(state.facts) : { daemon: null }
          const run = yield* journal.begin({
            kind: "upgrade",
            from: installed,
            to: release.version,
            dataDir: paths.root,
            databasePath,
            install,
            ...found,
            restart: options.restart,
            pid: environment.pid,
          })
          return { _tag: "Begun", run, source, lease } as const
        })

      return { begin }
    }),
  )
}
