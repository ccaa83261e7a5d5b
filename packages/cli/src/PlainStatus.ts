import * as Effect from "effect/Effect"
import type { Globals } from "./Arguments.ts"
import { tellStatus } from "./commands/Status.ts"
import { lookingLayerFor } from "./LookingLayers.ts"
import { showUpdateNotice } from "./UpdateNotice.ts"

/** `waiaas status` without the library's parser, and without the services that it has no use for. */
export const runStatus = (globals: Globals) =>
  Effect.zipLeft(tellStatus, showUpdateNotice).pipe(Effect.provide(lookingLayerFor(globals)))
