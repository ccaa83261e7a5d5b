/** The service graph of what only looks at the daemon and its data, built from the global options. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { Probation } from "@waiaas/services/Probation"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DiskSpace } from "@waiaas/services/platform/DiskSpace"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { UpdateNotifier } from "@waiaas/services/UpdateNotifier"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Layer from "effect/Layer"
import type { Globals } from "./Arguments.ts"
import { LoopbackClient } from "./LoopbackClient.ts"
import { Output } from "./Output.ts"

const Platform = Layer.mergeAll(ProcessRunner.layer, ExclusiveLock.layer, DiskSpace.layer).pipe(
  Layer.provideMerge(DurableFile.layer),
  Layer.provideMerge(Layer.mergeAll(NodeFileSystem.layer, Environment.layer)),
)

const Looking = Layer.mergeAll(UpdateNotifier.layer, Probation.layer).pipe(
  Layer.provideMerge(DaemonControl.layer),
  Layer.provide(LoopbackClient),
  Layer.provideMerge(Layer.mergeAll(ConfigFile.layer, UpgradeJournal.layer)),
)

export const lookingLayerFor = ({ dataDir, json, quiet }: Globals) =>
  Looking.pipe(
    Layer.provideMerge(DataDir.layer(dataDir)),
    Layer.provideMerge(Output.layerProgress),
    Layer.provideMerge(Output.layerOf(json ? "json" : quiet ? "quiet" : "human")),
    Layer.provideMerge(Platform),
  )
