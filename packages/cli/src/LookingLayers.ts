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
import { LoopbackClient } from "@waiaas/services/platform/LoopbackClient"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { UpdateNotifier } from "@waiaas/services/UpdateNotifier"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Layer from "effect/Layer"
import type { Globals } from "./Arguments.ts"
import { Output } from "./Output.ts"

/** One below the other, and not side by side: every layer of a `mergeAll` costs a short command a fiber. */
export const lookingLayerFor = ({ dataDir, json, quiet }: Globals) =>
  UpdateNotifier.layer.pipe(
    Layer.provideMerge(Probation.layer),
    Layer.provideMerge(DaemonControl.layer),
    Layer.provide(LoopbackClient),
    Layer.provideMerge(UpgradeJournal.layer),
    Layer.provideMerge(ConfigFile.layer),
    Layer.provideMerge(DataDir.layer(dataDir)),
    Layer.provideMerge(Output.layerProgress),
    Layer.provideMerge(Output.layerOf(json ? "json" : quiet ? "quiet" : "human")),
    Layer.provideMerge(ProcessRunner.layer),
    Layer.provideMerge(ExclusiveLock.layer),
    Layer.provideMerge(DiskSpace.layer),
    Layer.provideMerge(DurableFile.layer),
    Layer.provideMerge(Environment.layer),
    Layer.provideMerge(NodeFileSystem.layer),
  )
