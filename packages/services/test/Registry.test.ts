/** What the daemon's check asks a registry, what it takes for an answer, and what it says where there is none. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import { assert, describe, it } from "@effect/vitest"
import { type Given, Registry } from "@waiaas/services/platform/Registry"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import { type Answer, json, type Respond, TestHttp } from "@waiaas/services/testing/TestHttp"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"

const nothing: Given = { etag: Option.none(), token: Option.none() }
const tagsOf = (registry: string, given: Given = nothing) =>
  Effect.flatMap(Registry, ({ distTags }) => distTags(registry, "@waiaas/cli", given))
const layerOf = (respond: Respond, variables: Record<string, string> = {}) =>
  Registry.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(TestHttp.layer(respond), layerEnvironment({ variables }))),
  )
/** Result and requests of one question. */
const asked = (
  answers: (path: string) => Answer | null,
  { registry = "https://r.test/npm/", given = nothing }: { registry?: string; given?: Given } = {},
) =>
  Effect.gen(function* () {
    const result = yield* Effect.either(tagsOf(registry, given))
    const { requests } = yield* TestHttp
    return { result, paths: requests.map(({ url }) => new URL(url).pathname), requests }
  }).pipe(Effect.provide(layerOf(({ url }) => Effect.sync(() => answers(new URL(url).pathname)))))
const problemOf = ({ result }: Effect.Effect.Success<ReturnType<typeof asked>>) =>
  result._tag === "Left" ? result.left.message : "no failure"

const [dist, latest] = ["/npm/-/package/@waiaas%2fcli/dist-tags", "/npm/@waiaas%2fcli/latest"]

describe("a registry", () => {
  it.effect("is asked below its own path, as JSON, with what is known of the last answer", () =>
    Effect.gen(function* () {
      for (const registry of ["https://r.test/npm", "https://r.test/npm/", "https://r.test/npm//"]) {
        const { paths, requests } = yield* asked(() => json({ latest: "2.1.0" }), { registry })
        assert.deepStrictEqual(paths, [dist])
        assert.include(requests[0]?.headers.accept, "application/json")
        assert.notProperty(requests[0]?.headers, "if-none-match")
        assert.notProperty(requests[0]?.headers, "authorization")
      }
      const given = { etag: Option.some('"a"'), token: Option.some("t0ken") }
      const { requests } = yield* asked(() => json({ latest: "2.1.0" }), { given })
      assert.strictEqual(requests[0]?.headers["if-none-match"], '"a"')
      assert.strictEqual(requests[0]?.headers.authorization, "Bearer t0ken")
    }),
  )

  it.effect("gives tags and ETag, or says that nothing has changed", () =>
    Effect.gen(function* () {
      const tags = { latest: "2.1.0", rc: "2.2.0-rc.1" }
      const { result } = yield* asked(() => json(tags, { etag: '"b"' }))
      assert.ok(result._tag === "Right" && result.right._tag === "Tags")
      assert.deepStrictEqual<unknown>({ ...result.right.tags }, tags)
      assert.deepStrictEqual(Option.getOrNull(result.right.etag), '"b"')
      const plain = (yield* asked(() => json(tags))).result
      assert.ok(plain._tag === "Right" && plain.right._tag === "Tags" && Option.isNone(plain.right.etag))
      const same = yield* asked(() => ({ status: 304 }))
      assert.ok(same.result._tag === "Right" && same.result.right._tag === "Unchanged")
      assert.deepStrictEqual(same.paths, [dist])
    }),
  )

  it.effect("without a document of tags is asked for the newest manifest, and for nothing more", () =>
    Effect.gen(function* () {
      const manifest = yield* asked((path) =>
        path === latest ? json({ name: "@waiaas/cli", version: "2.1.0" }) : { status: 404 },
      )
      assert.deepStrictEqual(manifest.paths, [dist, latest])
      assert.ok(manifest.result._tag === "Right" && manifest.result.right._tag === "Tags")
      assert.deepStrictEqual<unknown>({ ...manifest.result.right.tags }, { latest: "2.1.0" })
      const same = yield* asked((path) => ({ status: path === latest ? 304 : 404 }))
      assert.ok(same.result._tag === "Right" && same.result.right._tag === "Unchanged")
      assert.match(problemOf(yield* asked(() => ({ status: 404 }))), /it answered 404\.$/)
      // Another answer is no reason to ask for another document.
      const down = yield* asked(() => ({ status: 500, body: '{"latest":"2.1.0"}' }))
      assert.deepStrictEqual(down.paths, [dist])
      assert.match(problemOf(down), /https:\/\/r\.test\/npm\/ could not be asked .*it answered 500\.$/)
    }),
  )

  it.effect("that refuses says whether it was given a token", () =>
    Effect.gen(function* () {
      for (const status of [401, 403]) {
        assert.include(
          problemOf(yield* asked(() => ({ status }))),
          `it answered ${status} (set [daemon] update_registry_token_file to a file with your token)`,
        )
        const given = { etag: Option.none(), token: Option.some("t0ken") }
        assert.include(
          problemOf(yield* asked(() => ({ status }), { given })),
          `it answered ${status} to the token of [daemon] update_registry_token_file`,
        )
      }
    }),
  )

  it.effect("whose answer names no version, or is no JSON, or is too large, is believed nothing", () =>
    Effect.gen(function* () {
      for (const body of ["<html>log in</html>", "{}", '{"latest":"newest"}', '{"rc":"2.1.0"}', ""])
        assert.match(problemOf(yield* asked(() => ({ status: 200, body }))), /its answer names no version/)
      const ofSize = (size: number) => `{"latest":"2.1.0"}${" ".repeat(size - 18)}`
      const limit = 262_144
      const most = yield* asked(() => ({ status: 200, body: ofSize(limit) }))
      assert.strictEqual(most.result._tag, "Right")
      const more = yield* asked(() => ({ status: 200, body: ofSize(limit + 1) }))
      assert.match(problemOf(more), /its answer is larger than 262144 bytes/)
      const parts = (text: string) =>
        new ReadableStream<Uint8Array>({
          start: (controller) => {
            for (const part of text.match(/.{1,9}/g) ?? []) controller.enqueue(new TextEncoder().encode(part))
            controller.close()
          },
        })
      const inParts = yield* asked(() => ({ status: 200, body: parts('{"latest":"2.1.0"}') }))
      assert.strictEqual(inParts.result._tag, "Right")
    }),
  )

  it.effect("is given five seconds, its body included", () =>
    Effect.gen(function* () {
      const never: Respond = () => Effect.succeed({ status: 200, body: new ReadableStream({}) })
      for (const respond of [() => Effect.never, never]) {
        const question = yield* Effect.fork(
          Effect.flip(tagsOf("https://r.test/")).pipe(Effect.provide(layerOf(respond))),
        )
        yield* TestClock.adjust("4900 millis")
        assert.isNull(yield* Fiber.poll(question).pipe(Effect.map(Option.getOrNull)))
        yield* TestClock.adjust("200 millis")
        assert.match((yield* Fiber.join(question)).message, /no answer within 5 s/)
      }
    }),
  )

  it.effect("gets a token over an encrypted connection, or on this machine, and nowhere else", () =>
    Effect.gen(function* () {
      const given = { etag: Option.none(), token: Option.some("t0ken") }
      for (const [registry, isSent] of [
        ["https://r.test", true],
        ["http://localhost:4873", true],
        ["http://[::1]:4873", true],
        ["http://127.0.0.1:4873", true],
        ["http://127.10.20.30", true],
        ["http://r.test", false],
        ["http://10.0.0.1", false],
        ["http://127.0.0.1.r.test", false],
        ["http://localhost.r.test", false],
        ["http://r.127.test", false],
      ] as const) {
        const { requests } = yield* asked(() => json({ latest: "2.1.0" }), { registry, given })
        assert.strictEqual(requests.length === 1, isSent, registry)
      }
    }),
  )
})

