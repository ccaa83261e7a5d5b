/** A simulated installation over this machine's files, and what tests of runs begin with. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { layerSimulated, type SimulatedSetup } from "@waiaas/services/testing/SimulatedUpgrade"
import { Upgrade } from "@waiaas/services/Upgrade"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

export const layerInstalled = (setup: SimulatedSetup = {}) =>
  layerSimulated(setup).pipe(Layer.provideMerge(NodeFileSystem.layer))

/** To the newest there is. */
export const upgrade = (options: { readonly dryRun: boolean } = { dryRun: false }) =>
  Effect.flatMap(Upgrade, ({ run }) =>
    run({ to: Option.none(), from: Option.none(), restart: true, ...options }),
  )
