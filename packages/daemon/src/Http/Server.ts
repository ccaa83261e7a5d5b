import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpServer from "@effect/platform/HttpServer"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import { ApiToken } from "../ApiToken.ts"
import { Facts } from "../Facts.ts"
import { HealthReport } from "../HealthReport.ts"
import { HeldGate } from "../HeldGate.ts"
import { ProcessLifetime } from "../ProcessLifetime.ts"
import { layerDecodeErrors, makeApp } from "./App.ts"
import { layerDocs } from "./Docs.ts"
import { makeFront } from "./Front.ts"
import { layerApi } from "./Handlers.ts"
import { makeHostCheck } from "./HostCheck.ts"
import { defaultLimits, type Limits } from "./Limits.ts"
import { listen, makeServer, trackConnections } from "./NodeServer.ts"

export interface ServerOptions {
  readonly hostname: string
  /** 0 takes a free one: for tests. */
  readonly port: number
  /** How long requests in flight may take once a stop has begun. */
  readonly drain: Duration.DurationInput
  readonly limits?: Limits
}

/** For what cannot be interrupted, such as a row that is being stored, after its connection was cut. */
const LAST_GRACE = Duration.seconds(5)

const serve = (options: ServerOptions) =>
  Effect.gen(function* () {
    const limits = options.limits ?? defaultLimits
    const gate = yield* HeldGate
    const token = yield* ApiToken
    const { instance } = yield* Facts
    const report = yield* HealthReport
    const runFork = Runtime.runFork(yield* Effect.runtime<never>())

    // A fiber can outlive its connection; what it works with must outlive it in turn.
    let running = 0
    const idle = yield* Effect.makeLatch(true)
    const counted = <A, E, R>(work: Effect.Effect<A, E, R>) =>
      Effect.acquireUseRelease(
        Effect.suspend(() => (running++ === 0 ? idle.close : Effect.void)),
        () => work,
        () => Effect.suspend(() => (--running === 0 ? idle.open : Effect.void)),
      )
    const api = yield* NodeHttpServer.makeHandler(counted(yield* makeApp(limits)))

    const lifetime = yield* ProcessLifetime
    const server = makeServer(limits)
    const { track, isStopping, drain, close } = trackConnections(server)
    const listening = Scope.extend(
      Effect.acquireRelease(listen(server, options), () => close),
      lifetime.scope,
    )
    const port = yield* Effect.acquireRelease(
      Effect.tap(listening, (port) =>
        Effect.sync(() => {
          const hostAllowed = makeHostCheck({ hostname: options.hostname, port })
          const healthAnswer = counted(report.answer)
          server.on(
            "request",
            makeFront({
              hostAllowed,
              isStopping,
              gate,
              token,
              instance,
              report: { ...report, answer: healthAnswer },
              track,
              api,
              runFork,
            }),
          )
        }),
      ),
      () =>
        Effect.gen(function* () {
          const cut = yield* drain(options.drain)
          if (cut > 0) yield* Effect.logWarning(`${cut} requests were cut off: they did not finish in time.`)
          const ended = yield* idle.await.pipe(Effect.interruptible, Effect.timeoutOption(LAST_GRACE))
          if (Option.isNone(ended)) yield* Effect.logError(`${running} requests did not end.`)
        }),
    )
    return { hostname: options.hostname, port }
  })

/** The address that the API is served on. */
export class HttpAddress extends Context.Tag("@waiaas/daemon/HttpAddress")<
  HttpAddress,
  { readonly hostname: string; readonly port: number }
>() {
  /**
   * Serves the API until the scope closes: then connections without a request of ours are closed, new
   * requests are answered with 503, and those in flight finish (within `drain`). The layers below, the
   * database among them, stay until then; the port stays until the process ends.
   */
  static readonly layer = (options: ServerOptions) =>
    Layer.scoped(this, serve(options)).pipe(
      Layer.provide([layerApi, layerDocs, layerDecodeErrors]),
      Layer.provide([HttpApiBuilder.Router.Live, HttpApiBuilder.Middleware.layer, HttpServer.layerContext]),
    )
}
