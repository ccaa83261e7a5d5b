/** What a command reads of a database that somebody else can write has an end, and is what it should be. */
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { readAgents, readStoredValues, withTable } from "@waiaas/services/StoredValues"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import { layerPlatform, temporaryDirectory } from "./support.ts"

const ENDLESS = "WITH RECURSIVE endless(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM endless)"

const made = (...statements: ReadonlyArray<string>) =>
  Effect.map(temporaryDirectory, (directory) => {
    const path = join(directory, "waiaas.db")
    const database = new Sqlite(path)
    for (const statement of statements) database.exec(statement)
    database.close()
    return path
  })

it.scopedLive("values and names are read from tables", () =>
  Effect.gen(function* () {
    const path = yield* made(
      "CREATE TABLE key_value_store (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
      "INSERT INTO key_value_store VALUES ('a', 'b'), ('large', hex(randomblob(100000)))",
      "CREATE TABLE agents (id TEXT, name TEXT, public_key TEXT, created_at INTEGER)",
      "INSERT INTO agents VALUES ('1', 'one', 'key', 1)",
    )
    assert.deepStrictEqual([...(yield* readStoredValues(path))], [["a", "b"]])
    assert.deepStrictEqual(yield* readAgents(path), [{ id: "1", name: "one", publicKey: "key" }])
  }).pipe(Effect.provide(layerPlatform())),
)

it.scopedLive("views that never end are none, and a trigger keeps a table from being written", () =>
  Effect.gen(function* () {
    const views = yield* made(
      `CREATE VIEW key_value_store AS ${ENDLESS} SELECT x AS key, x AS value FROM endless WHERE x < 0`,
      `CREATE VIEW agents AS ${ENDLESS} SELECT x AS id, x AS name, x AS public_key, x AS created_at FROM endless`,
    )
    assert.strictEqual((yield* readStoredValues(views)).size, 0)
    assert.deepStrictEqual(yield* readAgents(views), [])
    const trigger = yield* made(
      "CREATE TABLE t (a)",
      `CREATE TRIGGER endless AFTER INSERT ON t BEGIN INSERT INTO t ${ENDLESS} SELECT x FROM endless; END`,
    )
    const written = yield* withTable(
      trigger,
      "t",
      { readonly: false, otherwise: "not written" },
      (database) => {
        database.prepare("INSERT INTO t VALUES (1)").run()
        return "written"
      },
    )
    assert.strictEqual(written, "not written")
  }).pipe(Effect.provide(layerPlatform())),
)

it.scopedLive("a named pipe in the place of the database or of its log is refused, and not waited for", () =>
  Effect.gen(function* () {
    const directory = yield* temporaryDirectory
    const pipe = join(directory, "pipe.db")
    execFileSync("mkfifo", [pipe])
    const path = yield* made("CREATE TABLE agents (id TEXT, name TEXT, public_key TEXT, created_at INTEGER)")
    execFileSync("mkfifo", [`${path}-wal`])
    for (const each of [pipe, path]) {
      assert.match(String(yield* Effect.flip(readAgents(each))), /not an ordinary file/)
      yield* Effect.flip(readStoredValues(each))
    }
  }).pipe(Effect.provide(layerPlatform())),
)
