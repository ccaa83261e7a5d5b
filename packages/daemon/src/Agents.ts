import { randomUUID } from "node:crypto"
import { SqlClient } from "@effect/sql/SqlClient"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { Agent, AgentId, type CreateAgent, isAgentId } from "@waiaas/domain/DaemonApi"
import { DatabaseFailed, type FileFailed, type KeystoreDamaged } from "@waiaas/domain/DataErrors"
import { databaseFailed, fileOfDatabase } from "@waiaas/services/Database"
import { Environment, unixSeconds } from "@waiaas/services/platform/Environment"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import {
  AgentAmbiguous,
  AgentKeyUnavailable,
  AgentNameTaken,
  AgentNotFound,
  AgentSuspended,
  NoOwnerAddress,
} from "./AgentErrors.ts"
import { Keystore } from "./Keystore.ts"

/** A row as SQLite gives it; `owner_address` is there from schema 3 on. */
const AgentRow = Schema.Struct({
  id: AgentId,
  name: Schema.String,
  chain: Schema.String,
  network: Schema.String,
  public_key: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/)),
  status: Schema.Literal("active", "suspended"),
  created_at: Schema.Int,
  updated_at: Schema.Int,
  owner_address: Schema.optional(Schema.NullOr(Schema.String)),
})
const decodeRows = Schema.decodeUnknown(Schema.Array(AgentRow))

type SigningKey = Agent["signingKey"]

const toAgent = (row: typeof AgentRow.Type, signingKey: SigningKey): Agent =>
  Agent.make({
    id: row.id,
    name: row.name,
    chain: row.chain,
    network: row.network,
    publicKey: row.public_key,
    status: row.status,
    signingKey,
    ownerAddress: row.owner_address ?? null,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  })

type Row = typeof AgentRow.Type
type Unfound = AgentNotFound | AgentAmbiguous | DatabaseFailed

/** The agents and their acts. An agent is named by its id, or by its name where no other one has it. */
export class Agents extends Context.Tag("@waiaas/daemon/Agents")<
  Agents,
  {
    /** Makes the key, then the row: a row without its key cannot come to be. Nothing can end it half-way but the end of the process. */
    readonly create: (
      agent: typeof CreateAgent.Type,
    ) => Effect.Effect<Agent, NoOwnerAddress | AgentNameTaken | DatabaseFailed | KeystoreDamaged | FileFailed>
    /** Oldest first. */
    readonly list: Effect.Effect<ReadonlyArray<Agent>, DatabaseFailed | FileFailed>
    readonly show: (agent: string) => Effect.Effect<Agent, Unfound>
    /** Idempotent, as is `resume`. */
    readonly suspend: (agent: string) => Effect.Effect<Agent, Unfound>
    readonly resume: (agent: string) => Effect.Effect<Agent, Unfound>
    /** Signs the UTF-8 form of a message: Ed25519, hexadecimal. */
    readonly sign: (
      agent: string,
      message: string,
    ) => Effect.Effect<
      { readonly signature: string; readonly publicKey: string },
      Unfound | AgentSuspended | AgentKeyUnavailable
    >
  }
