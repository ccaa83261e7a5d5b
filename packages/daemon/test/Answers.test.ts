/** Answers that no endpoint gives: their bytes, their words, and which failure becomes which. */
import { strict as assert } from "node:assert"
import type { HttpApiDecodeError } from "@effect/platform/HttpApiError"
import { RequestError, RouteNotFound } from "@effect/platform/HttpServerError"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import { it } from "@effect/vitest"
import { ListenFailed } from "@waiaas/domain/RunErrors"
import * as Cause from "effect/Cause"
import { describe, HttpProblem, problemOf, problems, rawAnswer, toResponse } from "../src/Http/Answers.ts"

const issues = (
  ...found: ReadonlyArray<{ readonly path: ReadonlyArray<string>; readonly message: string }>
) => ({ issues: found }) as unknown as HttpApiDecodeError

it("a request that is not as it should be: the first place, one line, in a bounded length", () => {
  assert.equal(describe(issues()), "The request is not what this operation takes.")
  assert.equal(describe(issues({ path: [], message: "is missing" })), "is missing.")
  assert.equal(
    describe(issues({ path: ["a", "b"], message: "is missing.\nand more" }, { path: ["c"], message: "x" })),
    "a.b: is missing.",
  )
  assert.equal(describe(issues({ path: [], message: "x".repeat(200) })), `${"x".repeat(200)}.`)
  assert.equal(describe(issues({ path: [], message: "x".repeat(201) })), `${"x".repeat(200)}...`)
})

it("a failure is the answer that it names; what is nobody's is an inner fault", () => {
  const request = { url: "/v1/agents?all=1" } as HttpServerRequest
  const of = (error: unknown, methods: ReadonlyArray<string> = []) =>
    problemOf(Cause.fail(error), () => methods)
  assert.equal(of(problems.held), problems.held)
  assert.equal(of(new RouteNotFound({ request })), problems.notFound)
  const asked: Array<string> = []
  const wrong = problemOf(Cause.fail(new RouteNotFound({ request })), (path) => {
    asked.push(path)
    return ["GET", "POST"]
  })
  assert.deepEqual([wrong?.status, wrong?.headers?.allow, asked], [405, "GET, POST", ["/v1/agents"]])
  assert.equal(of(new RequestError({ request, reason: "Decode" }))?.status, 400)
  assert.equal(of(new Error("inner")), null)
  assert.equal(
    problemOf(Cause.die("inner"), () => []),
    null,
  )
})

it("an answer is JSON that nobody stores or guesses, in the bytes that it says", () => {
  const failure = new HttpProblem({ status: 431, tag: "T", message: "größer", next: "n" })
  const [head = "", body = ""] = rawAnswer(failure).split("\r\n\r\n")
  const lines = head.split("\r\n")
  assert.equal(lines[0], "HTTP/1.1 431 Request Header Fields Too Large")
  for (const line of [
    "connection: close",
    "cache-control: no-store",
    "x-content-type-options: nosniff",
    `content-length: ${Buffer.byteLength(body)}`,
  ])
    assert.ok(lines.includes(line), line)
  assert.deepEqual(JSON.parse(body), { _tag: "T", message: "größer", next: "n" })
  const answer = toResponse(problems.unauthorized)
  assert.equal(answer.status, 401)
  assert.equal(answer.headers["www-authenticate"], "Bearer")
  assert.match(answer.headers["content-type"] ?? "", /^application\/json/)
})

it("a port that cannot be had is named with its cause", () => {
  const said = (code: string) => new ListenFailed({ hostname: "h", port: 1, code }).message
  assert.equal(said("EADDRINUSE"), "Could not listen on h port 1: another program listens there.")
  assert.equal(said("EACCES"), "Could not listen on h port 1: this user may not listen there.")
  assert.equal(said("EOTHER"), "Could not listen on h port 1: EOTHER.")
  assert.equal(new ListenFailed({ hostname: "h", port: 1, code: "E" }).exitCode, 1)
})
