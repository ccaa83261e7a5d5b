/** What the engine does for every kind of run: the order of its phases, and what becomes of a failure. */
import { assert, describe, it } from "@effect/vitest"
import { phasesBeforeCommit } from "@waiaas/domain/UpgradePhase"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { layerUpgradeServices } from "@waiaas/services/testing/SimulatedUpgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerInstalled, upgrade } from "./simulated.ts"

const latest = Effect.map(
  Effect.flatMap(UpgradeJournal, (journal) => journal.latest),
  Option.getOrThrow,
)

describe("a run", () => {
  it("carries out the phases of its kind up to its commit, in the order of the list", () => {
    assert.deepStrictEqual(phasesBeforeCommit("upgrade"), [
      "check",
      "stop",
      "backup",
      "update",
      "migrate",
      "verify",
      "restart",
    ])
    assert.deepStrictEqual(phasesBeforeCommit("rollback"), ["check", "stop", "aside"])
  })

  it.scopedLive("journals each phase before it acts and after it is done", () =>
    Effect.gen(function* () {
      yield* upgrade()
      const { records } = yield* latest
      assert.deepStrictEqual(
        records.flatMap((record) =>
          record._tag === "PhaseBegun" || record._tag === "PhaseDone"
            ? [`${record._tag} ${record.phase}`]
            : [],
        ),
        phasesBeforeCommit("upgrade").flatMap((name) => [`PhaseBegun ${name}`, `PhaseDone ${name}`]),
      )
    }).pipe(Effect.provide(layerInstalled())),
  )

  it.scopedLive("that a defect ends is undone, and the defect is shown and journaled with its stack", () =>
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const broken = Layer.succeed(ProcessRunner, {
        ...runner,
        run: (options) =>
          options.args.includes("install") ? Effect.sync(() => JSON.parse("{")) : runner.run(options),
      })
      const failed = yield* Effect.flip(
        upgrade().pipe(Effect.provide(Layer.provide(layerUpgradeServices(4), broken))),
      )
      assert.strictEqual(failed._tag, "RunFailed")
      const cause = failed._tag === "RunFailed" ? failed.cause : failed
      const { failure, ended } = yield* latest
      if (cause._tag === "RunDefect") {
        assert.match(
          cause.message,
          /^This is a bug in WAIaaS, found during the upgrade: SyntaxError: .*\n? +at /s,
        )
        assert.strictEqual(failure?.message, cause.message)
      } else assert.fail(`${cause._tag}: ${cause.message}`)
      assert.strictEqual(ended?.outcome, "untouched")
      assert.strictEqual(yield* (yield* SimulatedInstall).installed, "2.0.0")
    }).pipe(Effect.provide(layerInstalled())),
  )
})
