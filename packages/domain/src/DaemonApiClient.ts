/** The client of the daemon's API, derived from its definition: for the command and for the desktop's page. */
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as Effect from "effect/Effect"
import { DaemonApi } from "./DaemonApi.ts"

/** `base`: the daemon's address, such as `http://127.0.0.1:3100`; `token`: of the data directory's `api.token`. */
export const makeDaemonApiClient = (base: string, token: string) =>
  HttpApiClient.make(DaemonApi, {
    baseUrl: base,
    transformClient: HttpClient.mapRequest(HttpClientRequest.bearerToken(token)),
  })

export type DaemonApiClient = Effect.Effect.Success<ReturnType<typeof makeDaemonApiClient>>
