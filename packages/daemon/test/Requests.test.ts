/** What a request says is what is done: nothing of it is replaced, dropped or read in two ways. */
import { strict as assert } from "node:assert"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { SignRequest } from "@waiaas/domain/DaemonApi"
import { explainFailure } from "@waiaas/domain/DaemonApiFailure"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { ask, startDaemon } from "./support.ts"

/** A daemon with an agent, and a way to send bytes as they are. */
const withAgent = Effect.gen(function* () {
  const daemon = yield* startDaemon()
  const { port, token, call } = daemon
  const agent = (yield* call("POST", "/v1/agents", { name: "alice" })).json
  const send = (path: string, body: string | Buffer) =>
    ask(port, path, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body,
    })
  return { ...daemon, agent, send }
})

const bytes = (before: string, middle: ReadonlyArray<number>, after: string) =>
  Buffer.concat([Buffer.from(before), Buffer.from(middle), Buffer.from(after)])

it.scopedLive("a message that is not well-formed Unicode is refused, and not signed as another one", () =>
  Effect.gen(function* () {
    const { send } = yield* withAgent
    const path = "/v1/agents/alice/sign"
    const bodies = [
      '{"message":"\\ud800"}',
      '{"message":"a\\udfffb"}',
      '{"message":"\\udc00\\ud800"}',
      bytes('{"message":"', [0xff], '"}'),
      bytes('{"message":"', [0xc0, 0x80], '"}'),
      bytes('{"message":"', [0xe0, 0x80, 0xaf], '"}'),
      bytes('{"message":"', [0xed, 0xa0, 0x80], '"}'),
      bytes('{"message":"', [0xf4, 0x90, 0x80, 0x80], '"}'),
      bytes('{"message":"', [0xe2, 0x82], '"}'),
      bytes("", [0xef, 0xbb, 0xbf], '{"message":"x"}'),
      bytes("", [0xff, 0xfe], '{"message":"x"}'),
    ]
    for (const body of bodies) {
      const answer = yield* send(path, body)
      assert.equal(answer.status, 400, String(body))
      assert.equal(answer.json._tag, "BadRequest")
      assert.equal(answer.json.signature, undefined)
    }
    const signatures = new Set<string>()
    for (const message of ["\u{1F600}", "\uFFFD", "\u0000", "\uFEFFx", "x", "é", "e\u0301"]) {
      const answer = yield* send(path, JSON.stringify({ message }))
      assert.equal(answer.status, 200, answer.text)
      signatures.add(answer.json.signature)
    }
    assert.equal(signatures.size, 7, "each message has a signature of its own")
    const escaped = yield* send(path, '{"message":"\\ud83d\\ude00"}')
    assert.ok(signatures.has(escaped.json.signature), "a whole pair is one character, however it is written")
  }),
)

it.scopedLive(
  "an owner address that is not well-formed Unicode is refused, and not stored as another one",
  () =>
    Effect.gen(function* () {
      const { send, call } = yield* withAgent
      for (const body of [
        '{"name":"bob","ownerAddress":"\\ud800"}',
        bytes('{"name":"bob","ownerAddress":"', [0xff], '"}'),
        '{"name":"bob","ownerAddress":""}',
      ])
        assert.equal((yield* send("/v1/agents", body)).status, 400)
      assert.equal((yield* call("GET", "/v1/agents")).json.length, 1)
      const stored = yield* call("POST", "/v1/agents", { name: "bob", ownerAddress: "\u{1F600}" })
      assert.equal(stored.json.ownerAddress, "\u{1F600}")
    }),
)

it.scopedLive(
  "a field that an operation does not have is refused in every request, and nothing is done",
  () =>
    Effect.gen(function* () {
      const { agent, send, call, context } = yield* withAgent
      const sql = Context.get(context, SqlClient)
      const requests: ReadonlyArray<readonly [path: string, body: object]> = [
        ["/v1/agents", { name: "bob", ownerAdress: "0xabc" }],
        ["/v1/agents", { name: "bob", id: agent.id }],
        ["/v1/agents", { name: "bob", __proto__: null, constructor: 1 }],
        ["/v1/agents/alice/sign", { message: "x", encoding: "hex" }],
        ["/v1/agents/alice/suspend", { until: 1 }],
        ["/v1/agents/alice/resume", { at: 1 }],
        ["/v1/version/check", { registry: "http://x" }],
        ["/v1/version/notified", { version: "9.9.9", at: 1 }],
        ["/v1/daemon/shutdown", { delay: 60 }],
      ]
      for (const [path, body] of requests) {
        const answer = yield* send(path, JSON.stringify(body))
        assert.equal(answer.status, 400, `${path}: ${answer.text}`)
        assert.equal(answer.json._tag, "BadRequest")
      }
      const named = yield* send("/v1/agents", '{"name":"bob","ownerAdress":"0xabc"}')
      assert.match(named.json.message, /^ownerAdress: is unexpected/)
      assert.deepEqual((yield* call("GET", "/v1/agents")).json, [agent])
      assert.deepEqual(yield* sql`SELECT * FROM key_value_store`, [])
      assert.equal(
        (yield* call("POST", "/v1/agents/alice/suspend", {})).status,
        200,
        "nothing is in this body",
      )
    }),
)

it.scopedLive("a text that is too short or too long is refused in words, which do not repeat it", () =>
  Effect.gen(function* () {
    const { send } = yield* withAgent
    for (const [path, body, words] of [
      ["/v1/agents/alice/sign", { message: "" }, "message: Expected 1 to 65536 characters."],
      ["/v1/agents/alice/sign", { message: "s".repeat(70_000) }, "message: Expected 1 to 65536 characters."],
      ["/v1/agents", { name: "bob", ownerAddress: "" }, "ownerAddress: Expected 1 to 128 characters."],
      [
        "/v1/agents",
        { name: "bob", ownerAddress: "o".repeat(129) },
        "ownerAddress: Expected 1 to 128 characters.",
      ],
    ] as const) {
      const answer = yield* send(path, JSON.stringify(body))
      assert.equal(answer.status, 400)
      assert.equal(answer.json.message, words)
    }
  }),
)

it("what the command itself refuses to send is said in one line of a bounded length", () => {
  const failureOf = (message: unknown) => {
    const decoded = Schema.decodeUnknownEither(SignRequest)({ message })
    return Either.match(decoded, {
      onLeft: (error) => explainFailure("http://127.0.0.1:3100", error).message,
      onRight: () => assert.fail("it was taken"),
    })
  }
  assert.equal(failureOf("x".repeat(70_000)), "message: Expected 1 to 65536 characters.")
  assert.ok(failureOf({ long: "x".repeat(70_000) }).length < 300)
})

it.scopedLive("a request that can be read in two ways is refused", () =>
  Effect.gen(function* () {
    const { send } = yield* withAgent
    const path = "/v1/agents/alice/sign"
    for (const body of [
      '{"message":"pay 1","message":"pay 1000"}',
      '{"message":"pay 1","\\u006dessage":"pay 1000"}',
      '{"message" : "a" , "message" : "b"}',
    ]) {
      const answer = yield* send(path, body)
      assert.equal(answer.status, 400)
      assert.match(answer.json.message, /has "message" twice/)
    }
    for (const message of ['{"a":1,"a":2}', '","message":"', "\\", '"'])
      assert.equal((yield* send(path, JSON.stringify({ message }))).status, 200)
  }),
)
