/** What is compared across versions: an old upgrader and new code must come to the same digest of the same rows. */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, it } from "@effect/vitest"
import { layerDatabase } from "@waiaas/services/Database"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { DataDir } from "@waiaas/services/platform/DataDir"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerDataDir } from "./support.ts"

const ROWS = 5003

it.scopedLive(
  "the digest of a table is of its rows in the order of their keys, beyond one batch of them",
  () =>
    Effect.gen(function* () {
      const database = join((yield* DataDir).paths.root, "some.db")
      const rows = Array.from({ length: ROWS }, (_, index) => ({
        id: `k${String((index * 7919) % ROWS).padStart(5, "0")}`,
        name: index === 0 ? null : index === 1 ? "it's\n,\u00e9" : `n${index}`,
      }))
      const write = (statement: string) =>
        Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement)).pipe(
          Effect.provide(layerDatabase({ path: database, create: true })),
          Effect.scoped,
        )
      yield* write("CREATE TABLE agents (name TEXT, id TEXT PRIMARY KEY, other INTEGER)")
      const quoted = (text: string | null) => (text === null ? "NULL" : `'${text.replaceAll("'", "''")}'`)
      yield* write(
        `INSERT INTO agents (id, name) VALUES ${rows.map(({ id, name }) => `(${quoted(id)}, ${quoted(name)})`).join()}`,
      )
      const lines = rows
        .toSorted((one, other) => (one.id < other.id ? -1 : 1))
        .map(({ id, name }) => `${quoted(id)},${quoted(name)}\n`)
      const expected = createHash("sha256").update(lines.join("")).digest("hex")
      const { examine } = yield* DatabaseTool
      const digest = Effect.map(
        examine("", database, "quick", { agents: ["id", "name"] }),
        ({ tables }) => tables.agents,
      )
      assert.deepStrictEqual(yield* digest, { rows: ROWS, digest: expected })
      yield* write("UPDATE agents SET other = 1")
      assert.deepStrictEqual(yield* digest, { rows: ROWS, digest: expected })
      yield* write("UPDATE agents SET name = 'x' WHERE id = 'k05002'")
      assert.notStrictEqual((yield* digest)?.digest, expected)
    }).pipe(
      Effect.provide(
        layerDatabaseToolLocal({
          describe: () => Effect.dieMessage("nobody asks"),
          openKeys: () => Effect.dieMessage("nobody asks"),
        }).pipe(Layer.provideMerge(layerDataDir())),
      ),
    ),
)
