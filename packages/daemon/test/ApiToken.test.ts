/** What to type where the API's token cannot be used. */
import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { ApiToken } from "@waiaas/daemon/ApiToken"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { readToken } from "@waiaas/services/TokenFile"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerPlatform, temporaryDirectory } from "./support.ts"

it.scoped(
  "a token that a start cannot use asks for what is left to do: no stop, and no removal of what is gone",
  () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      yield* Effect.gen(function* () {
        const { paths } = yield* DataDir
        const atStart = Effect.map(Effect.flip(Layer.build(ApiToken.layer)), ({ next }) => next)
        const running = Effect.map(Effect.flip(readToken), ({ next }) => next)
        const again = "waiaas init && waiaas start --background"
        rmSync(paths.token, { force: true })
        assert.strictEqual(yield* atStart, again)
        assert.strictEqual(yield* running, `waiaas stop && ${again}`)
        writeFileSync(join(root, "api.token"), "x", { mode: 0o600 })
        assert.strictEqual(yield* atStart, `rm -f ${paths.token} && ${again}`)
        assert.strictEqual(yield* running, `waiaas stop && rm -f ${paths.token} && ${again}`)
      }).pipe(Effect.provide(layerPlatform(root)))
    }),
)
