import { strict as assert } from "node:assert"
import type * as http from "node:http"
import * as net from "node:net"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { FileFailed } from "@waiaas/domain/DataErrors"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { makeHostCheck } from "../src/Http/HostCheck.ts"
import { type Answer, ask, startDaemon } from "./support.ts"

const nobody = "33333333-3333-4333-8333-333333333333"

/** What a socket answers to these bytes, until it is closed or `wait` is over. */
const raw = (port: number, bytes: string, wait = 2000): Effect.Effect<string> =>
  Effect.async((resume) => {
    let text = ""
    const socket = net.connect(port, "127.0.0.1", () => socket.write(bytes))
    const timer = setTimeout(() => socket.destroy(), wait)
    socket.setEncoding("utf8").on("data", (chunk) => {
      text += chunk
    })
    socket.on("error", () => {})
    socket.on("close", () => {
      clearTimeout(timer)
      resume(Effect.succeed(text))
    })
  })

it.scopedLive("everything but /health needs the token", () =>
  Effect.gen(function* () {
    const { port, token } = yield* startDaemon()
    assert.equal((yield* ask(port, "/health")).status, 200)
    const wrong = `${token.slice(0, -1)}${token.endsWith("0") ? "1" : "0"}`
    for (const path of [
      "/v1/agents",
      "/v1/daemon",
      "/v1/version",
      "/v1/backups",
      "/openapi.json",
      "/docs",
      "/none",
    ])
      for (const authorization of [
        undefined,
        "",
        token,
        `Bearer ${wrong}`,
        `Bearer ${token}0`,
        `Basic ${token}`,
        "Bearer ",
      ]) {
        const answer = yield* ask(port, path, {
          headers: authorization === undefined ? {} : { authorization },
        })
        assert.equal(answer.status, 401, `${path} ${authorization}`)
        assert.equal(answer.json._tag, "Unauthorized")
        assert.ok(!answer.text.includes(token))
      }
    for (const authorization of [`Bearer ${token}`, `bearer ${token}`])
      assert.equal((yield* ask(port, "/v1/agents", { headers: { authorization } })).status, 200)
  }),
)

it("the Host check knows this machine's names with the port, and nothing else", () => {
  const allowed = makeHostCheck({ hostname: "wallet.internal", port: 3100 })
  for (const host of [
    "wallet.internal:3100",
    "localhost:3100",
    "LOCALHOST:3100",
    "127.0.0.1:3100",
    "[::1]:3100",
  ])
    assert.ok(allowed(host), host)
  for (const host of [
    undefined,
    "",
    "localhost",
    "localhost:3101",
    "evil.example:3100",
    "127.0.0.1.evil.example:3100",
    "localhost.:3100",
    "evil.example",
    "127.0.0.2:3100",
  ])
    assert.ok(!allowed(host), String(host))
  const everywhere = makeHostCheck({ hostname: "0.0.0.0", port: 3100 })
  // Containers are reached through mapped ports and addresses: an address cannot be rebound, a name can.
  for (const host of ["192.168.1.5:8080", "localhost:8080", "[fe80::1]:3100"])
    assert.ok(everywhere(host), host)
  for (const host of ["evil.example:3100", "10.0.0.1.evil.example:3100", "", undefined])
    assert.ok(!everywhere(host))
  assert.ok(makeHostCheck({ hostname: "::1", port: 80 })("[::1]"))
})

it.scopedLive("a foreign Host is refused everywhere, /health included", () =>
  Effect.gen(function* () {
    const { port, token } = yield* startDaemon()
    for (const path of ["/health", "/v1/agents"])
      for (const host of ["evil.example", `evil.example:${port}`, "localhost"]) {
        const answer = yield* ask(port, path, { headers: { host, authorization: `Bearer ${token}` } })
        assert.equal(answer.status, 421, host)
        assert.equal(answer.json._tag, "Misdirected")
      }
    assert.match(yield* raw(port, "GET /health HTTP/1.1\r\n\r\n", 300), /^HTTP\/1.1 421 /)
  }),
)

it.scopedLive("a body has at most 1 MiB, announced or not, and the refusal arrives", () =>
  Effect.gen(function* () {
    const { port, token, call } = yield* startDaemon()
    const authorization = `Bearer ${token}`
    const big = Buffer.alloc(1024 * 1024 + 1, 0x20)
    const announced = yield* ask(port, "/v1/agents", {
      method: "POST",
      headers: { authorization, "content-length": big.length },
      body: big,
    })
    assert.equal(announced.status, 413)
    assert.equal(announced.json._tag, "TooLarge")
    // What is announced is refused before it is sent.
    const unsent = yield* raw(
      port,
      `POST /v1/agents HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nauthorization: Bearer ${token}\r\ncontent-length: 2000000\r\n\r\n`,
      500,
    )
    assert.match(unsent, /^HTTP\/1.1 413 /)
    const chunked = yield* ask(port, "/v1/agents", {
      method: "POST",
      headers: { authorization, "transfer-encoding": "chunked" },
      body: Buffer.concat([big, big, big]),
    })
    assert.equal(chunked.status, 413)
    assert.equal(chunked.json._tag, "TooLarge")
    const padded = `${" ".repeat(1024 * 1024 - 20)}{"name":"alice"}`
    const fits = yield* ask(port, "/v1/agents", { method: "POST", headers: { authorization }, body: padded })
    assert.equal(fits.status, 201, fits.text)
    assert.equal((yield* call("GET", "/v1/agents")).json.length, 1)
  }),
)

