/** A plain `waiaas status`: wiring only, of no more than it needs. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as RuntimeFlagsPatch from "effect/RuntimeFlagsPatch"
import { hoistGlobals, plainStatus } from "./Arguments.ts"
import { showStatus } from "./commands/Status.ts"
import { endOnSignal } from "./EndOnSignal.ts"
import { lookingLayerFor } from "./LookingLayers.ts"
import { runToExit } from "./RunToExit.ts"
import { noteStrayVariables } from "./StrayVariables.ts"
import { showUpdateNotice } from "./UpdateNotice.ts"

const given = plainStatus(hoistGlobals(process.argv.slice(2)))
const quiet = given?.quiet ?? false
const json = given?.json ?? false
const dataDir = given?.dataDir

endOnSignal()
runToExit(
  Effect.zipRight(noteStrayVariables(true), Effect.zipLeft(showStatus, showUpdateNotice)).pipe(
    Effect.provide(lookingLayerFor({ dataDir: Option.fromNullable(dataDir), quiet, json })),
    // Nobody sees its spans and metrics, and each costs.
    Effect.withTracerEnabled(false),
    Effect.withRuntimeFlagsPatch(RuntimeFlagsPatch.disable(RuntimeFlags.RuntimeMetrics)),
  ),
  { json, dataDir },
)

/** The last of the file: where it is missing, the file was cut off. */
export const isWhole = true