describe("a registry that cannot be reached", () => {
  /** As `fetch` fails: its own error says nothing, the cause in it does. */
  const failing = (variables: Record<string, string>, code: string, token?: string) => {
    const cause = Object.assign(new Error(`${code} of t0ken`), { code })
    const client = HttpClient.make((request) =>
      Effect.fail(
        new HttpClientError.RequestError({
          request,
          reason: "Transport",
          cause: new TypeError("fetch failed", { cause }),
        }),
      ),
    )
    return Effect.flip(
      tagsOf("https://r.test/", { etag: Option.none(), token: Option.fromNullable(token) }),
    ).pipe(
      Effect.map(({ message }) => message),
      Effect.provide(
        Registry.layer.pipe(
          Layer.provide(
            Layer.merge(Layer.succeed(HttpClient.HttpClient, client), layerEnvironment({ variables })),
          ),
        ),
      ),
    )
  }

  it.effect("is named with the cause, without the token", () =>
    Effect.gen(function* () {
      assert.include(yield* failing({}, "ECONNREFUSED"), "newest version: ECONNREFUSED of t0ken.")
      assert.include(
        yield* failing({}, "ECONNREFUSED", "t0ken"),
        "newest version: ECONNREFUSED of [redacted].",
      )
    }),
  )

  it.effect("for its certificate: how the daemon is given an authority, whatever proxy there is", () =>
    Effect.gen(function* () {
      const proxy = { HTTPS_PROXY: "http://p.test" }
      for (const code of ["SELF_SIGNED_CERT_IN_CHAIN", "CERT_HAS_EXPIRED"])
        assert.match(yield* failing(proxy, code), /\(npm's cafile is npm's alone: .*NODE_EXTRA_CA_CERTS/)
      assert.notInclude(yield* failing({}, "ECONNREFUSED"), "NODE_EXTRA_CA_CERTS")
    }),
  )

  it.effect("where a proxy is set that fetch does not use: how it does", () =>
    Effect.gen(function* () {
      for (const name of ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"]) {
        const said = `(the daemon uses ${name} only with NODE_USE_ENV_PROXY=1 in its environment)`
        assert.include(yield* failing({ [name]: "http://p.test" }, "ETIMEDOUT"), said)
        assert.notInclude(yield* failing({ [name]: "" }, "ETIMEDOUT"), "PROXY")
        const used = { [name]: "http://p.test", NODE_USE_ENV_PROXY: "1" }
        assert.notInclude(yield* failing(used, "ETIMEDOUT"), "PROXY")
        assert.include(yield* failing({ ...used, NODE_USE_ENV_PROXY: "0" }, "ETIMEDOUT"), said)
      }
    }),
  )

  it.effect("by an error of its own words, where that has no cause", () =>
    Effect.gen(function* () {
      const { message } = yield* Effect.flip(tagsOf("https://r.test/"))
      assert.match(message, /newest version: .*Transport/)
    }).pipe(Effect.provide(layerOf(() => Effect.succeed(null)))),
  )

  it.live("by a refused connection, with the system's words", () =>
    Effect.gen(function* () {
      const { message } = yield* Effect.flip(tagsOf("http://127.0.0.1:2/"))
      assert.match(message, /^The registry http:\/\/127\.0\.0\.1:2\/ could not be asked .*ECONNREFUSED/)
    }).pipe(Effect.provide(Registry.layer.pipe(Layer.provide([FetchHttpClient.layer, layerEnvironment()])))),
  )
})