it.scopedLive("every error is JSON", () =>
  Effect.gen(function* () {
    const { port, token, call } = yield* startDaemon()
    const authorization = `Bearer ${token}`
    const post = (body: string, headers: http.OutgoingHttpHeaders = {}) =>
      ask(port, "/v1/agents", { method: "POST", headers: { authorization, ...headers }, body })
    const expected: ReadonlyArray<readonly [Effect.Effect<Answer, Error>, number, string]> = [
      [call("GET", "/none"), 404, "NotFound"],
      [call("GET", "//evil.example/v1/agents"), 404, "NotFound"],
      [call("DELETE", "/v1/agents"), 405, "MethodNotAllowed"],
      [call("GET", `/v1/agents/${nobody}/sign`), 405, "MethodNotAllowed"],
      [ask(port, "/health", { method: "POST" }), 405, "MethodNotAllowed"],
      [post("{"), 400, "BadRequest"],
      [post(""), 400, "BadRequest"],
      [post("{}"), 400, "BadRequest"],
      [post("[]"), 400, "BadRequest"],
      [post('{"name":"../x"}'), 400, "BadRequest"],
      [post('{"name":"x","chain":"bitcoin","network":"nonsense"}'), 400, "BadRequest"],
      [call("GET", "/v1/agents/not-an-agent"), 404, "NotFound"],
      [call("GET", "/v1/agents/%00"), 400, "BadRequest"],
      [call("GET", "/v1/agents?all=1"), 400, "BadRequest"],
      [post("a=1", { "content-type": "application/x-www-form-urlencoded" }), 415, "UnsupportedMediaType"],
      [post("{}", { "content-type": "application/json; charset=latin1" }), 415, "UnsupportedMediaType"],
      [post("{}", { "content-encoding": "gzip" }), 415, "UnsupportedMediaType"],
      [post("--x", { "content-type": "multipart/form-data; boundary=x" }), 415, "UnsupportedMediaType"],
      [post("{}", { expect: "magic" }), 417, "ExpectationFailed"],
    ]
    for (const [request, status, tag] of expected) {
      const answer = yield* request
      assert.equal(answer.status, status, tag)
      assert.equal(answer.json?._tag, tag)
      assert.deepEqual(Object.keys(answer.json), ["_tag", "message", "next"], tag)
      assert.doesNotMatch(answer.text, /readonly|\\n|└|HttpApi/, "no inner schema")
    }
    assert.equal((yield* call("DELETE", "/v1/agents")).headers.allow, "POST, GET")
    const broken = yield* raw(port, "NONSENSE\r\n\r\n")
    assert.match(broken, /^HTTP\/1.1 400 [\s\S]*\{"_tag":"BadRequest"/)
    const huge = yield* raw(port, `GET /health HTTP/1.1\r\nx: ${"y".repeat(40_000)}\r\n\r\n`)
    assert.match(huge, /^HTTP\/1.1 431 [\s\S]*\{"_tag":"HeadersTooLarge"/)
    const absolute = yield* raw(
      port,
      `GET http://evil.example/v1/agents HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nauthorization: Bearer ${token}\r\nconnection: close\r\n\r\n`,
    )
    assert.match(absolute, /^HTTP\/1.1 400 [\s\S]*not a path/)
  }),
)

it.scopedLive("the daemon's own trouble is a 500 that says nothing of it", () =>
  Effect.gen(function* () {
    const { call, context } = yield* startDaemon({
      backups: Effect.fail(new FileFailed({ operation: "list", path: "/secret/place", code: "EIO" })),
      check: Effect.die(new Error("secret defect")),
    })
    const sql = Context.get(context, SqlClient)
    yield* sql`DROP TABLE agent_events`
    yield* sql`DROP TABLE agents`
    for (const [method, path] of [
      ["GET", "/v1/agents"],
      ["GET", "/v1/backups"],
      ["POST", "/v1/version/check"],
    ] as const) {
      const answer = yield* call(method, path)
      assert.equal(answer.status, 500, path)
      assert.deepEqual(answer.json, {
        _tag: "Internal",
        message: "The daemon failed at this request; its log says why.",
        next: "Read the end of `logs/daemon.log` in the data directory.",
      })
    }
  }),
)

it.scopedLive("a request that takes too long is given up, whether it works or waits for its body", () =>
  Effect.gen(function* () {
    const limits = { bodyBytes: 1000, time: Duration.millis(300) }
    const { call, port, token } = yield* startDaemon({ check: Effect.never, server: { limits } })
    const answer = yield* call("POST", "/v1/version/check")
    assert.equal(answer.status, 503)
    assert.match(answer.json.message, /more than 0.3 s/)
    const slow = yield* raw(
      port,
      `POST /v1/agents HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nauthorization: Bearer ${token}\r\ncontent-length: 10\r\n\r\n{`,
    )
    assert.match(slow, /^HTTP\/1.1 (408|503) [\s\S]*"_tag"/)
  }),
)
