/** The tool's acts on the agents of two databases, in SQL; `within` one that is open as `main`. */
import { SqlClient } from "@effect/sql/SqlClient"
import {
  type AgentChanges,
  NAMED_AGENTS,
  type NamedAgent,
  type UniqueWrites,
} from "@waiaas/domain/AgentChanges"
import { DatabaseFailed } from "@waiaas/domain/DataErrors"
import * as Effect from "effect/Effect"
import { databaseFailed, reasonOf } from "./Database.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import type { KeyedAgent } from "./SealedKeys.ts"
import { exactly, quoted } from "./TableShapes.ts"
import { otherRowsOf, otherTables } from "./UniqueRows.ts"

const literal = (text: string) => `'${text.replaceAll("'", "''")}'`

/** Whether two values are the same one: a column's collation calls different texts equal, its affinity 1 and '1'. */
const isSame = (one: string, other: string) =>
  `(typeof(${one}) = typeof(${other}) AND (${one} COLLATE BINARY) IS ${other})`

/** Columns of a table; none where it does not exist. */
const columnsOf = (database: string, table: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const rows = yield* sql<{ name: string }>`SELECT name FROM pragma_table_info(${table}, ${database})`
    return rows.map(({ name }) => name)
  })

/** Runs `act` with another database open as `other`. SQLite would make one that is missing. */
const withOther = <A, E, R>(path: string, act: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const files = yield* DurableFile
    const reason = "it does not exist"
    if (!(yield* files.exists(path).pipe(Effect.mapError(({ message }) => unreadable(path, message)))))
      return yield* unreadable(path, reason)
    yield* sql`ATTACH DATABASE ${path} AS other`.pipe(databaseFailed("open it", path))
    return yield* Effect.ensuring(
      act,
      Effect.orElseSucceed(sql`DETACH DATABASE other`, () => undefined),
    )
  })

const unreadable = (path: string, reason: string) =>
  new DatabaseFailed({ operation: "open it", path, reason })

const isSuspended = (agent: string) => `((${agent}.status COLLATE BINARY) IS 'suspended')`

/** An agents' table of a schema that has none yet. */
const NO_AGENTS =
  "(SELECT NULL AS id, NULL AS name, NULL AS status, 0 AS created_at, 0 AS updated_at WHERE 0)"

/** Compares the agents of `before` with those of the open database; gives those of `before` too, with their public keys. */
export const compareAgentsHere = (path: string, before: string) =>
  withOther(
    before,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      // One moment of each of the two.
      return yield* Effect.gen(function* () {
        const earlier = yield* columnsOf("other", "agents")
        const today = yield* columnsOf("main", "agents")
        const b = earlier.length > 0 ? "other.agents" : NO_AGENTS
        const n = today.length > 0 ? "main.agents" : NO_AGENTS
        const compared = today.filter(
          (name) => earlier.includes(name) && !["id", "updated_at"].includes(name),
        )
        const differing =
          compared
            .map(
              (name) =>
                // A suspension and its end are said as such.
                `CASE WHEN ${isSame(`n.${quoted(name)}`, `b.${quoted(name)}`)}${
                  name === "status" ? ` OR ${isSuspended("n")} OR ${isSuspended("b")}` : ""
                } THEN '' ELSE ${literal(`${name},`)} END`,
            )
            .join(" || ") || "''"
        const find = <A extends NamedAgent>(select: string, rest: string) =>
          Effect.gen(function* () {
            const [row] = yield* sql.unsafe<{ count: number }>(`SELECT count(*) AS count ${rest}`)
            const agents =
              row?.count === 0
                ? []
                : yield* sql.unsafe<A>(
                    `SELECT ${select} ${rest} ORDER BY created_at, id LIMIT ${NAMED_AGENTS}`,
                  )
            return { count: row?.count ?? 0, agents: [...agents] }
          })
        const only = (one: string, other: string) =>
          find(
            "id, name",
            `FROM ${one} AS x WHERE NOT EXISTS (SELECT 1 FROM ${other} AS y WHERE ${isSame("y.id", "x.id")})`,
          )
        const joined = `FROM ${n} AS n JOIN ${b} AS b ON ${isSame("b.id", "n.id")}`
        const pairs = (condition: string) =>
          find(
            "id, name",
            `FROM (SELECT n.id AS id, n.name AS name, n.created_at AS created_at ${joined} WHERE ${condition})`,
          )
        const size = (from: string) =>
          Effect.map(
            sql.unsafe<{ count: number }>(`SELECT count(*) AS count FROM ${from}`),
            ([row]) => row?.count ?? 0,
          )
        const changed = yield* find<NamedAgent & { readonly columns: string }>(
          "id, name, columns",
          `FROM (SELECT n.id AS id, n.name AS name, n.created_at AS created_at, ${differing} AS columns ${joined}) WHERE columns <> ''`,
        )
        const changes: Omit<AgentChanges, "keyless" | "withoutFile"> = {
          before: yield* size(b),
          now: yield* size(n),
          added: yield* only(n, b),
          removed: yield* only(b, n),
          suspended: yield* pairs(`${isSuspended("n")} AND NOT ${isSuspended("b")}`),
          resumed: yield* pairs(`${isSuspended("b")} AND NOT ${isSuspended("n")}`),
          changed: {
            count: changed.count,
            agents: changed.agents.map(({ id, name, columns }) => ({
              id,
              name,
              columns: columns.split(",").filter((column) => column !== ""),
            })),
          },
        }
        const publicKey = earlier.includes("public_key") ? "public_key" : "NULL"
        const agents = yield* sql.unsafe<KeyedAgent>(
          `SELECT id, name, ${publicKey} AS publicKey FROM ${b} ORDER BY created_at, id`,
        )
        return { ...changes, agents }
      }).pipe(sql.withTransaction)
    }),
  ).pipe(asFailure("compare its agents", path))

