import { strict as assert } from "node:assert"
import { createHash } from "node:crypto"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { contentOf } from "@waiaas/services/testing/SimulatedUpgrade"
import { Upgrade } from "@waiaas/services/Upgrade"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerInstallation } from "../support/layers.mts"
import { release } from "../support/releases.mts"
import { installedMachine } from "../support/scoped.mts"
import { query } from "../support/sqlite.mts"

const configToml = '[daemon]\nport = 3100\nlog_level = "warning"\n'

it.scopedLive("layers: an upgrade leaves a backup of database and config.toml as they were before it", () =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    const { databasePath } = yield* (yield* ConfigFile).load
    yield* (yield* Upgrade).run({ to: Option.none(), from: Option.none(), restart: true, dryRun: false })
    assert.equal((yield* contentOf(databasePath)).schema, 5)
    const [name = "", ...others] = readdirSync(paths.backups)
    assert.match(name, /^pre-upgrade-2\.0\.0-\d{8}T\d{6}Z-000001$/)
    assert.deepEqual(others, [])
    const backup = join(paths.backups, name)
    assert.deepEqual(readdirSync(backup).sort(), ["config.toml", "manifest.json", "waiaas.db"])
    assert.equal(readFileSync(join(backup, "config.toml"), "utf8"), configToml)
    assert.deepEqual(yield* contentOf(join(backup, "waiaas.db")), { names: ["alice", "bob"], schema: 4 })
  }).pipe(Effect.provide(layerInstallation({ agents: ["alice", "bob"], configToml }))),
)

it.scopedLive(
  "real: waiaas upgrade leaves backups/pre-upgrade-*/waiaas.db and config.toml, private and hashed",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false })
      yield* Effect.promise(async () => {
        await machine.mustWaiaas(["upgrade", "--from", await release("2.1.0", 5)])
        const backups = join(machine.dataDir, "backups")
        const [name = ""] = readdirSync(backups).filter((each) => each.startsWith("pre-upgrade-"))
        const backup = join(backups, name)
        const config = readFileSync(join(machine.dataDir, "config.toml"))
        assert.deepEqual(readFileSync(join(backup, "config.toml")), config)
        assert.equal(statSync(backup).mode & 0o777, 0o700)
        const manifest = JSON.parse(readFileSync(join(backup, "manifest.json"), "utf8"))
        assert.deepEqual(
          [manifest.kind, manifest.from, manifest.to, manifest.schema],
          ["pre-upgrade", "2.0.0", "2.1.0", 4],
        )
        for (const file of manifest.files) {
          const content = readFileSync(join(backup, file.name))
          assert.equal(createHash("sha256").update(content).digest("hex"), file.sha256)
          assert.equal(statSync(join(backup, file.name)).mode & 0o777, 0o600)
        }
        assert.deepEqual(
          manifest.files.map((file: { name: string }) => file.name),
          ["waiaas.db", "config.toml"],
        )
        // Last: SQLite may put its helpers beside what it opens.
        assert.deepEqual(
          query(join(backup, "waiaas.db"), "SELECT max(version) AS schema FROM schema_version"),
          [{ schema: 4 }],
        )
      })
    }),
)
