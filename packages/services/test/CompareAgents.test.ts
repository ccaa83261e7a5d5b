/** What the tool says of the agents of two databases, whatever the schema of each. */
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { changesInWords, keylessInWords } from "@waiaas/domain/AgentChanges"
import { layerDatabase } from "@waiaas/services/Database"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { migrate } from "@waiaas/services/Migrator"
import { migrations } from "@waiaas/services/migrations/index"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { agentIdOf, insertAgent } from "@waiaas/services/testing/TestDatabase"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerDataDir } from "./support.ts"

const keyOf = (name: string, publicKey = `key-${name}`) => ({ agent: agentIdOf(name), publicKey })
const layer = layerDatabaseToolLocal({
  describe: () => Effect.dieMessage("nobody asks"),
  openKeys: (dataDir) =>
    dataDir === "/d"
      ? Effect.succeed({
          open: [keyOf("same"), keyOf("goes on", "key-of another"), keyOf("new"), keyOf("nobody")],
          damaged: [agentIdOf("moves"), agentIdOf("gone").toUpperCase()],
        })
      : Effect.dieMessage("nobody asks"),
}).pipe(Layer.provideMerge(layerDataDir()))

const database = (
  name: string,
  schema: number,
  agents: ReadonlyArray<string>,
  ...statements: ReadonlyArray<string>
) =>
  Effect.gen(function* () {
    const path = join((yield* DataDir).paths.root, `${name}.db`)
    yield* Effect.gen(function* () {
      yield* migrate(path, migrations.slice(0, schema))
      yield* Effect.forEach(agents, insertAgent)
      const sql = yield* SqlClient
      for (const statement of statements) yield* sql.unsafe(statement)
    }).pipe(Effect.provide(layerDatabase({ path, create: true })), Effect.scoped)
    return path
  })
const read = (path: string, statement: string) =>
  Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement)).pipe(
    Effect.provide(layerDatabase({ path, create: false })),
    Effect.scoped,
  )
const suspend = (name: string, at: number) =>
  `UPDATE agents SET status = 'suspended', updated_at = ${at} WHERE name = '${name}'`
const namesOf = ({ agents }: { readonly agents: ReadonlyArray<{ readonly name: string }> }) =>
  agents.map(({ name }) => name).toSorted()

