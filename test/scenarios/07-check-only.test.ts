import { strict as assert } from "node:assert"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import { UpgradeTarget } from "@waiaas/services/UpgradeTarget"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerInstallation } from "../support/layers.mts"
import { countedRegistry, installedMachine } from "../support/scoped.mts"

it.effect("layers: the target is found and judged by one question to npm; nothing is changed", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    const { databasePath } = yield* (yield* ConfigFile).load
    const target = yield* (yield* UpgradeTarget).find(Option.none(), databasePath)
    assert.deepEqual(
      [
        target.installed,
        target.release.version,
        target.isNewer,
        target.schemaFrom,
        target.schemaTo,
        target.refusal,
      ],
      ["2.0.0", "2.1.0", true, 4, 5, null],
    )
    assert.deepEqual(install.acts, ["npm view latest", "tool Examine 2.0.0"])
    assert.ok(Option.isNone(yield* (yield* UpgradeJournal).latest))
    assert.ok(!existsSync(target.install.hidden))
  }).pipe(Effect.provide(layerInstallation())),
)

it.scopedLive(
  "real: upgrade --check prints current and latest and that an upgrade is available, and changes nothing",
  () =>
    Effect.gen(function* () {
      const registry = yield* countedRegistry(["2.0.0", 4], ["2.1.0", 5])
      const machine = yield* installedMachine({ registryUrl: registry.url, start: false })
      yield* Effect.promise(async () => {
        const asked = registry.requests.length
        const { stdout } = await machine.mustWaiaas(["upgrade", "--check"])
        assert.match(stdout, /^Current version: 2\.0\.0 \(schema 4\)$/m)
        assert.match(stdout, /^Latest version: {2}2\.1\.0 \(schema 5\)$/m)
        assert.match(stdout, /^Upgrade available$/m)
        assert.match(stdout, /^The database is migrated from schema 4 to 5\.$/m)
        assert.ok(registry.requests.length > asked)
        assert.deepEqual(registry.downloads, [])
        const told = JSON.parse((await machine.mustWaiaas(["--json", "upgrade", "--check"])).stdout)
        assert.deepEqual(
          [told.event, told.current, told.latest, told.updateAvailable, told.possible, told.next],
          ["Result", "2.0.0", "2.1.0", true, true, "waiaas upgrade"],
        )
        const named = ["--data-dir", machine.dataDir]
        const one = await machine.mustWaiaas(["upgrade", "--check", "--to", "2.1.0", ...named])
        assert.match(one.stdout, /^Target version: {2}2\.1\.0 \(schema 5\)$/m)
        assert.ok(one.stdout.includes(`next: waiaas upgrade --to 2.1.0 --data-dir ${machine.dataDir}\n`))
        assert.deepEqual(readdirSync(join(machine.dataDir, "backups")), [])
        assert.deepEqual(readdirSync(join(machine.dataDir, "upgrade/journal")), [])
        assert.ok(!existsSync(join(machine.prefix, "lib/node_modules/.waiaas")))
      })
    }),
  120_000,
)
