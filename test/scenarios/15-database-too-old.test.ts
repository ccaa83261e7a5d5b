import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import { Compatibility } from "@waiaas/services/Compatibility"
import * as Effect from "effect/Effect"
import { dataDirectory } from "../support/daemon.mts"
import { installPrepared } from "../support/prepared.mts"
import { release } from "../support/releases.mts"
import { databaseOf, installedMachine } from "../support/scoped.mts"
import { query } from "../support/sqlite.mts"

it.effect("layers: the refusal names the version to go through, which can make that step", () =>
  Effect.gen(function* () {
    const { admit } = yield* Compatibility
    const refusal = yield* Effect.flip(admit(1))
    assert.equal(refusal._tag, "DatabaseTooOld")
    assert.equal(
      refusal.message,
      "The database has schema 1, this version migrates from schema 3: go through WAIaaS 1.7.0 first.",
    )
    assert.equal(refusal.next, "npm install --global @waiaas/cli@1.7.0 && waiaas start --background")
    assert.equal(refusal.exitCode, 4)
    assert.match((yield* Effect.flip(admit(2))).message, /go through WAIaaS 1\.8\.0 first/)
    assert.equal((yield* admit(3))._tag, "NeedsMigration")
  }).pipe(Effect.provide(Compatibility.layerOf(rangeFor(5)))),
)

it.scopedLive("layers: the daemon refuses a database below the minimum, and leaves it alone", () =>
  Effect.gen(function* () {
    const daemon = yield* dataDirectory({ schema: 1 })
    const refusal = yield* Effect.flip(daemon.serve)
    assert.match(refusal.message, /go through WAIaaS 1\.7\.0 first/)
    assert.deepEqual(query(daemon.database, "SELECT max(version) AS schema FROM schema_version"), [
      { schema: 1 },
    ])
  }),
)

it.scopedLive(
  "real: waiaas start refuses and names the version, which takes the database to the minimum",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ version: "1.5.0", schema: 1, start: false })
      const schema = () => query(databaseOf(machine), "SELECT max(version) AS schema FROM schema_version")
      yield* Effect.promise(async () => {
        await installPrepared(machine, "2.1.0", 5)
        const refused = await machine.waiaas(["start"])
        assert.equal(refused.code, 4)
        assert.match(refused.stderr, /go through WAIaaS 1\.7\.0 first/)
        assert.match(refused.stderr, /next: npm install --global @waiaas\/cli@1\.7\.0/)
        assert.deepEqual(schema(), [{ schema: 1 }])
        await machine.installGlobal(await release("1.7.0", 3))
        await machine.mustWaiaas(["start", "--background"])
      })
      // From there on the newest one may follow: see the Layers above, and scenario 13.
      assert.deepEqual(schema(), [{ schema: 3 }])
    }),
)
