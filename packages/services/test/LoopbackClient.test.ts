/** The token goes over the connection that the daemon was proven on, or nowhere. */
import { strict as assert } from "node:assert"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { it } from "@effect/vitest"
import { LoopbackClient } from "@waiaas/services/platform/LoopbackClient"
import * as Effect from "effect/Effect"

const listen = (port: number, answer: (request: IncomingMessage, response: ServerResponse) => void) =>
  Effect.acquireRelease(
    Effect.async<Server>((resume) => {
      const server = createServer(answer).listen(port, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      }),
  )

const portOf = (server: Server) => (server.address() as AddressInfo).port
const health = (port: number) =>
  Effect.flatMap(HttpClient.get(`http://127.0.0.1:${port}/health`), ({ json }) => json)
const withToken = (port: number) =>
  HttpClient.execute(
    HttpClientRequest.get(`http://127.0.0.1:${port}/v1/agents`).pipe(HttpClientRequest.bearerToken("secret")),
  ).pipe(
    Effect.flatMap(({ text }) => text),
    Effect.scoped,
  )

it.scopedLive("one connection carries the question for /health and the requests with the token", () =>
  Effect.gen(function* () {
    let connections = 0
    const server = yield* listen(0, (request, response) =>
      response.end(request.url === "/health" ? "{}" : (request.headers.authorization ?? "none")),
    )
    server.on("connection", () => connections++)
    yield* health(portOf(server))
    assert.equal(yield* withToken(portOf(server)), "Bearer secret")
    assert.equal(yield* withToken(portOf(server)), "Bearer secret")
    assert.equal(connections, 1)
  }).pipe(Effect.provide(LoopbackClient)),
)

it.scopedLive(
  "a proof is of its own connection: an earlier one, to whoever had the port then, carries no token",
  () =>
    Effect.gen(function* () {
      const connections: Array<number> = []
      const server = yield* listen(0, (_, response) => response.end("{}"))
      server.on("connection", () => connections.push(0))
      server.on("request", () => connections.push((connections.pop() as number) + 1))
      yield* health(portOf(server))
      yield* health(portOf(server))
      yield* withToken(portOf(server))
      // Each question for /health has a connection of its own, and the token goes over the last one.
      assert.deepEqual(connections, [1, 2])
    }).pipe(Effect.provide(LoopbackClient)),
)

it.scopedLive("whoever takes the port after /health was answered gets no token", () =>
  Effect.gen(function* () {
    const port = yield* Effect.scoped(
      Effect.gen(function* () {
        const server = yield* listen(0, (_, response) => response.end("{}"))
        yield* health(portOf(server))
        return portOf(server)
      }),
    )
    const seen: Array<string | undefined> = []
    yield* listen(port, (request, response) => {
      seen.push(request.headers.authorization)
      response.end("{}")
    })
    const error = yield* Effect.flip(withToken(port))
    assert.equal(error._tag, "RequestError")
    assert.deepEqual(seen, [])
    // It may be asked who it is; that is all it is sent.
    yield* health(port)
    assert.deepEqual(seen, [undefined])
  }).pipe(Effect.provide(LoopbackClient)),
)
