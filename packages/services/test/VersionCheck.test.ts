/** What is remembered of the daemon's check, and what it is given: nothing of it fails in silence, and no secret shows. */

import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { checkReportOf, checkSettings } from "@waiaas/services/CheckReport"
import { failedCheckKeys, KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
import { Registry } from "@waiaas/services/platform/Registry"
import { layerEnvironment } from "@waiaas/services/testing/TestEnvironment"
import { type Answer, json, TestHttp } from "@waiaas/services/testing/TestHttp"
import { layerVersionCheck } from "@waiaas/services/testing/TestVersionCheck"
import { noticeFor } from "@waiaas/services/UpdateNotifier"
import { VersionCheck } from "@waiaas/services/VersionCheck"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"

const version = makeVersion("2.0.0")
const found = json({ latest: "2.1.0" }, { etag: '"a"' })
const check = Effect.flatMap(VersionCheck, (service) => Effect.either(service.check))

/** As the daemon's API and `status` report it. */
const report = Effect.gen(function* () {
  const store = yield* KeyValueStore
  const values = new Map<string, string>()
  for (const key of [...Object.values(versionKeys), ...Object.values(failedCheckKeys)])
    Option.map(yield* store.get(key), (value) => values.set(key, value))
  return { values, report: checkReportOf(values, yield* checkSettings, version) }
})

describe("a check that fails", () => {
  it.effect("is remembered with its time, its cause and since when, until one succeeds", () =>
    Effect.gen(function* () {
      const http = yield* TestHttp
      let answer: Answer | null = found
      http.respond = () => Effect.succeed(answer)
      yield* TestClock.adjust("100 seconds")
      yield* check
      answer = { status: 503, body: "{}" }
      yield* TestClock.adjust("100 seconds")
      yield* check
      yield* TestClock.adjust("100 seconds")
      yield* check
      const after = yield* report
      assert.strictEqual(after.report.latestVersion, "2.1.0")
      assert.strictEqual(after.report.checkedAt, 100)
      assert.deepStrictEqual([after.report.failure?.at, after.report.failure?.since], [300, 200])
      assert.match(after.report.failure?.problem ?? "", /http:\/\/registry\.test .*503/)
      // The notice that follows from what was known before says so.
      const notice = Option.getOrThrow(noticeFor(after.values, version, 400))
      assert.strictEqual(notice.check.failure?.at, 300)
      answer = found
      yield* check
      const then = yield* report
      assert.strictEqual(then.report.failure, null)
      assert.strictEqual(then.report.checkedAt, 300)
    }).pipe(Effect.provide(layerVersionCheck(() => Effect.succeed(found), version))),
  )

  it.effect("is remembered where no registry is known, too", () =>
    Effect.gen(function* () {
      yield* check
      assert.match((yield* report).report.failure?.problem ?? "", /update_registry/)
    }).pipe(Effect.provide(layerVersionCheck(() => Effect.succeed(found), version, ""))),
  )
})

describe("another registry", () => {
  const recorded = (registry: string) => ({ "/data/registry.json": JSON.stringify({ registry }) })
  it.effect("is asked without the ETag of the one before, whose answer is announced no more", () =>
    Effect.gen(function* () {
      const store = yield* KeyValueStore
      yield* store.set(versionKeys.registry, "http://a.test/")
      yield* store.set(versionKeys.latest, "9.0.0")
      yield* store.set(versionKeys.etag, '"a"')
      yield* store.set(versionKeys.checkedAt, "1")
      const before = yield* report
      assert.deepStrictEqual(
        [before.report.latestVersion, before.report.updateAvailable, before.report.checkedAt],
        [null, false, null],
      )
      assert.ok(Option.isNone(noticeFor(before.values, version, 2, yield* checkSettings)))
      yield* check
      const { requests } = yield* TestHttp
      assert.strictEqual(requests[0]?.url, "http://b.test/-/package/@waiaas%2fcli/dist-tags")
      assert.strictEqual(requests[0]?.headers["if-none-match"], undefined)
      const after = yield* report
      assert.strictEqual(after.report.latestVersion, "2.1.0")
      assert.strictEqual(after.report.registry, "http://b.test/")
    }).pipe(
      Effect.provide(layerVersionCheck(() => Effect.succeed(found), version, "", recorded("http://b.test/"))),
    ),
  )
})

const token = "s3cr3t-t0ken"
const toml = (registry: string) =>
  `[daemon]\nupdate_registry = "${registry}"\nupdate_registry_token_file = "registry.token"\n`

describe("a registry's token", () => {
  const asked = (registry: string, text = `${token}\n`) =>
    Effect.gen(function* () {
      const result = yield* check
      const { requests } = yield* TestHttp
      const { failure } = (yield* report).report
      return {
        sent: requests.map(({ headers }) => headers.authorization),
        failure: failure?.problem ?? "",
        ok: result._tag === "Right",
      }
    }).pipe(
      Effect.provide(
        layerVersionCheck(() => Effect.succeed(found), version, toml(registry), {
          "/data/registry.token": text,
        }),
      ),
    )

  it.effect("comes from its file, and goes over an encrypted or a local connection alone", () =>
    Effect.gen(function* () {
      for (const registry of ["https://npm.company.test/", "http://127.0.0.1:4873", "http://localhost:4873"])
        assert.deepStrictEqual(yield* asked(registry), {
          sent: [`Bearer ${token}`],
          failure: "",
          ok: true,
        })
      const open = yield* asked("http://npm.company.test/")
      assert.deepStrictEqual(open.sent, [])
      assert.match(open.failure, /not https/)
      const empty = yield* asked("https://npm.company.test/", "")
      assert.deepStrictEqual(empty.sent, [])
      assert.match(empty.failure, /update_registry_token_file/)
    }),
  )

  it.effect("that is missing is named, and so is one that is not accepted", () =>
    Effect.gen(function* () {
      const refused = (files: Readonly<Record<string, string>>, config: string) =>
        Effect.zipRight(check, report).pipe(
          Effect.map(({ report: { failure } }) => failure?.problem ?? ""),
          Effect.provide(
            layerVersionCheck(
              () => Effect.succeed({ status: 401, body: `{"error":"not for ${token}"}` }),
              version,
              config,
              files,
            ),
          ),
        )
      const registry = "https://npm.company.test/"
      assert.match(
        yield* refused({}, `[daemon]\nupdate_registry = "${registry}"\n`),
        /401 \(set \[daemon\] update_registry_token_file/,
      )
      const given = yield* refused({ "/data/registry.token": token }, toml(registry))
      assert.match(given, /401 to the token of/)
      assert.notInclude(given, token)
      assert.match(yield* refused({}, toml(registry)), /registry\.token/)
    }),
  )

  const listening = (answer: Parameters<typeof createServer>[1]) =>
    Effect.acquireRelease(
      Effect.async<Server>((resume) => {
        const server = createServer(answer).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => void server.close()),
    )
  const addressOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  it.scopedLive("is not handed on to the host that a registry sends fetch on to", () =>
    Effect.gen(function* () {
      const seen: Array<string | undefined> = []
      const other = yield* listening((request, response) => {
        seen.push(request.headers.authorization)
        response.end('{"latest":"2.1.0"}')
      })
      const first = yield* listening((request, response) => {
        seen.push(request.headers.authorization)
        response.writeHead(302, { location: `${addressOf(other)}${request.url}` }).end()
      })
      const registry = yield* Registry
      const answer = yield* registry.distTags(addressOf(first), "@waiaas/cli", {
        etag: Option.none(),
        token: Option.some(token),
      })
      assert.strictEqual(answer._tag, "Tags")
      assert.deepStrictEqual(seen, [`Bearer ${token}`, undefined])
    }).pipe(Effect.provide(Registry.layer.pipe(Layer.provide([FetchHttpClient.layer, layerEnvironment()])))),
  )
})

describe("what npm is given and fetch is not", () => {
  const problem = (variables: Record<string, string>) =>
    Effect.flatMap(Registry, (registry) =>
      Effect.flip(
        registry.distTags("http://127.0.0.1:9", "@waiaas/cli", { etag: Option.none(), token: Option.none() }),
      ),
    ).pipe(
      Effect.map(({ message }) => message),
      Effect.provide(
        Registry.layer.pipe(Layer.provide([FetchHttpClient.layer, layerEnvironment({ variables })])),
      ),
    )
  it.live("a proxy in the environment is named where the daemon does not use it", () =>
    Effect.gen(function* () {
      const proxy = { HTTPS_PROXY: "http://me:secret@proxy.test" }
      assert.match(yield* problem(proxy), /HTTPS_PROXY only with NODE_USE_ENV_PROXY=1/)
      assert.notInclude(yield* problem(proxy), "secret")
      assert.notInclude(yield* problem({ ...proxy, NODE_USE_ENV_PROXY: "1" }), "NODE_USE_ENV_PROXY")
      assert.notInclude(yield* problem({}), "NODE_USE_ENV_PROXY")
    }),
  )
})
