import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

export interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

/** An answer; without one the connection is refused. */
export interface Answer {
  readonly status: number
  readonly body?: string | ReadableStream<Uint8Array>
  readonly headers?: Readonly<Record<string, string>>
}
export type Respond = (request: Asked) => Effect.Effect<Answer | null>

/** The boundary to HTTP: no socket is opened, every request is kept, and `respond` answers. */
export class TestHttp extends Context.Tag("@waiaas/services/testing/TestHttp")<
  TestHttp,
  {
    readonly requests: Array<Asked>
    /** May be replaced while a test runs. */
    respond: Respond
  }
>() {
  static readonly layer = (respond: Respond): Layer.Layer<TestHttp | HttpClient.HttpClient> =>
    Layer.effectContext(
      Effect.sync(() => {
        const control: TestHttp["Type"] = { requests: [], respond }
        const client = HttpClient.make((request, url) =>
          Effect.gen(function* () {
            const asked = { method: request.method, url: url.href, headers: { ...request.headers } }
            control.requests.push(asked)
            const answer = yield* Effect.suspend(() => control.respond(asked))
            if (answer === null)
              return yield* new HttpClientError.RequestError({ request, reason: "Transport" })
            const { status, body, headers } = answer
            // Such an answer has no body, and the platform's Response insists on it.
            const content = status === 204 || status === 304 ? null : (body ?? "")
            return HttpClientResponse.fromWeb(
              request,
              new Response(content, { status, ...(headers ? { headers: { ...headers } } : {}) }),
            )
          }),
        )
        return Context.make(TestHttp, control).pipe(Context.add(HttpClient.HttpClient, client))
      }),
    )
}

export const json = (value: unknown, headers: Readonly<Record<string, string>> = {}): Answer => ({
  status: 200,
  body: JSON.stringify(value),
  headers: { "content-type": "application/json", ...headers },
})

/** A registry that knows the dist-tags of one package, and nothing else. */
export const respondTags =
  (tags: Readonly<Record<string, string>>): Respond =>
  ({ url }) =>
    Effect.succeed(
      url.endsWith("/-/package/@waiaas%2fcli/dist-tags") ? json(tags) : { status: 404, body: "{}" },
    )
