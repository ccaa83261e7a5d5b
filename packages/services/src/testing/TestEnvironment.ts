import { VERSION } from "@waiaas/domain/Build"
import { makeVersion } from "@waiaas/domain/Version"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Environment } from "../platform/Environment.ts"

/** The surroundings of a test: nothing of this process but what it says itself. The clock is Effect's. */
export const layerEnvironment = (given: Partial<Environment["Type"]> = {}): Layer.Layer<Environment> =>
  Layer.succeed(Environment, {
    variables: {},
    uid: null,
    home: "/nowhere",
    cwd: "/",
    pid: 4242,
    platform: "linux",
    architecture: "x64",
    node: "/nowhere/bin/node",
    nodeVersion: "24.1.0",
    version: makeVersion(VERSION),
    packageDir: "/nowhere",
    container: false,
    now: Effect.clockWith((clock) => clock.currentTimeMillis),
    ...given,
  })
