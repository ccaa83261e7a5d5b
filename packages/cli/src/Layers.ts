/** The service graph of the command, built from the global options; `--help` builds none of it. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Backup } from "@waiaas/services/Backup"
import { Cancellation } from "@waiaas/services/Cancellation"
import { Compatibility } from "@waiaas/services/Compatibility"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonClient } from "@waiaas/services/DaemonClient"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { DaemonHandover } from "@waiaas/services/DaemonHandover"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { DataRestore } from "@waiaas/services/DataRestore"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { PackageSwap } from "@waiaas/services/PackageSwap"
import { PhaseReporter } from "@waiaas/services/PhaseReporter"
import { Probation } from "@waiaas/services/Probation"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DiskSpace } from "@waiaas/services/platform/DiskSpace"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { Recover } from "@waiaas/services/Recover"
import { ReleaseFile } from "@waiaas/services/ReleaseFile"
import { Rollback } from "@waiaas/services/Rollback"
import { RollbackSteps } from "@waiaas/services/RollbackSteps"
import { RunLocks } from "@waiaas/services/RunLocks"
import { UpdateNotifier } from "@waiaas/services/UpdateNotifier"
import { Upgrade } from "@waiaas/services/Upgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import { UpgradePhases } from "@waiaas/services/UpgradePhases"
import { UpgradeTarget } from "@waiaas/services/UpgradeTarget"
import * as Layer from "effect/Layer"
import { Output } from "./Output.ts"
import type { Globals } from "./Root.ts"

const Platform = Layer.mergeAll(
  ProcessRunner.layer,
  FetchHttpClient.layer,
  ExclusiveLock.layer,
  DiskSpace.layer,
).pipe(
  Layer.provideMerge(DurableFile.layer),
  Layer.provideMerge(Layer.mergeAll(NodeFileSystem.layer, Environment.layer)),
)

/** What works on the data, on the installed package and on the daemon. */
const Parts = Layer.mergeAll(
  DataRestore.layer,
  DaemonHandover.layer,
  RunLocks.layer,
  PhaseReporter.layer,
  Probation.layer,
).pipe(
  Layer.provideMerge(
    Layer.mergeAll(
      Backup.layer,
      Compatibility.layer,
      DaemonClient.layer,
      NpmInstaller.layer,
      PackageSwap.layer,
      UpdateNotifier.layer,
      Cancellation.layerSignals,
    ),
  ),
  Layer.provideMerge(Layer.mergeAll(DatabaseTool.layer, DaemonControl.layer)),
)

/** The pipelines: upgrade, rollback, and the recovery of both. */
const Pipelines = Layer.mergeAll(Upgrade.layer, Rollback.layer).pipe(
  Layer.provideMerge(Layer.mergeAll(UpgradePhases.layer, UpgradeTarget.layer, ReleaseFile.layer)),
  Layer.provideMerge(Recover.layer),
  Layer.provideMerge(RollbackSteps.layer),
)

export const layerFor = ({ dataDir, json, quiet }: Globals) =>
  Pipelines.pipe(
    Layer.provideMerge(Parts),
    Layer.provideMerge(Layer.mergeAll(ConfigFile.layer, UpgradeJournal.layer)),
    Layer.provideMerge(DataDir.layer(dataDir)),
    Layer.provideMerge(Output.layerProgress),
    Layer.provideMerge(Output.layerOf(json ? "json" : quiet ? "quiet" : "human")),
    Layer.provideMerge(Platform),
  )
