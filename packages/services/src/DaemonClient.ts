import * as HttpClient from "@effect/platform/HttpClient"
import type { DaemonApiClient } from "@waiaas/domain/DaemonApiClient"
import { explainFailure } from "@waiaas/domain/DaemonApiFailure"
import type { FileFailed, TokenUnusable } from "@waiaas/domain/DataErrors"
import { addressOf } from "@waiaas/domain/Health"
import { DaemonNotRunning, DaemonUnreachable, RequestRefused } from "@waiaas/domain/RunErrors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { DaemonControl } from "./DaemonControl.ts"
import { DataDir } from "./platform/DataDir.ts"
import type { DurableFile } from "./platform/DurableFile.ts"
import { readToken } from "./TokenFile.ts"

/** The daemon does not say where its data is; here it is known. */
const noSpace = (root: string) =>
  new RequestRefused({
    status: 507,
    problem: `No space, or no inode, is left for ${root}, its keystore or its database; nothing was stored.`,
    instead: `Free some space there (\`df -h\` and \`df -i\` show what is left), then run the command again.`,
  })

/** The API of the running daemon, with the token of the data directory. */
export class DaemonClient extends Context.Tag("@waiaas/services/DaemonClient")<
  DaemonClient,
  {
    /** One call; what the daemon refuses becomes an error for the operator. At most 30 s. */
    readonly call: <A, E>(
      use: (client: DaemonApiClient) => Effect.Effect<A, E>,
    ) => Effect.Effect<A, DaemonNotRunning | DaemonUnreachable | RequestRefused | TokenUnusable | FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const { paths } = yield* DataDir
      const context = yield* Effect.context<DataDir | DurableFile>()
      const control = yield* DaemonControl
      const http = yield* HttpClient.HttpClient
      return {
        call: <A, E>(use: (client: DaemonApiClient) => Effect.Effect<A, E>) =>
          Effect.gen(function* () {
            let state = yield* control.state
            // Busy for a second, perhaps: asked once more, it says why it does not answer.
            if (state._tag === "Running" && Option.isNone(state.health)) {
              yield* control.health(state.facts)
              state = yield* control.state
            }
            if (state._tag === "Stopped") return yield* new DaemonNotRunning()
            if (state._tag === "Busy")
              return yield* new DaemonUnreachable({
                address: paths.root,
                problem: `it does not run; the data is in use by ${state.holder}`,
              })
            const base = addressOf(state.facts.hostname, state.facts.port)
            // The token is for nobody else, and nobody else's answer is believed.
            if (Option.isNone(state.health))
              return yield* new DaemonUnreachable({ address: base, problem: "no answer within 1 s" })
            if (state.health.value.status === "stopping")
              return yield* new DaemonUnreachable({ address: base, problem: "it is stopping" })
            const token = yield* Effect.provide(readToken, context)
            // Evaluated on use (it is in the same bundle): most commands never call the API.
            const { makeDaemonApiClient } = yield* Effect.promise(
              () => import("@waiaas/domain/DaemonApiClient"),
            )
            const client = yield* makeDaemonApiClient(base, token).pipe(
              Effect.provideService(HttpClient.HttpClient, http),
            )
            return yield* use(client).pipe(
              Effect.timeout("30 seconds"),
              Effect.mapError((error) => explainFailure(base, error)),
              Effect.mapError((error) =>
                error._tag === "RequestRefused" && error.status === 507 ? noSpace(paths.root) : error,
              ),
            )
          }),
      }
    }),
  )
}
