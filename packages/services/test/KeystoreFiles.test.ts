/** What is missing of a keystore, by its files alone. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { keystoreLoss } from "@waiaas/services/KeystoreFiles"
import { DataDir } from "@waiaas/services/platform/DataDir"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerDataDir } from "./support.ts"

const fixture = Effect.gen(function* () {
  const { paths } = yield* DataDir
  const { keystore, token } = paths
  const put = (name: string, text = "") => writeFileSync(join(keystore, name), text)
  const loss = Effect.map(keystoreLoss, (found) =>
    Option.getOrNull(
      Option.map(found, ({ path, problem, missing }) => [path.replace(paths.root, ""), problem, missing]),
    ),
  )
  const agent = (number: number) => `${number}1111111-1111-4111-8111-111111111111.json`
  return { keystore, token, put, loss, agent }
})

it.scopedLive("one that was never made is not lost; one whose token is there is", () =>
  Effect.gen(function* () {
    const { keystore, token, put, loss } = yield* fixture
    assert.isNull(yield* loss)
    writeFileSync(token, "")
    assert.deepStrictEqual(yield* loss, ["/keystore", "is empty", true])
    put("note")
    assert.deepStrictEqual(yield* loss, ["/keystore", "holds no master.json", true])
    rmSync(keystore, { recursive: true })
    assert.deepStrictEqual(yield* loss, ["/keystore", "does not exist", true])
    rmSync(token)
    assert.isNull(yield* loss)
    // An init that was cut off between the key file and the master file begins again.
    mkdirSync(keystore)
    put("key")
    assert.isNull(yield* loss)
  }).pipe(Effect.provide(layerDataDir())),
)

it.scopedLive("sealed keys need their master file, and a master file under a key file needs that", () =>
  Effect.gen(function* () {
    const { keystore, put, loss, agent } = yield* fixture
    put(agent(1))
    assert.deepStrictEqual(yield* loss, [
      "/keystore/master.json",
      "does not exist, though 1 sealed key needs it",
      true,
    ])
    put(agent(2))
    assert.deepStrictEqual(yield* loss, [
      "/keystore/master.json",
      "does not exist, though 2 sealed keys need it",
      true,
    ])
    put("master.json", '{"format":1,"source":"password"}')
    assert.isNull(yield* loss)
    put("master.json", '{"format":1,"source":"key-file"}')
    assert.deepStrictEqual(yield* loss, ["/keystore/key", "does not exist", true])
    put("key")
    assert.isNull(yield* loss)
    rmSync(join(keystore, "master.json"))
    assert.isNotNull(yield* loss)
  }).pipe(Effect.provide(layerDataDir())),
)
