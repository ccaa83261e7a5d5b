import { strict as assert } from "node:assert"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { it } from "@effect/vitest"
import { upgradePhases } from "@waiaas/domain/UpgradePhase"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { contentOf, Heard, layerSimulated } from "@waiaas/services/testing/SimulatedUpgrade"
import { Upgrade } from "@waiaas/services/Upgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { installedMachine, realRegistry } from "../support/scoped.mts"

const latest = { to: Option.none(), from: Option.none(), restart: true, dryRun: false }
/** The order that the user decided, after the check. */
const order = ["check", "stop", "backup", "update", "migrate", "verify", "restart"]

it.scopedLive("layers: seven steps in their order, each announced in the journal before it acts", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    yield* install.startDaemon
    const report = yield* (yield* Upgrade).run(latest)
    assert.equal(report._tag, "Upgraded")
    const heard = yield* Ref.get(yield* Heard)
    assert.deepEqual(
      heard.flatMap((event) =>
        event._tag === "PhaseStarted" ? [`${event.index}/${event.total} ${event.phase}`] : [],
      ),
      order.map((name, index) => `${index + 1}/7 ${name}`),
    )
    assert.deepEqual(
      upgradePhases.map(({ name }) => name),
      order,
    )
    const run = Option.getOrThrow(yield* (yield* UpgradeJournal).latest)
    assert.deepEqual(run.begun, order)
    assert.deepEqual(run.done, order)
    assert.ok(run.committed)
    assert.equal(run.ended?.outcome, "new")
    const done = install.acts.filter((act) => !/ (view|Describe|Examine|CopyLive|Checkpoint) ?/.test(act))
    assert.deepEqual(done, [
      "daemon 2.0.0 starts",
      "npm install 2.1.0",
      // The rehearsal, while the old daemon serves.
      "tool Migrate 2.1.0",
      // What the new code did is compared by the old.
      "tool Compare 2.0.0",
      "daemon 2.0.0 stops",
      "tool Migrate 2.1.0",
      "tool Compare 2.0.0",
      "daemon 2.1.0 starts",
    ])
    assert.equal(install.running(), "2.1.0")
    assert.equal(yield* install.installed, "2.1.0")
    const { databasePath } = yield* (yield* ConfigFile).load
    assert.deepEqual(yield* contentOf(databasePath), { names: ["alice"], schema: 5 })
  }).pipe(Effect.provide(layerSimulated().pipe(Layer.provideMerge(NodeFileSystem.layer)))),
)

it.scopedLive("real: waiaas upgrade runs all seven steps, and the new version serves the old agents", () =>
  Effect.gen(function* () {
    const registry = yield* realRegistry(["2.1.0", 5])
    const machine = yield* installedMachine({ registryUrl: registry.url })
    yield* Effect.promise(async () => {
      const created = await machine.api("POST", "/v1/agents", { name: "alice" })
      assert.equal(created.status, 201)
      const before = machine.daemonPid()
      const upgraded = await machine.mustWaiaas(["upgrade"])
      const steps = [...upgraded.stderr.matchAll(/^\[(\d)\/7\] (.+)$/gm)].map(
        ([, index, title]) => `${index} ${title}`,
      )
      assert.deepEqual(
        steps,
        upgradePhases.map(({ title }, index) => `${index + 1} ${title}`),
      )
      assert.match(upgraded.stdout, /^Upgraded WAIaaS from 2\.0\.0 to 2\.1\.0\.$/m)
      assert.match(upgraded.stdout, /^Schema: +4 -> 5$/m)
      assert.match(upgraded.stdout, /^Downtime: \d+\.\d\d s$/m)
      assert.match(upgraded.stdout, /^Backup: .*\/backups\/pre-upgrade-2\.0\.0-/m)
      assert.match(upgraded.stdout, /^Go back: +waiaas upgrade --rollback$/m)
      assert.notEqual(machine.daemonPid(), before)
      const health = (await machine.api("GET", "/health")).json<Record<string, unknown>>()
      assert.equal(health.status, "ok")
      assert.equal(health.version, "2.1.0")
      assert.equal(health.schemaVersion, 5)
      const { id, name, publicKey } = created.json<{ id: string; name: string; publicKey: string }>()
      const after = (await machine.api("GET", `/v1/agents/${id}`)).json<Record<string, unknown>>()
      assert.deepEqual([after.name, after.publicKey], [name, publicKey])
      assert.equal((await machine.mustWaiaas(["--version"])).stdout, "2.1.0\n")
    })
  }),
)
