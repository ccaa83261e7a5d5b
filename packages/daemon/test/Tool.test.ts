/** What the code of a package says of a start on these data. */
import { strict as assert } from "node:assert"
import { appendFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Keystore } from "../src/Keystore.ts"
import { describeHere } from "../src/Tool.ts"
import { initialise, layerPlatform, temporaryDirectory } from "./support.ts"

const agents = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"]

const withKeys = Effect.gen(function* () {
  const root = yield* temporaryDirectory
  yield* initialise(root)
  writeFileSync(join(root, "config.toml"), "", { mode: 0o600 })
  yield* Effect.flatMap(Keystore, ({ createKey }) => Effect.forEach(agents, createKey)).pipe(
    Effect.provide(Keystore.layer),
    Effect.provide(layerPlatform(root)),
  )
  return root
})
const described = (root: string, config?: string) =>
  describeHere(root, config).pipe(Effect.provide(layerPlatform(root)))

it.scopedLive("every sealed key is opened, and those that open are counted", () =>
  Effect.gen(function* () {
    const root = yield* withKeys
    assert.equal((yield* described(root)).keys, 2)
    appendFileSync(join(root, "keystore", `${agents[1]}.json`), "x")
    assert.equal((yield* described(root)).keys, 1)
    rmSync(join(root, "keystore", "master.json"))
    assert.equal((yield* Effect.flip(described(root)))._tag, "KeystoreDamaged")
  }),
)

it.scopedLive("another config.toml is decoded in the place of the data directory's", () =>
  Effect.gen(function* () {
    const root = yield* withKeys
    const config = join(root, "backups", "config.toml")
    writeFileSync(config, '[database]\npath = "data/other.db"\n')
    assert.equal((yield* described(root, config)).databasePath, join(root, "data", "other.db"))
    assert.equal((yield* described(root)).databasePath, join(root, "data", "waiaas.db"))
    writeFileSync(config, "[daemon]\nport = 0\n")
    const error = yield* Effect.flip(described(root, config))
    assert.ok(error._tag === "ConfigInvalid" && error.source === config, error.message)
  }),
)
