import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import { Compatibility } from "@waiaas/services/Compatibility"
import * as Effect from "effect/Effect"
import { dataDirectory } from "../support/daemon.mts"
import { installPrepared } from "../support/prepared.mts"
import { databaseOf, installedMachine } from "../support/scoped.mts"
import { execute, query, setKeys } from "../support/sqlite.mts"

it.effect("layers: the refusal names both schemas and the command, and no release that it cannot know", () =>
  Effect.gen(function* () {
    const refusal = yield* Effect.flip((yield* Compatibility).admit(5))
    assert.equal(refusal._tag, "DatabaseTooNew")
    assert.equal(
      refusal.message,
      "The database has schema 5, this version knows up to 4: upgrade your WAIaaS to the newest version.",
    )
    assert.equal(refusal.next, "npm install --global @waiaas/cli@latest")
    assert.equal(refusal.exitCode, 4)
  }).pipe(Effect.provide(Compatibility.layerOf(rangeFor(4)))),
)

it.scopedLive(
  "layers: the daemon refuses a database of a schema that it does not know, and leaves it alone",
  () =>
    Effect.gen(function* () {
      const daemon = yield* dataDirectory()
      execute(daemon.database, "INSERT INTO schema_version VALUES (6, 'of the future', 1, 'x')")
      const refusal = yield* Effect.flip(daemon.serve)
      assert.match(refusal.message, /upgrade your WAIaaS/)
      assert.deepEqual(query(daemon.database, "SELECT max(version) AS schema FROM schema_version"), [
        { schema: 6 },
      ])
    }),
)

it.scopedLive("real: waiaas start refuses, and says to upgrade your WAIaaS", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine({ version: "2.1.0", schema: 5, start: false })
    yield* Effect.promise(async () => {
      await installPrepared(machine, "2.0.0", 4)
      const refused = await machine.waiaas(["start"])
      assert.equal(refused.code, 4)
      assert.match(refused.stderr, /upgrade your WAIaaS to the newest version/)
      assert.match(refused.stderr, /next: npm install --global @waiaas\/cli@latest\n/)
      // What is installed does not understand it, whatever the last check found.
      setKeys(databaseOf(machine), { latest_version: "2.0.0" })
      assert.match((await machine.waiaas(["start"])).stderr, /to the newest version/)
      setKeys(databaseOf(machine), { latest_version: "2.1.0" })
      const told = (await machine.waiaas(["start"])).stderr
      assert.match(told, /upgrade your WAIaaS to 2\.1\.0 or newer/)
      assert.match(told, /next: npm install --global @waiaas\/cli@2\.1\.0\n/)
      const inBackground = await machine.waiaas(["start", "--background"])
      assert.notEqual(inBackground.code, 0)
      assert.match(inBackground.stderr, /upgrade your WAIaaS/)
      assert.deepEqual(machine.processes(), [])
    })
    assert.deepEqual(query(databaseOf(machine), "SELECT max(version) AS schema FROM schema_version"), [
      { schema: 5 },
    ])
  }),
)
