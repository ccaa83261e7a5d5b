import { strict as assert } from "node:assert"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { Heard } from "@waiaas/services/testing/SimulatedUpgrade"
import { Upgrade } from "@waiaas/services/Upgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { layerInstallation } from "../support/layers.mts"
import { countedRegistry, installedMachine } from "../support/scoped.mts"

it.scopedLive("layers: npm is asked for the version and never to install; no run begins", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    yield* install.startDaemon
    const report = yield* (yield* Upgrade).run({
      to: Option.none(),
      from: Option.none(),
      restart: true,
      dryRun: false,
    })
    assert.deepEqual(report, { _tag: "UpToDate", installed: "2.0.0", newest: "2.0.0" })
    const heard = yield* Ref.get(yield* Heard)
    assert.deepEqual(
      heard.map(({ _tag }) => _tag),
      ["PhaseStarted", "PhaseDone"],
    )
    assert.deepEqual(
      install.acts.filter((act) => !act.startsWith("tool Examine")),
      ["daemon 2.0.0 starts", "npm view latest"],
    )
    assert.ok(Option.isNone(yield* (yield* UpgradeJournal).latest))
    assert.equal(install.running(), "2.0.0")
  }).pipe(Effect.provide(layerInstallation({ releases: [{ version: "2.0.0", schema: 4 }] }))),
)

it.scopedLive("real: stdout says Already up to date, nothing is downloaded, staged or backed up", () =>
  Effect.gen(function* () {
    const registry = yield* countedRegistry(["2.0.0", 4])
    const machine = yield* installedMachine({ registryUrl: registry.url, start: false })
    yield* Effect.promise(async () => {
      const { stdout, stderr } = await machine.mustWaiaas(["upgrade"])
      assert.equal(stdout, "Already up to date (2.0.0)\n")
      assert.match(stderr, /^\[1\/7\] check\n +done in \d+\.\d s: nothing is newer than 2\.0\.0\n$/i)
      const events = (await machine.mustWaiaas(["upgrade", "--json"])).stdout.trim().split("\n")
      assert.deepEqual(
        events.map((line) => JSON.parse(line).event),
        ["PhaseStarted", "PhaseDone", "Result"],
      )
      assert.ok(registry.requests.length > 0)
      assert.deepEqual(registry.downloads, [])
      assert.deepEqual(readdirSync(join(machine.dataDir, "backups")), [])
      assert.ok(!existsSync(join(machine.prefix, "lib/node_modules/.waiaas")))
    })
  }),
)
