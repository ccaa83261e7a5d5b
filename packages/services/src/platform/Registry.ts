import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { DistTags, ReleaseDocument } from "@waiaas/domain/Release"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

/** The whole question, connection and body included. */
const LIMIT = "5 seconds"
/** Bytes; the documents that are asked for have a few hundred. */
const BODY_LIMIT = 256 * 1024

export class RegistryFailed extends Schema.TaggedError<RegistryFailed>()("RegistryFailed", {
  registry: Schema.String,
  problem: Schema.String,
}) {
  override get message() {
    return `The registry ${this.registry} could not be asked for the newest version: ${this.problem}.`
  }
}

export type TagsAnswer =
  | { readonly _tag: "Unchanged" }
  | {
      readonly _tag: "Tags"
      readonly tags: Readonly<Record<string, string>>
      readonly etag: Option.Option<string>
    }

/** The npm registry over plain HTTP: the small documents only, never the whole packument. */
export class Registry extends Context.Tag("@waiaas/services/Registry")<
  Registry,
  {
    /** Dist-tags of a package; `etag` is the one of the answer that is already known. */
    readonly distTags: (
      registry: string,
      name: string,
      etag: Option.Option<string>,
    ) => Effect.Effect<TagsAnswer, RegistryFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient

      const ask = (registry: string, path: string, etag: Option.Option<string>) => {
        const url = `${registry.replace(/\/+$/, "")}/${path}`
        const failed = (problem: string) => new RegistryFailed({ registry, problem })
        const request = HttpClientRequest.get(url).pipe(
          HttpClientRequest.acceptJson,
          Option.match(etag, {
            onNone: () => (same: HttpClientRequest.HttpClientRequest) => same,
            onSome: (value) => HttpClientRequest.setHeader("if-none-match", value),
          }),
        )
        return client.execute(request).pipe(
          Effect.flatMap((response) =>
            Effect.map(readBody(response, failed), (body) => ({ response, body })),
          ),
          Effect.timeout(LIMIT),
          Effect.catchTags({
            TimeoutException: () => failed("no answer within 5 s"),
            RequestError: (error) => failed(causeOf(error)),
            ResponseError: (error) => failed(causeOf(error)),
          }),
        )
      }

      return {
        distTags: Effect.fn("Registry.distTags")(function* (
          registry: string,
          name: string,
          etag: Option.Option<string>,
        ) {
          const failed = (problem: string) => new RegistryFailed({ registry, problem })
          const escaped = name.replace("/", "%2f")
          const first = yield* ask(registry, `-/package/${escaped}/dist-tags`, etag)
          if (first.response.status === 304) return { _tag: "Unchanged" } as const
          // Not every registry has that document; the manifest of the tag is small too.
          const { response, body } =
            first.response.status === 404 ? yield* ask(registry, `${escaped}/latest`, etag) : first
          if (response.status === 304) return { _tag: "Unchanged" } as const
          if (response.status !== 200) return yield* failed(`it answered ${response.status}`)
          const tags = Schema.decodeUnknownOption(Schema.parseJson(DistTags))(body)
          const manifest = Schema.decodeUnknownOption(Schema.parseJson(ReleaseDocument))(body)
          const found = Option.orElse(tags, () =>
            Option.map(manifest, ({ version }) => ({ latest: version })),
          )
          if (Option.isNone(found)) return yield* failed("its answer names no version")
          return {
            _tag: "Tags",
            tags: found.value as Readonly<Record<string, string>>,
            etag: Option.fromNullable(response.headers.etag),
          } as const
        }),
      }
    }),
  )
}

const readBody = (
  response: HttpClientResponse.HttpClientResponse,
  failed: (problem: string) => RegistryFailed,
) =>
  Effect.gen(function* () {
    if (response.status !== 200) return ""
    let size = 0
    const chunks: Array<Uint8Array> = []
    yield* Stream.runForEach(response.stream, (chunk) =>
      Effect.suspend(() => {
        size += chunk.length
        if (size > BODY_LIMIT) return failed(`its answer is larger than ${BODY_LIMIT} bytes`)
        chunks.push(chunk)
        return Effect.void
      }),
    )
    return Buffer.concat(chunks).toString("utf8")
  })

const causeOf = (error: { readonly message: string; readonly cause?: unknown }): string => {
  const inner = error.cause instanceof Error ? (error.cause.cause ?? error.cause) : undefined
  return inner instanceof Error ? inner.message : error.message
}
