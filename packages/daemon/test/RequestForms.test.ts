/** A request is done in the one form that the API has; every other form of it is answered as the documents say, and nothing is done. */
import { strict as assert } from "node:assert"
import { connect } from "node:net"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { startDaemon } from "./support.ts"

/** Sends bytes as they are; gives all that comes back until the server closes. */
const raw = (port: number, bytes: string) =>
  Effect.async<string, Error>((resume) => {
    const socket = connect(port, "127.0.0.1")
    let answer = ""
    socket.on("data", (chunk) => {
      answer += chunk
    })
    socket.on("error", (error) => resume(Effect.fail(error)))
    socket.on("close", () => resume(Effect.succeed(answer)))
    socket.write(bytes)
  })

const withAgent = Effect.gen(function* () {
  const { port, token, call } = yield* startDaemon()
  const agent = (yield* call("POST", "/v1/agents", { name: "alice" })).json
  const own = [`host: 127.0.0.1:${port}`, `authorization: Bearer ${token}`, "connection: close"]
  const request = (
    method: string,
    path: string,
    { headers = [], body = "" }: { readonly headers?: ReadonlyArray<string>; readonly body?: string } = {},
  ) => {
    const length = body === "" ? [] : [`content-length: ${Buffer.byteLength(body)}`]
    return `${[`${method} ${path} HTTP/1.1`, ...own, ...headers, ...length].join("\r\n")}\r\n\r\n${body}`
  }
  /** Status and tag of the answer, which is one of the documents'. */
  const answerTo = (bytes: string) =>
    Effect.map(raw(port, bytes), (text) => {
      const [head = "", body = ""] = text.split("\r\n\r\n")
      const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1])
      const json = body === "" ? {} : JSON.parse(body)
      if (status >= 400 && body !== "") assert.deepEqual(Object.keys(json), ["_tag", "message", "next"])
      return { status, tag: json._tag, json, text }
    })
  return { port, token, call, agent, request, answerTo }
})

it.scopedLive("a body that can be read in two ways is refused in every form of its path", () =>
  Effect.gen(function* () {
    const { request, answerTo } = yield* withAgent
    const body = '{"message":"pay 1","message":"pay 1000"}'
    for (const [path, status] of [
      ["/v1/agents/alice/sign", 400],
      ["/v1/agents/%61lice/sign", 400],
      ["/v1/agents/alice/sign?", 400],
      ["/v1/agents/alice/sign??", 400],
      ["/v1/agents/alice/sign;x", 404],
      ["/v1/agents/alice/sign;x=1?y", 404],
      ["/v1/agents/alice/sign#x", 404],
      ["/v1/agents/alice/%73ign", 404],
      ["/%761/agents/alice/sign", 404],
      ["/v1/agents/alice/sign/", 404],
      ["/v1/agents//alice/sign", 404],
      ["//v1/agents/alice/sign", 404],
      ["/V1/agents/alice/SIGN", 404],
      ["/v1/agents/alice;x/sign", 404],
      ["/v1/agents/x/../alice/sign", 404],
    ] as const) {
      const answer = yield* answerTo(request("POST", path, { body }))
      assert.equal(answer.status, status, `${path}: ${answer.text}`)
      assert.equal(answer.json.signature, undefined)
    }
  }),
)

