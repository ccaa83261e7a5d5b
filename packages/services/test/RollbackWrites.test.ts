/** A rollback says what it undoes in every table, and in columns that its backup does not have. */
import { SqlClient } from "@effect/sql/SqlClient"
import { assert, it } from "@effect/vitest"
import { otherWritesInWords } from "@waiaas/domain/OtherWrites"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { layerDatabase } from "@waiaas/services/Database"
import { Rollback } from "@waiaas/services/Rollback"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { asVersion } from "@waiaas/services/testing/SimulatedUpgrade"
import { insertAgent } from "@waiaas/services/testing/TestDatabase"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { layerInstalled, upgrade } from "./simulated.ts"

it.scopedLive("values of a newer column, rows of a newer table, and rows of every other table are said", () =>
  Effect.gen(function* () {
    yield* upgrade()
    const { databasePath } = yield* (yield* ConfigFile).load
    const write = (...statements: ReadonlyArray<string>) =>
      Effect.flatMap(SqlClient, (sql) =>
        Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }),
      ).pipe(Effect.provide(layerDatabase({ path: databasePath, create: false })), Effect.scoped)
    const plan = asVersion(
      "2.1.0",
      Effect.flatMap(Rollback, (service) => service.plan(Option.none())),
    )
    const said = Effect.map(plan, ({ others }) => otherWritesInWords(others))
    assert.deepStrictEqual(yield* said, [])
    yield* write(
      "ALTER TABLE agents ADD COLUMN daily_limit INTEGER NOT NULL DEFAULT 10",
      "CREATE TABLE policies (id TEXT PRIMARY KEY NOT NULL, most INTEGER)",
    )
    // Empty, and with nothing but defaults: nobody wrote anything.
    assert.deepStrictEqual(yield* said, [])
    const [agent] = yield* Effect.flatMap(
      SqlClient,
      (sql) => sql<{ name: string }>`SELECT name FROM agents ORDER BY id`,
    ).pipe(Effect.provide(layerDatabase({ path: databasePath, create: false })), Effect.scoped)
    assert.isDefined(agent)
    yield* write(
      `UPDATE agents SET daily_limit = 20 WHERE name = '${agent?.name}'`,
      "INSERT INTO policies VALUES ('p', 1), ('q', 2)",
      "INSERT INTO key_value_store VALUES ('latest_version', '9.9.9', 1)",
    )
    const expected = [
      `column agents.daily_limit was made and has a value in 1 row (${agent?.name}). That backup has no such column.`,
      "table policies was made and has 2 rows (p, q). That backup has no such table.",
    ]
    assert.sameMembers([...(yield* said)], expected)
    // Counted again when nobody writes any more.
    const report = yield* asVersion(
      "2.1.0",
      Effect.flatMap(Rollback, (service) =>
        Effect.gen(function* () {
          const found = yield* service.plan(Option.none())
          yield* write("INSERT INTO policies VALUES ('r', 3)")
          return yield* service.run(found, { restart: false, resumeSuspended: false })
        }),
      ),
    )
    assert.include(
      otherWritesInWords(report.others),
      "table policies was made and has 3 rows (p, q, r). That backup has no such table.",
    )
  }).pipe(Effect.provide(layerInstalled())),
)

it.scopedLive("records and values of a table that both have are said, and what comes back", () =>
  Effect.gen(function* () {
    const install = yield* SimulatedInstall
    assert.isDefined(install)
    const { databasePath } = yield* (yield* ConfigFile).load
    const write = (...statements: ReadonlyArray<string>) =>
      Effect.flatMap(SqlClient, (sql) =>
        Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }),
      ).pipe(Effect.provide(layerDatabase({ path: databasePath, create: false })), Effect.scoped)
    yield* write(
      "CREATE TABLE limits (id TEXT PRIMARY KEY NOT NULL, most INTEGER)",
      "INSERT INTO limits VALUES ('a', 1), ('b', 2)",
    )
    yield* upgrade()
    yield* write(
      "UPDATE limits SET most = 5 WHERE id = 'a'",
      "DELETE FROM limits WHERE id = 'b'",
      "INSERT INTO limits VALUES ('c', 3)",
    )
    yield* insertAgent("late").pipe(
      Effect.provide(layerDatabase({ path: databasePath, create: false })),
      Effect.scoped,
    )
    const { others } = yield* asVersion(
      "2.1.0",
      Effect.flatMap(Rollback, (service) => service.plan(Option.none())),
    )
    assert.sameMembers(
      [...otherWritesInWords(others)].filter((line) => line.includes("limits")),
      [
        "limits.most was changed in 1 row (a). It gets its earlier value back.",
        "1 row (b) was removed from limits. It comes back.",
        "1 row (c) was added to limits. That backup does not have it.",
      ],
    )
    // Agents have sentences of their own.
    assert.notInclude(otherWritesInWords(others).join(), "agents was")
  }).pipe(Effect.provide(layerInstalled())),
)
