/** What status says of a daemon that is not as it should be: of another version than the installed one, or fallen. */
import { writeFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { Probation } from "@waiaas/services/Probation"
import { DataDir } from "@waiaas/services/platform/DataDir"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerInstallation } from "../../../test/support/layers.mts"
import { showStatus } from "../src/commands/Status.ts"
import { otherVersionText } from "../src/commands/Text.ts"
import { Output } from "../src/Output.ts"

it.scopedLive("status names both versions and the restart, and announces nothing that runs already", () =>
  Effect.gen(function* () {
    const control = yield* DaemonControl
    const statusWith = (version: string, latestVersion: string) =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const said = (_value: unknown, text: ReadonlyArray<string>) =>
          Effect.sync(() => void lines.push(...text))
        const health = { status: "ok", version, latestVersion, schemaVersion: 4 } as never
        const facts = { pid: 1, version, hostname: "127.0.0.1", port: 3100, startedAt: 1 } as never
        yield* showStatus.pipe(
          Effect.provideService(DaemonControl, {
            ...control,
            state: Effect.succeed({ _tag: "Running", facts, health: Option.some(health) } as const),
          }),
          Effect.provideService(Output, {
            mode: "human",
            columns: undefined,
            result: said,
            verbatim: said,
            note: () => Effect.void,
            event: () => Effect.void,
          }),
        )
        return lines.join("\n")
      })
    const behind = yield* statusWith("1.9.0", "2.0.0")
    assert.match(
      behind,
      /^warning: the daemon runs 1\.9\.0, while 2\.0\.0 is installed: waiaas restart( --data-dir \S+)?$/m,
    )
    const ahead = yield* statusWith("2.1.0", "2.1.0")
    assert.include(ahead, "the daemon runs 2.1.0, while 2.0.0 is installed")
    assert.notInclude(ahead, "is available")
    const same = yield* statusWith("2.0.0", "2.1.0")
    assert.notInclude(same, "is installed")
    assert.include(same, "update: 2.1.0 is available")
  }).pipe(Effect.provide(Probation.layer.pipe(Layer.provideMerge(layerInstallation())))),
)

it("kept code is not what is installed: around a swap a command says nothing of versions", () => {
  const state = { _tag: "Running", facts: { version: "2.1.0" } } as never
  const of = (packageDir: string) => otherVersionText(state, { version: "2.0.0", packageDir }, (text) => text)
  assert.include(of("/usr/lib/node_modules/@waiaas/cli"), "the daemon runs 2.1.0, while 2.0.0 is installed")
  assert.isNull(of("/usr/lib/node_modules/.waiaas/retained/2.0.0"))
  assert.isNull(of("/usr/lib/node_modules/.waiaas/outgoing-3"))
})

it.scopedLive("a daemon that crashed is not just stopped", () =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    const control = yield* DaemonControl
    const status = Effect.gen(function* () {
      const said: Array<string> = []
      const result = (_value: unknown, lines: ReadonlyArray<string>) =>
        Effect.sync(() => void said.push(...lines))
      yield* showStatus.pipe(
        Effect.provideService(DaemonControl, {
          ...control,
          state: Effect.succeed({ _tag: "Stopped" } as const),
        }),
        Effect.provideService(Output, {
          mode: "human",
          columns: undefined,
          result,
          verbatim: result,
          note: () => Effect.void,
          event: () => Effect.void,
        }),
      )
      return said.join("\n")
    })
    assert.match(yield* status, /^daemon: stopped \(waiaas start --background/m)
    // An orderly end would have removed it.
    writeFileSync(paths.facts, "{}", { mode: 0o600 })
    assert.match(yield* status, /^daemon: stopped, but not in order .*: waiaas logs.* shows its last lines/m)
  }).pipe(Effect.provide(Probation.layer.pipe(Layer.provideMerge(layerInstallation())))),
)
