/** The daemon's HTTP API: the one definition behind server, client, OpenAPI and the docs page. */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as OpenApi from "@effect/platform/OpenApi"
import * as Schema from "effect/Schema"
import { AGENT_NAME, agentNameWords, chains, networks } from "./AgentFields.ts"
import { BackupKind } from "./BackupManifest.ts"
import {
  Ambiguous,
  BadRequest,
  Conflict,
  ExpectationFailed,
  HeadersTooLarge,
  Internal,
  KeyUnavailable,
  MethodNotAllowed,
  Misdirected,
  NameTaken,
  NotFound,
  StorageFull,
  Suspended,
  Timeout,
  TooLarge,
  Unauthorized,
  Unavailable,
  UnsupportedMediaType,
} from "./DaemonApiProblem.ts"
import { DaemonFacts } from "./DaemonFacts.ts"
import { Health, HealthError } from "./Health.ts"
import { Version } from "./Version.ts"

export const AgentId = Schema.UUID

/** The agents are Ed25519 keys, so these are chains whose accounts are; each has every one of the networks. */
const oneOf = (values: ReadonlyArray<string>) => ({
  message: () => ({ message: `Expected one of ${values.join(", ")}`, override: true }),
})
export const Chain = Schema.Literal(...chains).annotations({
  ...oneOf(chains),
  description: "The blockchain that the agent's key is an account of",
})
export const Network = Schema.Literal(...networks).annotations({
  ...oneOf(networks),
  description: "The chain's network",
})

export const Agent = Schema.Struct({
  id: AgentId,
  name: Schema.String,
  /** One of `Chain`, or what an earlier release stored. */
  chain: Schema.String,
  /** One of `Network`, or what an earlier release stored. */
  network: Schema.String,
  /** Ed25519, 32 bytes, hexadecimal. */
  publicKey: Schema.String,
  status: Schema.Literal("active", "suspended"),
  /** Whether the sealed key is there to sign with; `damaged` is one that does not open, or, in a list, one of another public key. */
  signingKey: Schema.Literal("present", "missing", "damaged"),
  ownerAddress: Schema.NullOr(Schema.String),
  /** Unix seconds. */
  createdAt: Schema.Int,
  updatedAt: Schema.Int,
})
export type Agent = typeof Agent.Type

const AGENT_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
export const isAgentId = (text: string): boolean => AGENT_ID.test(text)

/** Text that UTF-8 can carry: with half of a surrogate pair it would be signed, and stored, as something else. */
const wellFormed = <S extends Schema.Schema<string, string>>(schema: S) =>
  schema.pipe(
    Schema.filter(
      (text) => !/\p{Surrogate}/u.test(text) || "Expected well-formed Unicode, not half of a surrogate pair",
    ),
  )
/** A text of at most `limit` characters, said in words: what was sent may be long, or nobody else's business. */
const textUpTo = (limit: number) => {
  const message = () => `Expected 1 to ${limit} characters`
  return wellFormed(
    Schema.String.pipe(Schema.minLength(1, { message }), Schema.maxLength(limit, { message })),
  )
}
/** Nothing of a request is dropped: a field that the operation does not have is refused. */
const exact = { parseOptions: { onExcessProperty: "error" } } as const

export const AgentName = Schema.String.pipe(
  Schema.pattern(AGENT_NAME, { message: () => `Expected ${agentNameWords}` }),
).annotations({
  description: "What the agent is called; no other agent has that name",
  examples: ["treasury"],
})

export const CreateAgent = Schema.Struct({
  name: AgentName,
  chain: Schema.optionalWith(Chain, { default: () => "solana" }),
  network: Schema.optionalWith(Network, { default: () => "mainnet" }),
  ownerAddress: Schema.optional(
    textUpTo(128).annotations({
      description: "Whom the agent belongs to, as the owner writes it: stored, and not interpreted",
    }),
  ),
}).annotations(exact)

