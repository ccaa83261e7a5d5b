/** What an upgrade tells, and what its steps verify, with simulated processes over real files and SQLite. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Heard, layerSimulated, type SimulatedSetup } from "@waiaas/services/testing/SimulatedUpgrade"
import { Upgrade } from "@waiaas/services/Upgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"

const layer = (setup: SimulatedSetup = {}) =>
  layerSimulated(setup).pipe(Layer.provideMerge(NodeFileSystem.layer))
const upgrade = (dryRun: boolean) =>
  Effect.flatMap(Upgrade, ({ run }) => run({ to: Option.none(), from: Option.none(), restart: true, dryRun }))

describe("step 1", () => {
  it.scopedLive("says what the rehearsal measured: to the operator, in the report and in the journal", () =>
    Effect.gen(function* () {
      const report = yield* upgrade(true)
      const estimate = report._tag === "Rehearsed" ? report.estimate : null
      assert.isAbove(estimate?.bytes ?? 0, 4096)
      assert.isAbove(estimate?.downtime ?? 0, 0)
      const run = Option.getOrThrow(yield* (yield* UpgradeJournal).latest)
      assert.deepStrictEqual(run.facts.estimate, estimate)
      const heard = yield* Ref.get(yield* Heard)
      const done = heard.find((event) => event._tag === "PhaseDone" && event.phase === "check")
      assert.match(
        done?._tag === "PhaseDone" ? done.result : "",
        /^schema 4 -> 5 rehearsed, expected downtime about \d+\.\d s, \d+\.\d MB of data$/,
      )
    }).pipe(Effect.provide(layer())),
  )
})
