import { randomUUID } from "node:crypto"
import { SqlClient } from "@effect/sql/SqlClient"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { Agent, AgentId, type CreateAgent } from "@waiaas/domain/DaemonApi"
import { DatabaseFailed, type FileFailed, type KeystoreDamaged } from "@waiaas/domain/DataErrors"
import { databaseFailed } from "@waiaas/services/Database"
import { Environment, unixSeconds } from "@waiaas/services/platform/Environment"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { Keystore } from "./Keystore.ts"

export class AgentNotFound extends Schema.TaggedError<AgentNotFound>()("AgentNotFound", {
  id: Schema.String,
}) {
  override get message() {
    return `There is no agent ${this.id}.`
  }
}

export class AgentSuspended extends Schema.TaggedError<AgentSuspended>()("AgentSuspended", {
  id: Schema.String,
}) {
  override get message() {
    return `Agent ${this.id} is suspended: it does not sign.`
  }
}

/** This release stores no owner address: its schema is older than the column. */
export class NoOwnerAddress extends Schema.TaggedError<NoOwnerAddress>()("NoOwnerAddress", {
  schema: Schema.Int,
}) {
  override get message() {
    return `This release (schema ${this.schema}) stores no owner address.`
  }
}

const table = "agents"

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

const toAgent = (row: typeof AgentRow.Type): Agent =>
  Agent.make({
    id: row.id,
    name: row.name,
    chain: row.chain,
    network: row.network,
    publicKey: row.public_key,
    status: row.status,
    ownerAddress: row.owner_address ?? null,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  })

/** The agents and their acts. */
export class Agents extends Context.Tag("@waiaas/daemon/Agents")<
  Agents,
  {
    /** Makes the key, then the row: a row without its key cannot come to be. */
    readonly create: (
      agent: typeof CreateAgent.Type,
    ) => Effect.Effect<Agent, NoOwnerAddress | DatabaseFailed | KeystoreDamaged | FileFailed>
    /** Oldest first. */
    readonly list: Effect.Effect<ReadonlyArray<Agent>, DatabaseFailed>
    readonly show: (id: string) => Effect.Effect<Agent, AgentNotFound | DatabaseFailed>
    /** Idempotent. */
    readonly suspend: (id: string) => Effect.Effect<Agent, AgentNotFound | DatabaseFailed>
    /** Signs the UTF-8 form of a message: Ed25519, hexadecimal. */
    readonly sign: (
      id: string,
      message: string,
    ) => Effect.Effect<
      { readonly signature: string; readonly publicKey: string },
      AgentNotFound | AgentSuspended | DatabaseFailed | KeystoreDamaged | FileFailed
    >
  }
>() {
  static readonly layerSchema = (schema: number) =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const keystore = yield* Keystore
        const environment = yield* Environment
        const now = unixSeconds.pipe(Effect.provideService(Environment, environment))
        const ownerAddressStored = schema >= 3
        // Only what exists at this schema: older releases are built from this source.
        const columns = sql.literal(
          `id, name, chain, network, public_key, status, created_at, updated_at${ownerAddressStored ? ", owner_address" : ""}`,
        )

        const decode = (rows: ReadonlyArray<unknown>) =>
          decodeRows(rows).pipe(
            Effect.map((decoded) => decoded.map(toAgent)),
            Effect.mapError((error) => {
              const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
              const column = issue?.path.at(1) ?? "a row"
              return new DatabaseFailed({
                operation: "read the agents",
                path: table,
                reason: `${String(column)} is not what it should be`,
              })
            }),
          )

        const show = Effect.fn("Agents.show")(function* (id: string) {
          const rows = yield* sql`SELECT ${columns} FROM agents WHERE id = ${id}`.pipe(
            databaseFailed("read an agent", table),
          )
          const [agent] = yield* decode(rows)
          return agent ?? (yield* new AgentNotFound({ id }))
        })

        return {
          create: Effect.fn("Agents.create")(function* (wanted: typeof CreateAgent.Type) {
            if (wanted.ownerAddress !== undefined && !ownerAddressStored)
              return yield* new NoOwnerAddress({ schema })
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
              databaseFailed("store an agent", table),
              // A key is never deleted by itself: one that nobody knows does no harm.
              Effect.tapError(() =>
                Effect.logWarning(`The sealed key ${id} belongs to no agent: its row was not stored.`),
              ),
            )
            return yield* decode([row]).pipe(
              Effect.flatMap(([agent]) => Effect.fromNullable(agent)),
              Effect.catchTag("NoSuchElementException", Effect.die),
            )
            // A client that hangs up half-way gets no half of an agent.
          }, Effect.uninterruptible),
          list: sql`SELECT ${columns} FROM agents ORDER BY created_at, id`.pipe(
            databaseFailed("read the agents", table),
            Effect.flatMap(decode),
            Effect.withSpan("Agents.list"),
          ),
          show,
          suspend: Effect.fn("Agents.suspend")(function* (id: string) {
            const at = yield* now
            yield* sql`UPDATE agents SET status = 'suspended', updated_at = ${at} WHERE id = ${id} AND status <> 'suspended'`.pipe(
              databaseFailed("suspend an agent", table),
            )
            return yield* show(id)
          }, Effect.uninterruptible),
          sign: Effect.fn("Agents.sign")(function* (id: string, message: string) {
            const agent = yield* show(id)
            if (agent.status === "suspended") return yield* new AgentSuspended({ id })
            const signature = yield* keystore.sign(id, agent.publicKey, Buffer.from(message, "utf8"))
            return { signature: Buffer.from(signature).toString("hex"), publicKey: agent.publicKey }
          }),
        }
      }),
    )

  static readonly layer = this.layerSchema(LATEST_SCHEMA)
}