export const SignRequest = Schema.Struct({
  /** The message as text; it is signed as UTF-8. */
  message: textUpTo(65_536),
}).annotations(exact)
export const Signature = Schema.Struct({
  /** Ed25519, 64 bytes, hexadecimal. */
  signature: Schema.String,
  publicKey: Schema.String,
})

/** A backup in a list. What is not known of it is `null`: its manifest is missing or not readable. */
export const BackupSummary = Schema.Struct({
  name: Schema.String,
  kind: Schema.NullOr(BackupKind),
  sequence: Schema.NullOr(Schema.Int),
  from: Schema.NullOr(Schema.String),
  to: Schema.NullOr(Schema.String),
  schema: Schema.NullOr(Schema.Int),
  /** Unix seconds. */
  createdAt: Schema.NullOr(Schema.Int),
  bytes: Schema.NullOr(Schema.Int),
  /** Why it cannot be restored; `null` where nothing speaks against it. */
  problem: Schema.NullOr(Schema.String),
})

const number = "(?:0|[1-9][0-9]{0,8})"
const identifier = `(?:${number}|[0-9]{0,8}[A-Za-z-][0-9A-Za-z-]{0,32})`
/** `Version`, as a schema of the documents can say it. */
const AnnouncedVersion = Version.pipe(
  Schema.pattern(
    new RegExp(`^${number}\\.${number}\\.${number}(?:-${identifier}(?:\\.${identifier}){0,4})?$`),
    { message: () => "Expected an exact semantic version" },
  ),
)

export const VersionStatus = Schema.Struct({
  version: Schema.String,
  latestVersion: Schema.NullOr(Schema.String),
  updateAvailable: Schema.Boolean,
  /** Whether the daemon looks for new versions (`update_check`). */
  checking: Schema.Boolean,
  /** The registry that is asked; `null`: it is not known. */
  registry: Schema.NullOr(Schema.String),
  /** Unix seconds of the last check that succeeded. */
  checkedAt: Schema.NullOr(Schema.Int),
  /** The last check, where it failed. */
  failure: Schema.NullOr(
    Schema.Struct({
      /** Unix seconds. */
      at: Schema.Int,
      /** Unix seconds of the first check that failed after one that succeeded. */
      since: Schema.Int,
      problem: Schema.String,
    }),
  ),
})

/** Bearer token from the data directory's 0600 file. */
export class Authorization extends HttpApiMiddleware.Tag<Authorization>()("@waiaas/domain/Authorization", {
  failure: Unauthorized,
  security: { bearer: HttpApiSecurity.bearer },
}) {}

const agent = HttpApiSchema.param(
  "agent",
  Schema.String.pipe(
    Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$/, {
      message: () => "Expected the id or the name of an agent",
    }),
  ).annotations({ description: "The agent's id, or its name where no other agent has it" }),
)

const health = HttpApiGroup.make("health", { topLevel: true }).add(
  HttpApiEndpoint.get("health", "/health")
    .addSuccess(Health)
    .addError(HealthError, { status: 503 })
    .annotate(OpenApi.Summary, "Ask whether the daemon serves; the one operation that needs no token"),
)

