/** A data directory in a temporary place, and the platform's real Layers over it. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import {
  type layerEnvironment as LayerEnvironment,
  layerEnvironment,
} from "@waiaas/services/testing/TestEnvironment"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

export type EnvironmentOptions = Parameters<typeof LayerEnvironment>[0]

/** The platform on this machine's files; `options` are facts of the process. */
export const layerPlatform = (options: EnvironmentOptions = {}) =>
  Layer.mergeAll(ExclusiveLock.layer, ProcessRunner.layer).pipe(
    Layer.provideMerge(DurableFile.layer),
    Layer.provideMerge(Layer.mergeAll(NodeFileSystem.layer, layerEnvironment(options))),
  )

/** A private directory that goes with the scope. */
export const temporaryDirectory = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.realPath(yield* fs.makeTempDirectoryScoped({ prefix: "waiaas-test-" }))
})

/** A created data directory below a temporary one. */
export const layerDataDir = (options: EnvironmentOptions = {}) =>
  Layer.unwrapScoped(
    Effect.map(temporaryDirectory, (root) => DataDir.layer(Option.some(`${root}/data-dir`))),
  ).pipe(
    Layer.tap((context) =>
      Effect.orDie(Effect.flatMap(DataDir, ({ create }) => create).pipe(Effect.provide(context))),
    ),
    Layer.provideMerge(layerPlatform(options)),
  )
