/** A run is carried to its end, whoever is interrupted that asked for it. */
import { assert, describe, it } from "@effect/vitest"
import { Heard } from "@waiaas/services/testing/SimulatedUpgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { layerInstalled, upgrade } from "./simulated.ts"

describe("an upgrade whose caller is interrupted", () => {
  for (const phase of ["check", "stop", "migrate"] as const)
    it.scopedLive(`in its step ${phase} goes to its end, and to the new version`, () =>
      Effect.gen(function* () {
        const heard = yield* Heard
        const caller = yield* Effect.fork(upgrade())
        const isIn = Effect.map(Ref.get(heard), (events) =>
          events.some((event) => event._tag === "PhaseStarted" && event.phase === phase),
        )
        yield* Effect.repeat(Effect.zipRight(Effect.sleep("2 millis"), isIn), { until: (is) => is })
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(caller)))
        const { ended } = Option.getOrThrow(yield* (yield* UpgradeJournal).latest)
        assert.strictEqual(ended?.outcome, "new")
      }).pipe(Effect.provide(layerInstalled())),
    )
})