const agents = HttpApiGroup.make("agents")
  .add(
    HttpApiEndpoint.post("create", "/v1/agents")
      .setPayload(CreateAgent)
      .addSuccess(Agent, { status: 201 })
      .addError(Conflict)
      .addError(NameTaken)
      .annotate(OpenApi.Summary, "Create an agent with a key pair of its own"),
  )
  .add(
    HttpApiEndpoint.get("list", "/v1/agents")
      .addSuccess(Schema.Array(Agent))
      .annotate(OpenApi.Summary, "List the agents, oldest first"),
  )
  .add(
    HttpApiEndpoint.get("show")`/v1/agents/${agent}`
      .addSuccess(Agent)
      .addError(NotFound)
      .addError(Ambiguous)
      .annotate(OpenApi.Summary, "Show an agent"),
  )
  .add(
    HttpApiEndpoint.post("suspend")`/v1/agents/${agent}/suspend`
      .addSuccess(Agent)
      .addError(NotFound)
      .addError(Ambiguous)
      .annotate(OpenApi.Summary, "Suspend an agent's signing until it is resumed"),
  )
  .add(
    HttpApiEndpoint.post("resume")`/v1/agents/${agent}/resume`
      .addSuccess(Agent)
      .addError(NotFound)
      .addError(Ambiguous)
      .annotate(OpenApi.Summary, "Let a suspended agent sign again"),
  )
  .add(
    HttpApiEndpoint.post("sign")`/v1/agents/${agent}/sign`
      .setPayload(SignRequest)
      .addSuccess(Signature)
      .addError(NotFound)
      .addError(Ambiguous)
      .addError(Suspended)
      .addError(KeyUnavailable)
      .annotate(OpenApi.Summary, "Sign a message with an agent's key"),
  )
  .middleware(Authorization)

const backups = HttpApiGroup.make("backups")
  .add(
    HttpApiEndpoint.get("list", "/v1/backups")
      .addSuccess(Schema.Array(BackupSummary))
      .annotate(OpenApi.Summary, "List the backups, oldest first"),
  )
  .middleware(Authorization)

const version = HttpApiGroup.make("version")
  .add(
    HttpApiEndpoint.get("show", "/v1/version")
      .addSuccess(VersionStatus)
      .annotate(OpenApi.Summary, "Show this version and the newest known one"),
  )
  .add(
    HttpApiEndpoint.post("check", "/v1/version/check")
      .addSuccess(VersionStatus)
      .annotate(OpenApi.Summary, "Ask the registry for the newest version now"),
  )
  .add(
    HttpApiEndpoint.post("notified", "/v1/version/notified")
      .setPayload(Schema.Struct({ version: AnnouncedVersion }).annotations(exact))
      .addSuccess(Schema.Void)
      .annotate(OpenApi.Summary, "Note that the operator knows of a version"),
  )
  .middleware(Authorization)

const daemon = HttpApiGroup.make("daemon")
  .add(
    HttpApiEndpoint.get("show", "/v1/daemon")
      .addSuccess(DaemonFacts)
      .annotate(OpenApi.Summary, "Show the facts of the daemon's process"),
  )
  .add(
    HttpApiEndpoint.post("shutdown", "/v1/daemon/shutdown")
      .addSuccess(Schema.Void, { status: 202 })
      .annotate(OpenApi.Summary, "Stop the daemon once the requests in flight have finished"),
  )
  .middleware(Authorization)

/** The library's own failure of a request that it could not decode is answered as `BadRequest`. */
const withoutDecodeError = (spec: Record<string, unknown>): Record<string, unknown> => {
  const { HttpApiDecodeError, Issue, PropertyKey, ...schemas } = (
    spec as { components: { schemas: Record<string, unknown> } }
  ).components.schemas
  const text = JSON.stringify({ ...spec, components: { ...(spec.components as object), schemas } })
  return JSON.parse(
    text.replaceAll("#/components/schemas/HttpApiDecodeError", "#/components/schemas/BadRequest"),
  )
}

export class DaemonApi extends HttpApi.make("waiaas")
  .add(health)
  .add(agents)
  .add(backups)
  .add(version)
  .add(daemon)
  .addError(BadRequest)
  .addError(MethodNotAllowed)
  .addError(Timeout)
  .addError(TooLarge)
  .addError(UnsupportedMediaType)
  .addError(ExpectationFailed)
  .addError(Misdirected)
  .addError(HeadersTooLarge)
  .addError(Internal)
  .addError(Unavailable)
  .addError(StorageFull)
  .annotate(OpenApi.Title, "WAIaaS")
  .annotate(OpenApi.Description, "Self-hosted wallet service for AI agents")
  .annotate(OpenApi.Transform, withoutDecodeError) {}
