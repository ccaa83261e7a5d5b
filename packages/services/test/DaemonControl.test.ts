/** A signal reaches the process that it is meant for, or nobody. */
import { assert, it } from "@effect/vitest"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerInstalled } from "./simulated.ts"

for (const isRecycled of [true, false])
  it.scopedLive(
    isRecycled
      ? "a daemon that is abandoned after its pid went to another process is not signalled"
      : "a daemon that is abandoned is ended",
    () =>
      Effect.gen(function* () {
        const signals: Array<string> = []
        let start: string | null = "its own"
        const runner = yield* ProcessRunner
        const fake = Layer.succeed(ProcessRunner, {
          ...runner,
          detach: () => Effect.succeed(7),
          identity: () => Effect.sync(() => Option.fromNullable(start)),
          signal: (pid, name) =>
            Effect.sync(() => {
              signals.push(`${name} ${pid}`)
              start = null
              return true
            }),
        })
        yield* Effect.gen(function* () {
          const daemon = yield* DaemonControl
          const spawned = yield* daemon.spawn("/package", "2.1.0")
          if (isRecycled) start = "another's"
          yield* daemon.abandon(spawned)
        }).pipe(Effect.provide(Layer.provide(DaemonControl.layer, fake)))
        assert.deepStrictEqual(signals, isRecycled ? [] : ["SIGTERM 7"])
      }).pipe(Effect.provide(layerInstalled())),
  )
