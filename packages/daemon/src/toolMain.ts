/**
 * `dist/tool.js`: acts on a database with this code, for an upgrader of any version. Wiring only, and of no more than
 * it needs: the daemon is down while its start is waited for.
 */
import "@waiaas/services/platform/NoDebugger"
import { setFlagsFromString } from "node:v8"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { runMain } from "./RunMain.ts"
import { dataDirectoryActs, runTool } from "./Tool.ts"

/** What SQLite maps at most, in bytes; it reads the rest of a larger database as usual. */
const MOST_MAPPED = 0x7fff0000

// It is short: growing its young generation at once costs less than collecting again and again on the way.
setFlagsFromString("--semi-space-growth-factor=16")

const Platform = ExclusiveLock.layer.pipe(
  Layer.provideMerge(DurableFile.layer),
  Layer.provideMerge(Layer.mergeAll(NodeFileSystem.layer, Environment.layer)),
)
/** Works on the database in this process, which is one of its own. */
const Tool = Layer.unwrapEffect(
  Effect.map(dataDirectoryActs, (acts) => layerDatabaseToolLocal(acts, { mapped: MOST_MAPPED })),
).pipe(Layer.provideMerge(Platform))

runMain(runTool(process.argv.slice(2)).pipe(Effect.provide(Tool)))