/** Suspends in the open database the agents that are suspended in `now`, at the time that is recorded there. */
export const keepSuspendedHere = (path: string, now: string) =>
  withOther(
    now,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      if ((yield* columnsOf("main", "agents")).length === 0) return
      yield* sql.unsafe(
        `UPDATE main.agents SET status = 'suspended',
           updated_at = (SELECT updated_at FROM other.agents AS n WHERE n.id = agents.id)
         WHERE status <> 'suspended' AND id IN (SELECT id FROM other.agents WHERE status = 'suspended')`,
      )
    }),
  ).pipe(asFailure("keep its agents suspended", path))

/** Columns of the agents' table whose values are writes of their own, with the default that a row has which nobody wrote. */
const valuesOf = (database: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const rows = yield* sql<{ name: string; dflt_value: string | null }>`
      SELECT name, dflt_value FROM pragma_table_info('agents', ${database})`
    return rows.filter(({ name }) => !["id", "status", "updated_at"].includes(name))
  })

/**
 * What a database says of writes: each agent's creation, each change of a status with its time, and each value of
 * another column. `own`: the columns of the database whose writes they are: where another one has no such column, its
 * rows have the default.
 */
const writesOf = (database: string, own: Effect.Effect.Success<ReturnType<typeof valuesOf>>) =>
  Effect.gen(function* () {
    const agents = (yield* columnsOf(database, "agents")).length > 0
    const events = (yield* columnsOf(database, "agent_events")).length > 0
    const values = (yield* valuesOf(database)).map(({ name }) => name)
    const write = (agent: string, what: string, at: string) =>
      `SELECT ${exactly(agent)} AS agent, ${what} AS what, ${exactly(at)} AS at`
    // A status without an event was written before there were events.
    const isWithoutEvent = events
      ? ` AND NOT EXISTS (SELECT 1 FROM ${database}.agent_events AS e WHERE e.agent_id = x.id AND e.event = x.status)`
      : ""
    const isMain = database === "main"
    const isWritten = `(x.status <> 'active' OR x.updated_at <> x.created_at)${isWithoutEvent}`
    return [
      ...(agents
        ? [
            `${write("id", "'created'", "0")} FROM ${database}.agents`,
            // Another one's row proves its status at its time, with an event of it or without.
            `${write("x.id", "'status ' || x.status", "x.updated_at")} FROM ${database}.agents AS x
             WHERE ${isMain ? isWritten : "1"}`,
            ...own.map(
              ({ name, dflt_value }) =>
                `${write("id", literal(`value ${name}`), values.includes(name) ? quoted(name) : `(${dflt_value ?? "NULL"})`)}
                 FROM ${database}.agents`,
            ),
          ]
        : []),
      ...(events
        ? [
            `${write("agent_id", "'status ' || event", "at")} FROM ${database}.agent_events WHERE event <> 'created'`,
          ]
        : []),
    ].join(" UNION ")
  })

/** Finds the writes in the open database that none of `others` has. */
export const findUniqueHere = (path: string, others: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const values = yield* valuesOf("main")
    const tables = yield* otherTables
    const all = (database: string) =>
      Effect.map(Effect.all([writesOf(database, values), otherRowsOf(database, tables)]), ([writes, rows]) =>
        [...(writes === "" ? [] : [writes]), ...rows].join(" UNION "),
      )
    const own = yield* all("main")
    const none: UniqueWrites = { writes: 0, agents: [] }
    if (own === "") return none
    // Columns without a type: nothing is converted.
    yield* sql.unsafe("CREATE TEMP TABLE writes (agent, what, at)")
    yield* sql.unsafe(`INSERT INTO temp.writes ${own}`)
    const count = (condition: string) =>
      Effect.map(
        sql.unsafe<{ count: number }>(`SELECT count(*) AS count FROM temp.writes AS w WHERE ${condition}`),
        ([row]) => row?.count ?? 0,
      )
    for (const other of others) {
      if ((yield* count("1")) === 0) return none
      yield* withOther(
        other,
        Effect.gen(function* () {
          const theirs = yield* all("other")
          if (theirs !== "")
            yield* sql.unsafe(`DELETE FROM temp.writes WHERE (agent, what, at) IN (${theirs})`)
        }),
        // One that cannot be read is no copy of anything: what only it could have stays unique.
      ).pipe(Effect.catchAll((error) => Effect.logDebug(`${other} was passed over`, error)))
    }
    const hasAgents = (yield* columnsOf("main", "agents")).length > 0
    const agents = hasAgents
      ? yield* sql.unsafe<NamedAgent>(
          `SELECT id, name FROM main.agents WHERE ${exactly("id")} IN (SELECT agent FROM temp.writes)
           ORDER BY created_at, id LIMIT ${NAMED_AGENTS}`,
        )
      : []
    // An agent that is nowhere else was written with all of its values.
    const writes = yield* count(
      "what NOT LIKE 'value %' OR NOT EXISTS (SELECT 1 FROM temp.writes AS c WHERE c.agent = w.agent AND c.what = 'created')",
    )
    const found: UniqueWrites = { writes, agents: [...agents] }
    return found
  }).pipe(asFailure("find what only it has", path))

/** An error that says what was tried with the open database, whichever of the two it is about. */
function asFailure(operation: string, path: string) {
  return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, DatabaseFailed, R> =>
    Effect.catchAll(effect, (error) =>
      error instanceof DatabaseFailed
        ? Effect.fail(error)
        : new DatabaseFailed({ operation, path, reason: reasonOf(error) }),
    )
}
