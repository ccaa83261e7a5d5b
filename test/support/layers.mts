/** Compositions of the product's Layers over test Layers that several files use. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { HealthReport } from "@waiaas/daemon/HealthReport"
import { HeldGate } from "@waiaas/daemon/HeldGate"
import { VersionInfo } from "@waiaas/daemon/VersionInfo"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { KeyValueStore } from "@waiaas/services/KeyValueStore"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { layerSimulated, type SimulatedSetup } from "@waiaas/services/testing/SimulatedUpgrade"
import { layerDatabaseAt } from "@waiaas/services/testing/TestDatabase"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import { layerFiles } from "@waiaas/services/testing/TestVersionCheck"
import { UpdateNotifier } from "@waiaas/services/UpdateNotifier"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

/** `/health` over a database in memory. */
export const layerHealth = (options: { readonly version: string; readonly schema?: number }) =>
  HealthReport.layer.pipe(
    Layer.provideMerge(VersionInfo.layer),
    Layer.provideMerge(KeyValueStore.layer),
    Layer.provideMerge(ConfigFile.layer),
    Layer.provideMerge(DataDir.layer(Option.some("/data"))),
    Layer.provideMerge(DurableFile.layer),
    Layer.provideMerge(
      Layer.mergeAll(
        layerFiles({}),
        layerDatabaseAt(options.schema),
        HeldGate.layer("open"),
        layerEnvironment({ version: makeVersion(options.version) }),
      ),
    ),
  )

/** The body of `/health`. */
export const healthBody = Effect.flatMap(HealthReport, (report) =>
  Effect.map(report.answer, ({ status, body }) => ({
    status,
    body: JSON.parse(body) as Record<string, unknown>,
  })),
)

/** An installation whose processes and HTTP are simulated, over this machine's files. */
export const layerInstallation = (setup?: SimulatedSetup) =>
  UpdateNotifier.layer.pipe(
    Layer.provideMerge(layerSimulated(setup)),
    Layer.provideMerge(NodeFileSystem.layer),
  )
