import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { isTrustFailure } from "@waiaas/domain/NpmFailure"
import { redactText } from "@waiaas/domain/Redact"
import { DistTags, ReleaseDocument } from "@waiaas/domain/Release"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Environment } from "./Environment.ts"

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

export interface Given {
  /** Of the answer that is already known. */
  readonly etag: Option.Option<string>
  /** Who asks; sent over an encrypted connection, or to this machine itself. */
  readonly token: Option.Option<string>
}

/** The npm registry over plain HTTP: the small documents only, never the whole packument. */
export class Registry extends Context.Tag("@waiaas/services/Registry")<
  Registry,
  {
    /** Dist-tags of a package. */
    readonly distTags: (
      registry: string,
      name: string,
      given: Given,
    ) => Effect.Effect<TagsAnswer, RegistryFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient
      const { variables } = yield* Environment

      /** What `fetch` makes of the surroundings is not what npm makes of them: the difference is named. */
      const hintFor = (code: string): string => {
        if (isTrustFailure(code))
          return " (npm's cafile is npm's alone: give the daemon NODE_EXTRA_CA_CERTS=<file> in its environment)"
        const proxy = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"].find(
          (name) => variables[name],
        )
        return proxy !== undefined && variables.NODE_USE_ENV_PROXY !== "1"
          ? ` (the daemon uses ${proxy} only with NODE_USE_ENV_PROXY=1 in its environment)`
          : ""
      }

      const ask = (registry: string, path: string, { etag, token }: Given) => {
        const url = `${registry.replace(/\/+$/, "")}/${path}`
        const failed = (problem: string) =>
          new RegistryFailed({ registry, problem: redactText(problem, Option.toArray(token)) })
        if (Option.isSome(token) && !isPrivate(url))
          return failed("its address is not https, and a token is sent over nothing else")
        const request = HttpClientRequest.get(url).pipe(
          HttpClientRequest.acceptJson,
          Option.match(etag, {
            onNone: () => (same: HttpClientRequest.HttpClientRequest) => same,
            onSome: (value) => HttpClientRequest.setHeader("if-none-match", value),
          }),
          // fetch leaves it out where it is sent on to another host.
          Option.match(token, {
            onNone: () => (same: HttpClientRequest.HttpClientRequest) => same,
            onSome: (value) => HttpClientRequest.bearerToken(value),
          }),
        )
        return client.execute(request).pipe(
          Effect.flatMap((response) =>
            Effect.map(readBody(response, failed), (body) => ({ response, body })),
          ),
          Effect.timeout(LIMIT),
          Effect.catchTags({
            TimeoutException: () => failed(`no answer within 5 s${hintFor("")}`),
            RequestError: (error) => failed(`${causeOf(error)}${hintFor(codeOf(error))}`),
            ResponseError: (error) => failed(`${causeOf(error)}${hintFor(codeOf(error))}`),
          }),
        )
      }

      return {
        distTags: Effect.fn("Registry.distTags")(function* (registry: string, name: string, given: Given) {
          const failed = (problem: string) => new RegistryFailed({ registry, problem })
          const escaped = name.replace("/", "%2f")
          const first = yield* ask(registry, `-/package/${escaped}/dist-tags`, given)
          // Not every registry has that document; the manifest of the tag is small too.
          const { response, body } =
            first.response.status === 404 ? yield* ask(registry, `${escaped}/latest`, given) : first
          if (response.status === 304) return { _tag: "Unchanged" } as const
          if ([401, 403].includes(response.status))
            return yield* failed(
              `it answered ${response.status} ${Option.isSome(given.token) ? "to the token of [daemon] update_registry_token_file" : "(set [daemon] update_registry_token_file to a file with your token)"}`,
            )
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

/** Whether nobody on the way reads what is sent. A name may begin with 127. and be any machine's. */
const isPrivate = (url: string): boolean => {
  const { protocol, hostname } = new URL(url)
  return (
    protocol === "https:" || ["localhost", "[::1]"].includes(hostname) || /^127(\.\d+){3}$/.test(hostname)
  )
}

const codeOf = ({ cause }: { readonly cause?: unknown }): string => {
  const inner = cause instanceof Error ? (cause.cause ?? cause) : undefined
  return inner instanceof Error && "code" in inner ? String(inner.code) : ""
}

const causeOf = (error: { readonly message: string; readonly cause?: unknown }): string => {
  const inner = error.cause instanceof Error ? (error.cause.cause ?? error.cause) : undefined
  return inner instanceof Error ? inner.message : error.message
}
