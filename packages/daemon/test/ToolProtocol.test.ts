/** What a tool answers to upgraders of other versions: all of what they ask, or that it does not understand. */
import { strict as assert } from "node:assert"
import { createHash } from "node:crypto"
import { copyFileSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { VERSION } from "@waiaas/domain/Build"
import { layerDatabase } from "@waiaas/services/Database"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { migrate } from "@waiaas/services/Migrator"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { ProcessFailed, ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { agentIdOf, insertAgent } from "@waiaas/services/testing/TestDatabase"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Keystore } from "../src/Keystore.ts"
import { dataDirectoryActs, replyTo } from "../src/Tool.ts"
import { initialise, layerPlatform, temporaryDirectory } from "./support.ts"

/** A data directory with a database of two agents, one of which has a key, and the tool over it. */
const place = Effect.gen(function* () {
  const root = yield* temporaryDirectory
  yield* initialise(root)
  writeFileSync(join(root, "config.toml"), "", { mode: 0o600 })
  const platform = layerPlatform(root)
  const publicKey = yield* Effect.flatMap(Keystore, ({ createKey }) => createKey(agentIdOf("alice"))).pipe(
    Effect.provide(Keystore.layer),
    Effect.provide(platform),
  )
  const database = join(root, "data", "it.db")
  yield* Effect.gen(function* () {
    yield* migrate(database)
    yield* Effect.forEach(["alice", "bob"], insertAgent)
    const sql = yield* SqlClient
    yield* sql`UPDATE agents SET public_key = ${publicKey} WHERE name = 'alice'`
  }).pipe(Effect.provide(layerDatabase({ path: database, create: true })), Effect.provide(platform))
  const tool = Layer.unwrapEffect(Effect.map(dataDirectoryActs, (acts) => layerDatabaseToolLocal(acts)))
  const layer = Layer.provideMerge(Layer.mergeAll(tool, ExclusiveLock.layer), platform)
  const ask = (request: unknown) =>
    replyTo(typeof request === "string" ? request : JSON.stringify(request), []).pipe(Effect.provide(layer))
  const done = (request: Readonly<Record<string, unknown>>) =>
    Effect.map(ask({ protocol: 1, ...request }), (reply) => {
      assert.equal(reply._tag, "Done", JSON.stringify(reply))
      // biome-ignore lint/suspicious/noExplicitAny: a test reads what came, whatever it is
      return (reply as { readonly result: any }).result
    })
  return { root, database, ask, done, platform }
})

it.scopedLive(
  "an examination does the check and the tables that it is asked for, with and without the keys",
  () =>
    Effect.gen(function* () {
      const { root, database, ask, done } = yield* place
      const examine = { _tag: "Examine", database, check: "none" }
      for (const dataDir of [{}, { dataDir: root }]) {
        // Another list than any that this code has.
        const tables = { agents: ["network", "id"], schema_version: ["name"], policies: ["id"] }
        const found = yield* done({ ...examine, ...dataDir, tables })
        assert.deepEqual(Object.keys(found.tables), ["agents", "schema_version"])
        const lines = ["alice", "bob"].map((name) => `'mainnet','${agentIdOf(name)}'\n`).sort()
        const digest = createHash("sha256").update(lines.join("")).digest("hex")
        assert.deepEqual(found.tables.agents, { rows: 2, digest })
      }
      const { keys } = yield* done({ ...examine, tables: {}, dataDir: root })
      assert.deepEqual(keys, { agents: 2, open: 1, missing: 1, names: ["bob"], damaged: [] })

      // An index of its table lies: only the full check sees it.
      const damaged = join(root, "data", "damaged.db")
      copyFileSync(database, damaged)
      const bytes = readFileSync(damaged)
      const at = bytes.lastIndexOf(agentIdOf("alice"))
      bytes.write("f", at + 35)
      writeFileSync(damaged, bytes)
      for (const dataDir of [{}, { dataDir: root }]) {
        const of = { ...examine, ...dataDir, database: damaged, tables: {} }
        yield* done(of)
        yield* done({ ...of, check: "quick" })
        const reply = yield* ask({ protocol: 1, ...of, check: "full" })
        assert.equal(reply._tag, "Refused", JSON.stringify(reply))
      }
    }),
)

it.scopedLive(
  "a request that a later upgrader makes is refused in a form that it reads, and nothing of it is done",
  () =>
    Effect.gen(function* () {
      const { database, ask } = yield* place
      const cases: ReadonlyArray<readonly [unknown, RegExp]> = [
        [
          { _tag: "Examine", protocol: 1, database, check: "none", tables: {}, deep: true },
          /its field deep is not of protocol 1/,
        ],
        [{ _tag: "Migrate", protocol: 2, database }, /its field protocol is not of protocol 1/],
        [{ _tag: "Vacuum", protocol: 1, database }, /its field _tag is not of protocol 1/],
        [
          { _tag: "Examine", protocol: 1, database, check: "thorough", tables: {} },
          /its field check is not of protocol 1/,
        ],
        ["no JSON", /it is not a request of protocol 1/],
      ]
      for (const [request, problem] of cases) {
        const reply = yield* ask(request)
        assert.ok(reply._tag === "Refused", JSON.stringify(reply))
        assert.match(reply.message, problem)
        assert.ok(reply.message.startsWith(`WAIaaS ${VERSION} does not understand`), reply.message)
        assert.match(reply.next, /waiaas upgrade --to/)
        assert.equal(reply.exitCode, 4)
      }
    }),
)

/** `DatabaseTool` of this code, asking a tool of other code that answers `stdout`. */
const asking = (stdout: string, exitCode: number) =>
  DatabaseTool.layer.pipe(
    Layer.provide(
      Layer.succeed(ProcessRunner, {
        run: () => Effect.succeed({ exitCode, signal: null, stdout, stderr: "" }),
        detach: () => new ProcessFailed({ command: "", reason: "other", output: "" }),
        identity: () => Effect.dieMessage("not asked"),
        about: () => Effect.dieMessage("not asked"),
        signal: () => Effect.dieMessage("not asked"),
      }),
    ),
  )

it.scopedLive(
  "a reply of a later tool is read: what is new in it is passed over, an error of it speaks for itself",
  () =>
    Effect.gen(function* () {
      const { database, platform, root } = yield* place
      const answered = (lines: ReadonlyArray<unknown>, exitCode: number) =>
        Effect.flatMap(DatabaseTool, (tool) => tool.examineKeys("/package", database, "none", root)).pipe(
          Effect.provide(asking(lines.map((line) => `${JSON.stringify(line)}\n`).join(""), exitCode)),
          Effect.provide(platform),
        )
      const keys = { agents: 1, open: 1, missing: 0, names: [], damaged: [], since: 3 }
      const result = { schema: 9, tables: {}, keys, pages: 12 }
      const found = yield* answered(
        [
          { _tag: "Estimate", seconds: 3 },
          { _tag: "Done", result, took: 4 },
        ],
        0,
      )
      assert.deepEqual(found.keys, { agents: 1, open: 1, missing: 0, names: [], damaged: [] })
      const refused = yield* Effect.flip(
        answered(
          [
            {
              _tag: "Refused",
              error: { _tag: "PagesMissing", pages: 3 },
              message: "Three pages are missing.",
              next: "waiaas mend",
              exitCode: 4,
            },
          ],
          4,
        ),
      )
      assert.deepEqual(
        [refused._tag, refused.message, refused.next, refused.exitCode],
        ["OtherRefusal", "Three pages are missing.", "waiaas mend", 4],
      )
      // What was asked for has to be there.
      const less = yield* Effect.flip(answered([{ _tag: "Done", result: { schema: 9, tables: {} } }], 0))
      assert.match(less.message, /an answer that is not of the protocol/)
    }),
)