>() {
  static readonly layerSchema = (schema: number) =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const file = yield* fileOfDatabase
        const keystore = yield* Keystore
        const environment = yield* Environment
        const now = unixSeconds.pipe(Effect.provideService(Environment, environment))
        const oneAtATime = (yield* Effect.makeSemaphore(1)).withPermits(1)
        const ownerAddressStored = schema >= 3
        // Only what exists at this schema: older releases are built from this source.
        const columns = sql.literal(
          `id, name, chain, network, public_key, status, created_at, updated_at${ownerAddressStored ? ", owner_address" : ""}`,
        )

        const decode = (rows: ReadonlyArray<unknown>) =>
          Effect.mapError(decodeRows(rows), (error) => {
            const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
            const column = issue?.path.at(1) ?? "a row"
            return new DatabaseFailed({
              operation: "read the agents",
              path: file,
              reason: `${String(column)} is not what it should be`,
            })
          })

        const find = Effect.fn("Agents.find")(function* (wanted: string) {
          const byId = isAgentId(wanted)
          const rows = yield* (
            byId
              ? sql`SELECT ${columns} FROM agents WHERE id = ${wanted.toLowerCase()}`
              : sql`SELECT ${columns} FROM agents WHERE name = ${wanted} ORDER BY created_at, id`
          ).pipe(databaseFailed("read an agent", file))
          const [row, ...others] = yield* decode(rows)
          if (row === undefined) return yield* new AgentNotFound({ wanted })
          if (others.length > 0)
            return yield* new AgentAmbiguous({ name: wanted, ids: [row, ...others].map(({ id }) => id) })
          return row
        })

        /** Signing is the proof that a key opens. */
        const signWith = (row: Row, message: string) =>
          keystore.sign(row.id, row.public_key, Buffer.from(message, "utf8")).pipe(
            Effect.mapError(
              (error) =>
                new AgentKeyUnavailable({
                  id: row.id,
                  name: row.name,
                  problem:
                    error._tag === "KeystoreDamaged"
                      ? `its sealed key ${error.path} ${error.problem}`
                      : error.message.replace(/\.$/, ""),
                  remedy: error.next,
                }),
            ),
          )

        const withKey = (row: Row) =>
          Effect.gen(function* () {
            const isThere = yield* Effect.orElseSucceed(keystore.has(row.id), () => false)
            if (!isThere) return toAgent(row, "missing")
            const opened = yield* Effect.either(signWith(row, "does it open"))
            return toAgent(row, Either.isRight(opened) ? "present" : "damaged")
          })

        const setStatus = (status: Agent["status"]) => (wanted: string) =>
          Effect.gen(function* () {
            const { id } = yield* find(wanted)
            const at = yield* now
            yield* sql`UPDATE agents SET status = ${status}, updated_at = ${at} WHERE id = ${id} AND status <> ${status}`.pipe(
              databaseFailed(`make an agent ${status}`, file),
            )
            return yield* Effect.flatMap(find(id), withKey)
          }).pipe(Effect.uninterruptible)

        return {
          create: Effect.fn("Agents.create")(
            function* (wanted: typeof CreateAgent.Type) {
              if (wanted.ownerAddress !== undefined && !ownerAddressStored)
                return yield* new NoOwnerAddress({ schema })
              const taken = yield* sql`SELECT 1 FROM agents WHERE name = ${wanted.name} LIMIT 1`.pipe(
                databaseFailed("read the agents", file),
              )
              if (taken.length > 0) return yield* new AgentNameTaken({ name: wanted.name })
              const id = randomUUID()
              const publicKey = yield* keystore.createKey(id)
              const at = yield* now
              const row = {
                id,
                name: wanted.name,
                chain: wanted.chain,
                network: wanted.network,
                public_key: publicKey,
                status: "active",
                created_at: at,
                updated_at: at,
                ...(ownerAddressStored && { owner_address: wanted.ownerAddress ?? null }),
              }
              yield* sql`INSERT INTO agents ${sql.insert(row)}`.pipe(
                databaseFailed("store an agent", file),
                // A key is never deleted by itself: one that nobody knows does no harm.
                Effect.tapError(() =>
                  Effect.logWarning(`The sealed key ${id} belongs to no agent: its row was not stored.`),
                ),
              )
              return yield* decode([row]).pipe(
                Effect.flatMap(([stored]) => Effect.fromNullable(stored)),
                Effect.map((stored) => toAgent(stored, "present")),
                Effect.catchTag("NoSuchElementException", Effect.die),
              )
            },
            // Between the question for the name and its row no other agent takes it.
            oneAtATime,
            // A client that hangs up half-way gets no half of an agent.
            Effect.uninterruptible,
          ),
          // The rows first: a key is there before its row, so each of them is found in the listing.
          list: Effect.gen(function* () {
            const rows = yield* sql`SELECT ${columns} FROM agents ORDER BY created_at, id`.pipe(
              databaseFailed("read the agents", file),
              Effect.flatMap(decode),
            )
            const onFile = yield* keystore.onFile
            return rows.map((row) => {
              const publicKey = onFile.get(row.id)
              const found = publicKey === row.public_key ? "present" : "damaged"
              return toAgent(row, publicKey === undefined ? "missing" : found)
            })
          }).pipe(Effect.withSpan("Agents.list")),
          show: Effect.fn("Agents.show")((wanted: string) => Effect.flatMap(find(wanted), withKey)),
          suspend: Effect.fn("Agents.suspend")(setStatus("suspended")),
          resume: Effect.fn("Agents.resume")(setStatus("active")),
          sign: Effect.fn("Agents.sign")(function* (wanted: string, message: string) {
            const row = yield* find(wanted)
            if (row.status === "suspended") return yield* new AgentSuspended({ id: row.id, name: row.name })
            const signature = yield* signWith(row, message)
            return { signature: Buffer.from(signature).toString("hex"), publicKey: row.public_key }
          }),
        }
      }),
    )

  static readonly layer = this.layerSchema(LATEST_SCHEMA)
}
