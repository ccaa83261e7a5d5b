/** The API's endpoints, group by group: each one calls a service and names its failures. */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Authorization, DaemonApi } from "@waiaas/domain/DaemonApi"
import {
  Ambiguous,
  Conflict,
  Internal,
  KeyUnavailable,
  NameTaken,
  NotFound,
  StorageFull,
  Suspended,
  Unauthorized,
  Unavailable,
} from "@waiaas/domain/DaemonApiProblem"
import {
  type DatabaseFailed,
  type FileFailed,
  isDiskFull,
  type KeystoreDamaged,
} from "@waiaas/domain/DataErrors"
import { Backup } from "@waiaas/services/Backup"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Agents } from "../Agents.ts"
import { ApiToken } from "../ApiToken.ts"
import { Facts } from "../Facts.ts"
import { HealthReport } from "../HealthReport.ts"
import { Shutdown } from "../Shutdown.ts"
import { UpdateCheck } from "../UpdateCheck.ts"
import { VersionInfo } from "../VersionInfo.ts"
import { problems } from "./Answers.ts"

interface Said {
  readonly message: string
  readonly next: string
}
const said = ({ message, next }: Said): Said => ({ message, next })

/** The daemon's own trouble: the log gets all of it, the client that it happened. A full disk is for the operator to know. */
const internal = (
  error: DatabaseFailed | FileFailed | KeystoreDamaged,
): Effect.Effect<never, typeof Internal.Type | typeof StorageFull.Type> =>
  Effect.zipRight(
    Effect.logError(error.message),
    Effect.fail(
      isDiskFull(error)
        ? StorageFull.make(said(problems.storageFull))
        : Internal.make(said(problems.internal)),
    ),
  )

const inner = { DatabaseFailed: internal, FileFailed: internal, KeystoreDamaged: internal } as const

const refused =
  <P>(make: (props: Said) => P) =>
  (error: Said): Effect.Effect<never, P> =>
    Effect.fail(make(said(error)))

/** Whom a request names, and does not. */
const named = {
  AgentNotFound: refused((props) => NotFound.make(props)),
  AgentAmbiguous: refused((props) => Ambiguous.make(props)),
} as const

const health = HttpApiBuilder.group(DaemonApi, "health", (handlers) =>
  Effect.map(HealthReport, (report) =>
    // `Front` answers it before the router is reached; this one serves a router without that front.
    handlers.handleRaw("health", () =>
      Effect.map(report.answer, ({ status, body }) =>
        HttpServerResponse.text(body, { status, contentType: "application/json" }),
      ),
    ),
  ),
)

const agents = HttpApiBuilder.group(DaemonApi, "agents", (handlers) =>
  Effect.map(Agents, (service) =>
    handlers
      .handle("create", ({ payload }) =>
        service.create(payload).pipe(
          Effect.catchTags({
            ...inner,
            NoOwnerAddress: refused((props) => Conflict.make(props)),
            AgentNameTaken: refused((props) => NameTaken.make(props)),
          }),
        ),
      )
      .handle("list", () =>
        Effect.catchTags(service.list, { DatabaseFailed: internal, FileFailed: internal }),
      )
      .handle("show", ({ path }) =>
        service.show(path.agent).pipe(Effect.catchTags({ DatabaseFailed: internal, ...named })),
      )
      .handle("suspend", ({ path }) =>
        service.suspend(path.agent).pipe(Effect.catchTags({ DatabaseFailed: internal, ...named })),
      )
      .handle("resume", ({ path }) =>
        service.resume(path.agent).pipe(Effect.catchTags({ DatabaseFailed: internal, ...named })),
      )
      .handle("sign", ({ path, payload }) =>
        service.sign(path.agent, payload.message).pipe(
          Effect.catchTags({
            DatabaseFailed: internal,
            ...named,
            AgentSuspended: refused((props) => Suspended.make(props)),
            AgentKeyUnavailable: (error) =>
              Effect.zipRight(
                Effect.logError(error.message),
                refused((props) => KeyUnavailable.make(props))(error),
              ),
          }),
        ),
      ),
  ),
)

const backups = HttpApiBuilder.group(DaemonApi, "backups", (handlers) =>
  Effect.map(Backup, (service) =>
    handlers.handle("list", () =>
      service.list.pipe(
        Effect.map((entries) =>
          entries.map(({ name, manifest, problem }) => ({
            name,
            kind: manifest?.kind ?? null,
            sequence: manifest?.sequence ?? null,
            from: manifest?.from ?? null,
            to: manifest?.to ?? null,
            schema: manifest?.schema ?? null,
            createdAt: manifest?.createdAt ?? null,
            bytes: manifest?.files.reduce((sum, file) => sum + file.size, 0) ?? null,
            problem,
          })),
        ),
        Effect.catchTag("FileFailed", internal),
      ),
    ),
  ),
)

const version = HttpApiBuilder.group(DaemonApi, "version", (handlers) =>
  Effect.gen(function* () {
    const info = yield* VersionInfo
    const update = yield* UpdateCheck
    const status = Effect.catchTag(info.status, "DatabaseFailed", internal)
    return handlers
      .handle("show", () => status)
      .handle("check", () =>
        update.check.pipe(
          Effect.catchTag("UpdateCheckFailed", (error) =>
            Effect.fail(
              Unavailable.make({
                message: error.message,
                next: "Set [daemon] update_registry in config.toml if it is the wrong one.",
              }),
            ),
          ),
          Effect.zipRight(status),
        ),
      )
      .handle("notified", ({ payload }) =>
        Effect.catchTag(info.notified(payload.version), "DatabaseFailed", internal),
      )
  }),
)

const daemon = HttpApiBuilder.group(DaemonApi, "daemon", (handlers) =>
  Effect.gen(function* () {
    const facts = yield* Facts
    const shutdown = yield* Shutdown
    return handlers
      .handle("show", () => Effect.succeed(facts))
      .handle("shutdown", () => shutdown.request("asked through the API"))
  }),
)

const authorization = Layer.effect(
  Authorization,
  Effect.map(ApiToken, (token) => ({
    // The header as a whole: what the decoder hands over has lost its scheme.
    bearer: () =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
        token.matches(request.headers.authorization)
          ? Effect.void
          : Effect.fail(Unauthorized.make(said(problems.unauthorized))),
      ),
  })),
)

/** The whole API, over the services that it calls. */
export const layerApi = HttpApiBuilder.api(DaemonApi).pipe(
  Layer.provide([health, agents, backups, version, daemon]),
  Layer.provide(authorization),
)