describe("the agents of two databases", () => {
  it.scopedLive("are compared in every column that both have, and all that differs is named", () =>
    Effect.gen(function* () {
      const tool = yield* DatabaseTool
      const before = yield* database(
        "before",
        3,
        ["same", "gone", "stops", "goes on", "moves"],
        suspend("goes on", 2),
      )
      const now = yield* database(
        "now",
        5,
        ["same", "stops", "goes on", "moves", "new", "newer"],
        suspend("stops", 7),
        "UPDATE agents SET owner_address = 'x', chain = 'ethereum' WHERE name = 'moves'",
      )
      const found = yield* tool.compareAgents("", before, now, "/d")
      assert.deepStrictEqual([found.before, found.now], [5, 6])
      assert.deepStrictEqual([found.added.count, namesOf(found.added)], [2, ["new", "newer"]])
      assert.deepStrictEqual(namesOf(found.removed), ["gone"])
      assert.deepStrictEqual(namesOf(found.suspended), ["stops"])
      assert.deepStrictEqual(namesOf(found.resumed), ["goes on"])
      assert.deepStrictEqual(found.changed.agents, [
        { id: agentIdOf("moves"), name: "moves", columns: ["chain", "owner_address"] },
      ])
      // Of the backup's five: a key of another public key and a damaged one are none, an id in other letters is another.
      assert.deepStrictEqual(namesOf(found.keyless), ["goes on", "gone", "moves", "stops"])
      assert.strictEqual(found.withoutFile, 2)
      const { keyless, withoutFile } = yield* tool.compareAgents("", before, now)
      assert.deepStrictEqual([keyless.count, withoutFile], [0, 0])
      assert.deepStrictEqual(changesInWords(found, false), [
        `2 agents were added: ${found.added.agents.map(({ name }) => name).join(", ")}. They are not in that backup.`,
        "1 agent was removed: gone. It comes back.",
        "1 agent was suspended: stops. It stays suspended (--resume-suspended lets it sign again).",
        "1 agent was resumed: goes on. It is suspended again.",
        "1 agent was changed: moves (chain, owner_address). It gets its earlier values back.",
      ])
      assert.strictEqual(
        keylessInWords(found, "/k"),
        `4 of the 5 agents in that backup cannot sign here, their sealed keys in /k are missing or damaged: ${found.keyless.agents.map(({ name }) => name).join(", ")}.`,
      )
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("are the same only where every value is, by its letters and its type", () =>
    Effect.gen(function* () {
      const tool = yield* DatabaseTool
      const loose = (name: string, rows: string) =>
        database(
          name,
          1,
          [],
          `CREATE TABLE agents (id TEXT PRIMARY KEY COLLATE NOCASE, name TEXT COLLATE NOCASE, most,
             status TEXT, created_at INTEGER, updated_at INTEGER)`,
          `INSERT INTO agents VALUES ${rows}`,
        )
      const before = yield* loose("before", "('A', 'a', 1, 'active', 1, 1), ('b', 'b', 1, 'active', 2, 1)")
      const now = yield* loose("now", "('a', 'a', 1, 'active', 1, 1), ('b', 'B', '1', 'frozen', 2, 1)")
      const found = yield* tool.compareAgents("", before, now)
      assert.deepStrictEqual(found.added.agents, [{ id: "a", name: "a" }])
      assert.deepStrictEqual(found.removed.agents, [{ id: "A", name: "a" }])
      assert.deepStrictEqual(found.changed.agents, [
        { id: "b", name: "B", columns: ["name", "most", "status"] },
      ])
      // As the retention of backups sees it: an agent, and three values of another.
      const { writes, agents } = yield* tool.findUnique("", before, [now])
      assert.deepStrictEqual([writes, agents.map(({ id }) => id)], [4, ["A", "b"]])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("of a schema without agents are none, and a missing database is not made", () =>
    Effect.gen(function* () {
      const tool = yield* DatabaseTool
      const now = yield* database("now", 5, ["one"])
      const before = yield* database("before", 1, [])
      assert.deepStrictEqual(namesOf((yield* tool.compareAgents("", before, now)).added), ["one"])
      assert.deepStrictEqual(namesOf((yield* tool.compareAgents("", now, before)).removed), ["one"])
      const none = join(now, "../none.db")
      const failed = yield* Effect.flip(tool.compareAgents("", none, now))
      assert.include(failed.message, "none.db: could not open it: it does not exist")
      assert.strictEqual((yield* Effect.flip(tool.compareAgents("", now, none)))._tag, "DatabaseFailed")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("suspended in one are suspended in the other, with the time that is recorded there", () =>
    Effect.gen(function* () {
      const tool = yield* DatabaseTool
      const now = yield* database("now", 5, ["one", "two", "new"], suspend("one", 7), suspend("new", 8))
      const copy = yield* database("copy", 4, ["one", "two"])
      yield* tool.keepSuspended("", copy, now)
      assert.deepStrictEqual(yield* read(copy, "SELECT name, status, updated_at FROM agents ORDER BY name"), [
        { name: "one", status: "suspended", updated_at: 7 },
        { name: "two", status: "active", updated_at: 1 },
      ])
      assert.deepStrictEqual(
        yield* read(copy, "SELECT agent_id, at FROM agent_events WHERE event = 'suspended'"),
        [{ agent_id: agentIdOf("one"), at: 7 }],
      )
    }).pipe(Effect.provide(layer)),
  )
})

describe("the writes that only one database has", () => {
  it.scopedLive("are its agents and changes of their status, found nowhere else", () =>
    Effect.gen(function* () {
      const tool = yield* DatabaseTool
      const only = yield* database("only", 5, ["one", "two", "three"], suspend("two", 5))
      const older = yield* database("older", 3, ["one"])
      const found = yield* tool.findUnique("", only, [older, "/none.db"])
      // An agent and its suspension are two writes.
      assert.deepStrictEqual([found.writes, namesOf(found)], [3, ["three", "two"]])
      const later = yield* database("later", 4, ["two"], suspend("two", 5))
      assert.deepStrictEqual(namesOf(yield* tool.findUnique("", only, [older, later])), ["three"])
      const another = yield* database("another", 4, ["two", "three"], suspend("two", 6))
      assert.deepStrictEqual(yield* tool.findUnique("", only, [older, another]), {
        writes: 1,
        agents: [{ id: agentIdOf("two"), name: "two" }],
      })
      assert.deepStrictEqual(yield* tool.findUnique("", only, [older, another, later]), {
        writes: 0,
        agents: [],
      })
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("of an old schema are found in a newer one, and the other way round", () =>
    Effect.gen(function* () {
      const tool = yield* DatabaseTool
      const old = yield* database("old", 2, ["one"], suspend("one", 5))
      const now = yield* database("now", 5, ["one"], suspend("one", 5))
      assert.strictEqual((yield* tool.findUnique("", old, [now])).writes, 0)
      assert.strictEqual((yield* tool.findUnique("", now, [old])).writes, 0)
      const empty = yield* database("empty", 1, [])
      assert.strictEqual((yield* tool.findUnique("", empty, [])).writes, 0)
      assert.strictEqual((yield* tool.findUnique("", now, [empty])).writes, 2)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("are a resume too, and every value of the same agent that is nowhere else", () =>
    Effect.gen(function* () {
      const tool = yield* DatabaseTool
      const writesIn = (path: string, ...others: ReadonlyArray<string>) =>
        Effect.map(tool.findUnique("", path, others), ({ writes }) => writes)
      const suspended = yield* database("suspended", 3, ["one"], suspend("one", 5))
      const resume = "UPDATE agents SET status = 'active', updated_at = 7"
      const resumed = yield* database("resumed", 3, ["one"], suspend("one", 5), resume)
      assert.strictEqual(yield* writesIn(resumed, suspended), 1)
      assert.strictEqual(yield* writesIn(resumed, suspended, yield* database("new", 3, ["one"])), 1)
      assert.strictEqual(yield* writesIn(resumed, yield* database("newer", 5, ["one"], resume)), 0)
      // Suspended before there were events.
      const migrated = yield* database("migrated", 3, ["one"], suspend("one", 5))
      yield* migrate(migrated).pipe(
        Effect.provide(layerDatabase({ path: migrated, create: false })),
        Effect.scoped,
      )
      assert.strictEqual(yield* writesIn(migrated, yield* database("active", 5, ["one"])), 1)
      assert.strictEqual(yield* writesIn(migrated, suspended), 0)
      const owned = (name: string, owner: string) =>
        database(name, 5, ["one"], `UPDATE agents SET owner_address = '${owner}'`)
      const mine = yield* owned("mine", "mine")
      assert.deepStrictEqual(
        yield* tool.findUnique("", mine, [
          yield* owned("theirs", "theirs"),
          yield* database("old", 2, ["one"]),
        ]),
        { writes: 1, agents: [{ id: agentIdOf("one"), name: "one" }] },
      )
      assert.strictEqual(yield* writesIn(mine, yield* owned("again", "mine")), 0)
    }).pipe(Effect.provide(layer)),
  )
})
