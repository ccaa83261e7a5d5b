/** What `waiaas init` refuses, and that a refusal leaves everything as it was. */
import { strict as assert } from "node:assert"
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import { layerDatabase } from "@waiaas/services/Database"
import { insertAgent } from "@waiaas/services/testing/TestDatabase"
import * as Effect from "effect/Effect"
import { layerPlatform } from "../../packages/services/test/support.ts"
import { dataDirectory, emptyDirectory } from "../support/daemon.mts"

const addAgent = (database: string) =>
  insertAgent("treasury").pipe(
    Effect.provide(layerDatabase({ path: database, create: false })),
    Effect.provide(layerPlatform()),
  )
const all = (root: string) => readdirSync(root, { recursive: true }).map(String).sort()

const losses: Readonly<Record<string, (root: string) => void>> = {
  "that is gone": (root) => renameSync(join(root, "keystore"), `${root}-keystore`),
  "that is empty, as where its file system is not mounted": (root) => {
    renameSync(join(root, "keystore"), `${root}-keystore`)
    mkdirSync(join(root, "keystore"), { mode: 0o700 })
  },
  "without its master file": (root) => rmSync(join(root, "keystore/master.json")),
}
for (const [name, lose] of Object.entries(losses))
  for (const hasToken of [true, false])
    it.scopedLive(
      `a keystore ${name}${hasToken ? "" : ", and the token with it,"} gets no successor where agents are, and the advice brings it back`,
      () =>
        Effect.gen(function* () {
          const { init, serve, database, root } = yield* dataDirectory()
          yield* addAgent(database)
          lose(root)
          if (!hasToken) rmSync(join(root, "api.token"))
          const before = all(root)
          const error = yield* Effect.flip(init)
          assert.equal(error._tag, "KeystoreDamaged")
          assert.match(error.message, /^The keystore is missing/)
          assert.ok("next" in error)
          assert.match(String(error.next), /^Mount the file system of .*put .* back from your own copy/)
          assert.deepEqual(all(root), before)
          if (!hasToken) return
          const refused = yield* Effect.flip(serve)
          assert.equal(refused._tag, "KeystoreDamaged")
          assert.doesNotMatch(`${"next" in refused ? refused.next : ""}`, /waiaas init/)
          assert.ok(!existsSync(join(root, "keystore/master.json")))
        }),
    )

it.scopedLive("a database that cannot be read is not taken for an empty one", () =>
  Effect.gen(function* () {
    const { init, database, root } = yield* dataDirectory()
    rmSync(join(root, "keystore"), { recursive: true })
    rmSync(join(root, "api.token"))
    writeFileSync(database, "this is no database\n".repeat(500), { mode: 0o600 })
    const before = all(root)
    assert.equal((yield* Effect.flip(init))._tag, "DatabaseFailed")
    assert.deepEqual(all(root), before)
  }),
)

it.scopedLive("an initialised directory is left alone while its daemon serves", () =>
  Effect.gen(function* () {
    const { init, start } = yield* dataDirectory()
    yield* start
    const again = yield* init
    assert.deepEqual([again.created, again.token], [false, false])
  }),
)

const environments: Readonly<Record<string, (root: string) => Record<string, string>>> = {
  "a misspelt WAIAAS_MASTER_PASSWD": () => ({ WAIAAS_MASTER_PASSWD: "correct horse" }),
  "an empty password": () => ({ WAIAAS_MASTER_PASSWORD: "" }),
  "an empty name of a password file": () => ({ WAIAAS_MASTER_PASSWORD_FILE: "" }),
  "a password file that is not there": () => ({ WAIAAS_MASTER_PASSWORD_FILE: "/not/there" }),
  "a password file that others can read": (root) => {
    const file = `${root}-password`
    writeFileSync(file, "correct horse\n")
    chmodSync(file, 0o644)
    return { WAIAAS_MASTER_PASSWORD_FILE: file }
  },
}
for (const [name, variablesOf] of Object.entries(environments))
  it.scopedLive(`${name} is refused before anything is made, and no password is shown`, () =>
    Effect.gen(function* () {
      const { init, root } = yield* emptyDirectory(variablesOf)
      const error = yield* Effect.flip(init)
      assert.match(error._tag, /^(ConfigInvalid|KeystoreLocked)$/)
      assert.match(error.message, /WAIAAS_MASTER_PASS|-password can be read/)
      assert.doesNotMatch(`${error.message} ${"next" in error ? error.next : ""}`, /horse/)
      assert.deepEqual(all(root), [])
    }),
  )