it.scopedLive(
  "a path, a query, a header or a method that the API does not have is answered as documented",
  () =>
    Effect.gen(function* () {
      const { port, token, agent, request, answerTo, call } = yield* withAgent
      const sign = { body: '{"message":"a"}' }
      const head = `POST /v1/agents/alice/sign HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nauthorization: Bearer ${token}\r\nconnection: close\r\n`
      const cases: ReadonlyArray<readonly [string, number, string | undefined]> = [
        [request("GET", `/v1/agents/${agent.id.toUpperCase()}`), 200, undefined],
        [request("GET", "/v1/agents?"), 200, undefined],
        [request("GET", "/v1/agents??a=1"), 400, "BadRequest"],
        [request("GET", "/v1/agents?a=1&a=2"), 400, "BadRequest"],
        [request("GET", "/docs?a=1"), 400, "BadRequest"],
        [request("GET", "/openapi.json?a"), 400, "BadRequest"],
        [request("GET", "/docs;x"), 404, "NotFound"],
        [request("GET", "/openapiXjson"), 404, "NotFound"],
        [request("POST", "/docs"), 405, "MethodNotAllowed"],
        [request("GET", "/health/"), 404, "NotFound"],
        ...[
          "%2e%2e",
          "%2F",
          "alice%2Fsign",
          "%00",
          "%zz",
          "%ff",
          "%ed%a0%80",
          "%",
          "a".repeat(101),
          "a".repeat(3000),
        ].map((part) => [request("GET", `/v1/agents/${part}`), 400, "BadRequest"] as const),
        [request("OPTIONS", "/v1/agents"), 405, "MethodNotAllowed"],
        [request("TRACE", "/v1/agents"), 405, "MethodNotAllowed"],
        [request("PUT", "/v1/agents/alice"), 405, "MethodNotAllowed"],
        [request("OPTIONS", "*"), 400, "BadRequest"],
        [request("CONNECT", "evil.example:80"), 400, "BadRequest"],
        [request("BOGUS", "/v1/agents"), 400, "BadRequest"],
        [request("GET", "/v1/agents", { headers: ["host: evil.example"] }), 400, "BadRequest"],
        [request("GET", "/v1/agents", { headers: ["authorization: Bearer x"] }), 400, "BadRequest"],
        [
          request("POST", "/v1/agents/alice/sign", {
            ...sign,
            headers: ["content-type: application/json", "content-type: text/plain"],
          }),
          400,
          "BadRequest",
        ],
        [
          request("POST", "/v1/agents/alice/sign", { ...sign, headers: ["content-type: "] }),
          415,
          "UnsupportedMediaType",
        ],
        [`${head}transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`, 415, "UnsupportedMediaType"],
        [`${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`, 400, "BadRequest"],
        [`${head}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`, 400, "BadRequest"],
        [`${head}transfer-encoding: identity\r\n\r\n{}`, 400, "BadRequest"],
        [
          request("POST", "/v1/agents", { body: `{"name":${"[".repeat(200_000)}${"]".repeat(200_000)}}` }),
          400,
          "BadRequest",
        ],
        [
          request("POST", "/v1/agents", { body: '{"name":"bob","__proto__":{"chain":"x"}}' }),
          400,
          "BadRequest",
        ],
        [request("POST", "/v1/agents", { body: '{"__proto__":{"name":"bob"}}' }), 400, "BadRequest"],
        [request("POST", "/v1/agents", { body: '{"name":"bob","\\ud800":1}' }), 400, "BadRequest"],
        [request("POST", "/v1/agents", { body: '{"name":"bob"} x' }), 400, "BadRequest"],
        [request("GET", "/v1/agents", { body: '{"x":1}' }), 400, "BadRequest"],
        ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "BadRequest"],
        ["GET /v1/agents HTTP/1.0\r\n\r\n", 421, "Misdirected"],
      ]
      for (const [bytes, status, tag] of cases) {
        const answer = yield* answerTo(bytes)
        const what = `${bytes.slice(0, 300)}\n${answer.text.slice(0, 600)}`
        assert.equal(answer.status, status, what)
        assert.equal(answer.tag, tag, what)
      }
      const headOnly = yield* answerTo(request("HEAD", "/v1/agents"))
      assert.deepEqual([headOnly.status, headOnly.json], [200, {}])
      assert.deepEqual((yield* call("GET", "/v1/agents")).json, [agent], "nothing was done")
    }),
)

it.scopedLive("a name is found however it is encoded", () =>
  Effect.gen(function* () {
    const { request, answerTo, call } = yield* withAgent
    assert.equal((yield* answerTo(request("GET", "/v1/agents/%61%6C%69%63%65"))).json.name, "alice")
    const name = `b${"-._".repeat(21)}`
    assert.equal((yield* call("POST", "/v1/agents", { name })).status, 201)
    const encoded = [...name].map((each) => `%${each.charCodeAt(0).toString(16)}`).join("")
    assert.equal((yield* answerTo(request("GET", `/v1/agents/${encoded}`))).json.name, name)
  }),
)
