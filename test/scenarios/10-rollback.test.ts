import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { layerDatabase } from "@waiaas/services/Database"
import { Rollback } from "@waiaas/services/Rollback"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { asVersion, contentOf } from "@waiaas/services/testing/SimulatedUpgrade"
import { agentIdOf, insertAgent } from "@waiaas/services/testing/TestDatabase"
import { Upgrade } from "@waiaas/services/Upgrade"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerInstallation } from "../support/layers.mts"
import { release } from "../support/releases.mts"
import { databaseOf, installedMachine } from "../support/scoped.mts"
import { query } from "../support/sqlite.mts"

const agents = (path: string) => query<{ name: string }>(path, "SELECT * FROM agents ORDER BY id")

it.scopedLive("layers: data and the code that belongs to it come back together", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    const { databasePath } = yield* (yield* ConfigFile).load
    yield* install.startDaemon
    const before = agents(databasePath)
    yield* (yield* Upgrade).run({ to: Option.none(), from: Option.none(), restart: true, dryRun: false })
    yield* insertAgent("later").pipe(Effect.provide(layerDatabase({ path: databasePath, create: false })))
    assert.equal(agents(databasePath).length, 2)
    // From here on the command is the new version's.
    yield* asVersion(
      "2.1.0",
      Effect.gen(function* () {
        const rollback = yield* Rollback
        const plan = yield* rollback.plan(Option.none())
        assert.deepEqual(plan.changes?.added, {
          count: 1,
          agents: [{ id: agentIdOf("later"), name: "later" }],
        })
        const report = yield* rollback.run(plan, { restart: true, resumeSuspended: false })
        assert.deepEqual([report.from, report.to, report.schema], ["2.1.0", "2.0.0", 4])
      }),
    )
    assert.deepEqual(agents(databasePath), before)
    assert.deepEqual(yield* contentOf(databasePath), { names: ["alice"], schema: 4 })
    assert.equal(install.running(), "2.0.0")
    assert.equal(yield* install.installed, "2.0.0")
  }).pipe(Effect.provide(layerInstallation())),
)

it.scopedLive(
  "real: after changes in the new version the database is what it was, and the old version serves it",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      const database = databaseOf(machine)
      yield* Effect.promise(async () => {
        const created = await machine.api("POST", "/v1/agents", { name: "alice" })
        const { id } = created.json<{ id: string }>()
        const before = agents(database)
        const named = ["--data-dir", machine.dataDir]
        const { stdout } = await machine.mustWaiaas([
          "upgrade",
          "--from",
          await release("2.1.0", 5),
          ...named,
        ])
        assert.ok(stdout.includes(`Go back:  waiaas upgrade --rollback --data-dir ${machine.dataDir}\n`))
        assert.equal((await machine.api("POST", "/v1/agents", { name: "later" })).status, 201)
        assert.equal((await machine.api("POST", `/v1/agents/${id}/suspend`)).status, 200)
        assert.notDeepEqual(agents(database), before)
        const back = await machine.mustWaiaas(["upgrade", "--rollback", "--resume-suspended", "--yes"])
        assert.match(back.stderr, /^Since then: 1 agent was added: later\. It is not in that backup\.$/m)
        assert.match(back.stderr, /^Since then: 1 agent was suspended: alice\. It signs again, /m)
        assert.match(back.stdout, /^Rolled back to WAIaaS 2\.0\.0, schema 4\.$/m)
        assert.deepEqual(agents(database), before)
        const health = (await machine.api("GET", "/health")).json<Record<string, unknown>>()
        assert.deepEqual([health.status, health.version, health.schemaVersion], ["ok", "2.0.0", 4])
        assert.equal((await machine.mustWaiaas(["--version"])).stdout, "2.0.0\n")
        assert.equal((await machine.api("POST", `/v1/agents/${id}/sign`, { message: "x" })).status, 200)
      })
    }),
)
