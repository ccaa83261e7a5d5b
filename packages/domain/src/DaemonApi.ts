/** The daemon's HTTP API: the one definition behind server, client, OpenAPI and the docs page. */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as OpenApi from "@effect/platform/OpenApi"
import * as Schema from "effect/Schema"
import { BackupKind } from "./BackupManifest.ts"
import { DaemonFacts } from "./DaemonFacts.ts"
import { Health, HealthError } from "./Health.ts"
import { Version } from "./Version.ts"

export const AgentId = Schema.UUID
export const Agent = Schema.Struct({
  id: AgentId,
  name: Schema.String,
  chain: Schema.String,
  network: Schema.String,
  /** Ed25519, 32 bytes, hexadecimal. */
  publicKey: Schema.String,
  status: Schema.Literal("active", "suspended"),
  ownerAddress: Schema.NullOr(Schema.String),
  /** Unix seconds. */
  createdAt: Schema.Int,
  updatedAt: Schema.Int,
})
export type Agent = typeof Agent.Type

const label = Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$/))
export const CreateAgent = Schema.Struct({
  name: label,
  chain: Schema.optionalWith(label, { default: () => "solana" }),
  network: Schema.optionalWith(label, { default: () => "mainnet" }),
  ownerAddress: Schema.optional(Schema.String.pipe(Schema.maxLength(128))),
})

export const SignRequest = Schema.Struct({
  /** The message as text; it is signed as UTF-8. */
  message: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(65536)),
})
export const Signature = Schema.Struct({
  /** Ed25519, 64 bytes, hexadecimal. */
  signature: Schema.String,
  publicKey: Schema.String,
})

/** What of a backup cannot be told is `null`: its manifest is missing or not readable. */
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

export const VersionStatus = Schema.Struct({
  version: Schema.String,
  latestVersion: Schema.NullOr(Schema.String),
  updateAvailable: Schema.Boolean,
  /** Unix seconds of the last check that succeeded. */
  checkedAt: Schema.NullOr(Schema.Int),
})

const failure = <T extends string>(tag: T, status: number) =>
  Schema.TaggedStruct(tag, { message: Schema.String }).annotations(HttpApiSchema.annotations({ status }))
export const BadRequest = failure("BadRequest", 400)
export const Unauthorized = failure("Unauthorized", 401)
export const NotFound = failure("NotFound", 404)
export const Suspended = failure("Suspended", 409)
/** The request clashes with what this release stores. */
export const Conflict = failure("Conflict", 409)
/** Held before an upgrade's commit, stopping, out of time, or the registry does not answer. */
export const Unavailable = failure("Unavailable", 503)
export const Internal = failure("Internal", 500)

/** Bearer token from the data directory's 0600 file. */
export class Authorization extends HttpApiMiddleware.Tag<Authorization>()("@waiaas/domain/Authorization", {
  failure: Unauthorized,
  security: { bearer: HttpApiSecurity.bearer },
}) {}

const byId = HttpApiSchema.param("id", AgentId)

const health = HttpApiGroup.make("health", { topLevel: true }).add(
  HttpApiEndpoint.get("health", "/health").addSuccess(Health).addError(HealthError, { status: 503 }),
)

const agents = HttpApiGroup.make("agents")
  .add(
    HttpApiEndpoint.post("create", "/v1/agents")
      .setPayload(CreateAgent)
      .addSuccess(Agent, { status: 201 })
      .addError(Conflict),
  )
  .add(HttpApiEndpoint.get("list", "/v1/agents").addSuccess(Schema.Array(Agent)))
  .add(HttpApiEndpoint.get("show")`/v1/agents/${byId}`.addSuccess(Agent).addError(NotFound))
  .add(HttpApiEndpoint.post("suspend")`/v1/agents/${byId}/suspend`.addSuccess(Agent).addError(NotFound))
  .add(
    HttpApiEndpoint.post("sign")`/v1/agents/${byId}/sign`
      .setPayload(SignRequest)
      .addSuccess(Signature)
      .addError(NotFound)
      .addError(Suspended),
  )
  .addError(Internal)
  .middleware(Authorization)

const backups = HttpApiGroup.make("backups")
  .add(HttpApiEndpoint.get("list", "/v1/backups").addSuccess(Schema.Array(BackupSummary)))
  .addError(Internal)
  .middleware(Authorization)

const version = HttpApiGroup.make("version")
  .add(HttpApiEndpoint.get("show", "/v1/version").addSuccess(VersionStatus))
  .add(HttpApiEndpoint.post("check", "/v1/version/check").addSuccess(VersionStatus).addError(Unavailable))
  .add(
    HttpApiEndpoint.post("notified", "/v1/version/notified")
      .setPayload(Schema.Struct({ version: Version }))
      .addSuccess(Schema.Void),
  )
  .addError(Internal)
  .middleware(Authorization)

const daemon = HttpApiGroup.make("daemon")
  .add(HttpApiEndpoint.get("show", "/v1/daemon").addSuccess(DaemonFacts))
  .add(HttpApiEndpoint.post("shutdown", "/v1/daemon/shutdown").addSuccess(Schema.Void, { status: 202 }))
  .middleware(Authorization)

export class DaemonApi extends HttpApi.make("waiaas")
  .add(health)
  .add(agents)
  .add(backups)
  .add(version)
  .add(daemon)
  .addError(Unavailable)
  .annotate(OpenApi.Title, "WAIaaS")
  .annotate(OpenApi.Description, "Self-hosted wallet service for AI agents") {}
