/** The service graph of all commands, on top of what looks at things; `--help` builds none of it. */
import { Backup } from "@waiaas/services/Backup"
import { Cancellation } from "@waiaas/services/Cancellation"
import { Compatibility } from "@waiaas/services/Compatibility"
import { DaemonClient } from "@waiaas/services/DaemonClient"
import { DaemonHandover } from "@waiaas/services/DaemonHandover"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { DataRestore } from "@waiaas/services/DataRestore"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { PackageSwap } from "@waiaas/services/PackageSwap"
import { PhaseReporter } from "@waiaas/services/PhaseReporter"
import { LoopbackClient } from "@waiaas/services/platform/LoopbackClient"
import { Recover } from "@waiaas/services/Recover"
import { ReleaseFile } from "@waiaas/services/ReleaseFile"
import { Rollback } from "@waiaas/services/Rollback"
import { RollbackSteps } from "@waiaas/services/RollbackSteps"
import { RunLocks } from "@waiaas/services/RunLocks"
import { Supervision } from "@waiaas/services/Supervision"
import { Upgrade } from "@waiaas/services/Upgrade"
import { UpgradeObstacle } from "@waiaas/services/UpgradeObstacle"
import { UpgradePhases } from "@waiaas/services/UpgradePhases"
import { UpgradeTarget } from "@waiaas/services/UpgradeTarget"
import * as Layer from "effect/Layer"
import type { Globals } from "./Arguments.ts"
import { lookingLayerFor } from "./LookingLayers.ts"

/** What works on the data, on the installed package and on the daemon. */
const Parts = Layer.mergeAll(
  DataRestore.layer,
  DaemonHandover.layer,
  RunLocks.layer,
  PhaseReporter.layer,
).pipe(
  Layer.provideMerge(
    Layer.mergeAll(
      Backup.layer,
      Compatibility.layer,
      Layer.provide(DaemonClient.layer, LoopbackClient),
      NpmInstaller.layer,
      PackageSwap.layer,
      Supervision.layer,
      Cancellation.layerSignals,
    ),
  ),
  Layer.provideMerge(DatabaseTool.layer),
)

/** The pipelines: upgrade, rollback, and the recovery of both. */
const Pipelines = Layer.mergeAll(Upgrade.layer, Rollback.layer).pipe(
  Layer.provideMerge(
    Layer.mergeAll(UpgradePhases.layer, UpgradeTarget.layer, UpgradeObstacle.layer, ReleaseFile.layer),
  ),
  Layer.provideMerge(Recover.layer),
  Layer.provideMerge(RollbackSteps.layer),
)

export const layerFor = (globals: Globals) =>
  Pipelines.pipe(Layer.provideMerge(Parts), Layer.provideMerge(lookingLayerFor(globals)))
