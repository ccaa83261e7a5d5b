import type * as HttpClient from "@effect/platform/HttpClient"
import { type DaemonApiClient, makeDaemonApiClient } from "@waiaas/domain/DaemonApiClient"
import { explainFailure } from "@waiaas/domain/DaemonApiFailure"
import type { DaemonUnreachable, RequestRefused } from "@waiaas/domain/RunErrors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

export interface DaemonAddress {
  /** Such as `http://127.0.0.1:3100`, without a slash at its end. */
  readonly baseUrl: string
  /** The 64 hexadecimal digits of the data directory's `api.token`: a page cannot read that file, its shell can. */
  readonly token: string
}

/** The daemon's API for a page in a window, which is given address and token instead of finding them. */
export class DaemonClient extends Context.Tag("@waiaas/desktop/DaemonClient")<
  DaemonClient,
  {
    /** One call, at most 30 s: `call((api) => api.agents.list())`. */
    readonly call: <A, E>(
      use: (api: DaemonApiClient) => Effect.Effect<A, E>,
    ) => Effect.Effect<A, DaemonUnreachable | RequestRefused>
  }
>() {
  static readonly layer = ({
    baseUrl,
    token,
  }: DaemonAddress): Layer.Layer<DaemonClient, never, HttpClient.HttpClient> =>
    Layer.effect(
      this,
      Effect.map(makeDaemonApiClient(baseUrl, token), (api) => ({
        call: (use) =>
          use(api).pipe(
            Effect.timeout("30 seconds"),
            Effect.mapError((error) => explainFailure(baseUrl, error)),
          ),
      })),
    )
}
