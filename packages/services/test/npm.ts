/** npm as a process that answers what a test says, and the prefix that it installs into. */
import { createHash } from "node:crypto"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { overriddenSettings } from "@waiaas/domain/NpmSettings"
import { NpmInstaller, type Source } from "@waiaas/services/NpmInstaller"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { ProcessFailed, type ProcessResult, ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type EnvironmentOptions, layerPlatform, temporaryDirectory } from "./support.ts"

export type Call = Parameters<ProcessRunner["Type"]["run"]>[0]

/** As `npm config list --json` answers: every setting that this npm knows. */
export const defaults = {
  ...Object.fromEntries(Object.keys(overriddenSettings).map((key) => [key, null])),
  registry: "http://registry.test/",
}

/** A prefix as nvm lays it out, and npm as a process that answers what the test says. */
export const scenario = <A, E>(
  answer: (
    call: Call,
  ) => Partial<ProcessResult> | ProcessFailed["reason"] | Effect.Effect<Partial<ProcessResult>>,
  test: (context: {
    readonly prefix: string
    readonly calls: Array<Call>
  }) => Effect.Effect<A, E, NpmInstaller>,
  options: {
    readonly container?: boolean
    readonly settings?: Record<string, unknown> | "asked"
    readonly environment?: EnvironmentOptions
    /** Its disk, where that is to answer something else. */
    readonly files?: (real: DurableFile["Type"]) => DurableFile["Type"]
  } = {},
) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const prefix = yield* temporaryDirectory
    const packageDir = `${prefix}/lib/node_modules/@waiaas/cli`
    yield* fs.makeDirectory(`${packageDir}/dist`, { recursive: true })
    yield* fs.makeDirectory(`${prefix}/bin`)
    yield* fs.writeFileString(`${prefix}/bin/npm`, "")
    yield* fs.writeFileString(
      `${packageDir}/package.json`,
      JSON.stringify({ name: "@waiaas/cli", version: "2.0.0" }),
    )
    yield* fs.symlink("../lib/node_modules/@waiaas/cli/dist/bin.js", `${prefix}/bin/waiaas`)
    const calls: Array<Call> = []
    const runner = Layer.succeed(
      ProcessRunner,
      ProcessRunner.of({
        run: (call) => {
          const { command, args } = call
          calls.push(call)
          const said =
            args[1] === "config" && options.settings !== "asked"
              ? { stdout: JSON.stringify({ ...defaults, ...options.settings }) }
              : answer(call)
          return typeof said === "string"
            ? new ProcessFailed({ command, reason: said, output: "npm http fetch" })
            : Effect.map(Effect.isEffect(said) ? said : Effect.succeed(said), (result) => ({
                exitCode: 0,
                signal: null,
                stdout: "",
                stderr: "",
                ...result,
              }))
        },
        detach: () => Effect.die("npm is never detached"),
        identity: () => Effect.die("not asked"),
        about: () => Effect.die("not asked"),
        signal: () => Effect.die("not asked"),
      }),
    )
    return yield* test({ prefix, calls }).pipe(
      Effect.provide(NpmInstaller.layer),
      Effect.provide(runner),
      Effect.provide(Layer.effect(DurableFile, Effect.map(DurableFile, options.files ?? ((real) => real)))),
      Effect.provide(
        layerPlatform({
          node: `${prefix}/bin/node`,
          packageDir,
          container: options.container ?? false,
          ...options.environment,
        }),
      ),
    )
  }).pipe(Effect.scoped, Effect.provide(layerPlatform()))

export const release = JSON.stringify({
  name: "@waiaas/cli",
  version: "2.1.0",
  waiaas: { upgradeProtocol: 1, schema: { minimum: 3, latest: 5 }, stops: [] },
})

/** A tarball to be installed, and what was judged of it. */
export const tarball: Effect.Effect<Source & { readonly _tag: "Tarball" }, never, Scope.Scope> = Effect.gen(
  function* () {
    const file = `${yield* temporaryDirectory}/release.tgz`
    yield* (yield* FileSystem.FileSystem).writeFileString(file, "judged")
    const sha256 = createHash("sha256").update("judged").digest("hex")
    return { _tag: "Tarball", file, sha256 } as const
  },
).pipe(Effect.orDie, Effect.provide(NodeFileSystem.layer))

/** A clock on which a minute passes in 40 milliseconds. */
export const hurried = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.clockWith((clock) => {
    const sleep: typeof clock.sleep = (time) => clock.sleep(Duration.times(time, 1 / 1500))
    return Effect.withClock(effect, Object.create(clock, { sleep: { value: sleep } }))
  })
