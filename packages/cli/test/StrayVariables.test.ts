/** What a command says of the environment before it acts. */
import { mkdirSync, writeFileSync } from "node:fs"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, it } from "@effect/vitest"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment, withWholePaths } from "@waiaas/services/platform/Environment"
import { layerSimulated } from "@waiaas/services/testing/SimulatedUpgrade"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Output } from "../src/Output.ts"
import { noteStrayVariables, noteUnusedPassword } from "../src/StrayVariables.ts"

const machine = layerSimulated().pipe(Layer.provideMerge(NodeContext.layer))

const notesOf = <E>(
  said: Effect.Effect<void, E, Output | Environment | DataDir | Layer.Layer.Success<typeof machine>>,
  variables: Record<string, string>,
) =>
  Effect.gen(function* () {
    const notes: Array<string> = []
    const nothing = () => Effect.void
    const environment = yield* Environment
    yield* said.pipe(
      Effect.provideService(Environment, { ...environment, variables }),
      Effect.provideService(Output, {
        mode: "human",
        columns: undefined,
        result: nothing,
        verbatim: nothing,
        event: nothing,
        note: (line) => Effect.sync(() => void notes.push(line)),
      }),
    )
    return notes
  })

it.scopedLive(
  "a mistyped setting is named by every command, a variable of somebody's own only where it matters",
  () =>
    Effect.gen(function* () {
      const variables = {
        WAIAAS_DATADIR: "/x",
        WAIAAS_TREASURY_AGENT: "a",
        WAIAAS_DAEMON_PORT: "3100",
        WAIAAS_DAEMON_PROT: "1",
      }
      const near = "warning: WAIAAS_DATADIR is set in the environment"
      const [few, all] = [
        yield* notesOf(noteStrayVariables(false), variables),
        yield* notesOf(noteStrayVariables(true), variables),
      ]
      assert.deepStrictEqual([few.length, all.length], [1, 2])
      assert.include(few[0], near)
      assert.include(all[0], near)
      assert.include(all[1], "WAIAAS_TREASURY_AGENT")
    }).pipe(Effect.provide(machine)),
)

it.scopedLive("a master password that opens nothing is said to be unused", () =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    const variables = { WAIAAS_MASTER_PASSWORD_FILE: "/run/secrets/p" }
    assert.deepStrictEqual(yield* notesOf(noteUnusedPassword, variables), [])
    mkdirSync(paths.keystore, { recursive: true })
    writeFileSync(`${paths.keystore}/key`, "00")
    assert.deepStrictEqual(yield* notesOf(noteUnusedPassword, {}), [])
    const [line = ""] = yield* notesOf(noteUnusedPassword, variables)
    assert.include(line, "WAIAAS_MASTER_PASSWORD_FILE is set, but not used")
  }).pipe(Effect.provide(machine)),
)

it("a relative path in the environment means one file in every process of ours", () => {
  const given = { WAIAAS_MASTER_PASSWORD_FILE: "pw", NODE_EXTRA_CA_CERTS: "/etc/ca.pem", HOME: "home" }
  assert.deepStrictEqual(withWholePaths(given, "/home/op"), {
    ...given,
    WAIAAS_MASTER_PASSWORD_FILE: "/home/op/pw",
  })
  assert.strictEqual(withWholePaths(given, null), given)
  const empty = { WAIAAS_MASTER_PASSWORD_FILE: "" }
  assert.strictEqual(withWholePaths(empty, "/home/op"), empty)
})
