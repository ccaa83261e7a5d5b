import { strict as assert } from "node:assert"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { it } from "@effect/vitest"
import { Agent } from "@waiaas/domain/DaemonApi"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { DaemonClient } from "../src/DaemonClient.ts"

const token = "5".repeat(64)
const agent = Schema.encodeSync(Agent)({
  id: "ce71da3c-576a-41c6-9f3f-18bba1956e85",
  name: "first",
  chain: "solana",
  network: "mainnet",
  publicKey: "cb".repeat(32),
  status: "active",
  signingKey: "present",
  ownerAddress: null,
  createdAt: 1_770_000_000,
  updatedAt: 1_770_000_000,
})
const health = {
  status: "ok",
  version: "2.0.0",
  latestVersion: null,
  updateAvailable: false,
  schemaVersion: 5,
  uptime: 1,
  timestamp: 1_770_000_000,
}

/** Answers as the daemon does: what the API's definition says, and its refusals. */
const answer = (request: http.IncomingMessage, body: string): readonly [status: number, body: unknown] => {
  if (request.url === "/health") return [200, health]
  if (request.headers.authorization !== `Bearer ${token}`)
    return [401, { _tag: "Unauthorized", message: "No.", next: "Send it." }]
  if (request.url !== "/v1/agents")
    return [404, { _tag: "NotFound", message: "There is no agent x.", next: "waiaas agent list" }]
  return request.method === "POST" ? [201, { ...agent, name: JSON.parse(body).name }] : [200, [agent]]
}

const serve = Effect.acquireRelease(
  Effect.async<http.Server>((resume) => {
    const server = http.createServer(async (request, response) => {
      const [status, json] = answer(request, await text(request))
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json))
    })
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.sync(() => server.close().closeAllConnections()),
).pipe(Effect.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`))

const clientOf = (baseUrl: string, bearer: string) =>
  Effect.provide(
    DaemonClient,
    DaemonClient.layer({ baseUrl, token: bearer }).pipe(Layer.provide(FetchHttpClient.layer)),
  )

it.scopedLive("calls the API with base URL and token: health, create, list", () =>
  Effect.gen(function* () {
    const { call } = yield* clientOf(yield* serve, token)
    assert.deepEqual(yield* call((api) => api.health()), health)
    const made = yield* call((api) =>
      api.agents.create({ payload: { name: "second", chain: "solana", network: "mainnet" } }),
    )
    assert.equal(made.name, "second")
    assert.deepEqual(yield* call((api) => api.agents.list()), [agent])
  }),
)

it.scopedLive("what the daemon refuses is an error that says why", () =>
  Effect.gen(function* () {
    const baseUrl = yield* serve
    const { call } = yield* clientOf(baseUrl, "0".repeat(64))
    const refused = yield* Effect.flip(call((api) => api.agents.list()))
    assert.match(refused.message, /does not accept the API token/)
    const known = yield* clientOf(baseUrl, token)
    const missing = yield* Effect.flip(known.call((api) => api.agents.show({ path: { agent: "x" } })))
    assert.deepEqual([missing.message, missing.next], ["There is no agent x.", "waiaas agent list"])
  }),
)

it.scopedLive("a request that is wrong says which field is", () =>
  Effect.gen(function* () {
    const { call } = yield* clientOf(yield* serve, token)
    const refused = yield* Effect.flip(call((api) => api.agents.show({ path: { agent: "../x" } })))
    assert.equal(refused.message, "agent: Expected the id or the name of an agent.")
    assert.doesNotMatch(refused.message, /\n/)
  }),
)

it.scopedLive("nobody listens: the address, and what to type", () =>
  Effect.gen(function* () {
    const { call } = yield* clientOf("http://127.0.0.1:9", token)
    const unreachable = yield* Effect.flip(call((api) => api.health()))
    assert.equal(unreachable._tag, "DaemonUnreachable")
    assert.match(unreachable.message, /127\.0\.0\.1:9.*no connection/)
    assert.equal(unreachable.next, "waiaas start --background")
  }),
)
