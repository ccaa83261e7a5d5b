import assert from "node:assert/strict"
import { describe, it } from "vitest"
import { findingsIn } from "../../scripts/lint.mts"

const service = "packages/services/src/Some.ts"

/** Texts are put together, so that this file itself has no finding. */
const caught: ReadonlyArray<readonly [rule: string, path: string, text: string]> = [
  ["barrel import", service, `import { Effect } from ${'"effect"'}`],
  ["barrel import", "test/scenarios/01.test.ts", `import { NodeRuntime } from ${'"@effect/platform-node"'}`],
  ["swallowed failure", service, "yield* Effect.ignore(act)"],
  ["swallowed failure", service, "promise.catch(() => undefined)"],
  ["catchAllCause", service, "Effect.catchAllCause((cause) => handle(cause))"],
  ["process.env", service, "const home = process.env.HOME"],
  ["system clock", service, "const now = Date.now()"],
  ["global fetch", service, "await fetch(url)"],
  ["API token", service, "const token = yield* readToken"],
  ["fetch client", service, "Layer.provide(layer, FetchHttpClient.layer)"],
  ["node:fs", service, 'import { readFile } from "node:fs/promises"'],
  ["registry host", "docs/guide.md", `see https://registry.${"npmjs"}.org/x`],
  ["lockfile address", "package-lock.json", '"resolved": "https://example.org/x.tgz"'],
  ["skipped or focused test", "test/scenarios/01.test.ts", `it.${"only"}("x", () => {})`],
  ["words", "docs/guide.md", "the operator is told"],
  ["words", service, "/** Tells who has it, and wishes for more. */"],
  ["words", "docs/guide.md", "the version of before stands"],
  ["words", "test/scenarios/01.test.ts", 'it("tells what it is", () => {'],
  ["constant time", "packages/daemon/src/ApiToken.ts", "authorization === known"],
  ["constant time", "packages/daemon/src/ApiToken.ts", "digest(authorization).equals(expected)"],
  ["layering", "packages/domain/src/Some.ts", 'import { Backup } from "@waiaas/services/Backup"'],
  ["file length", service, "const x = 1\n".repeat(401)],
]

const clean: ReadonlyArray<readonly [path: string, text: string]> = [
  [service, 'import * as Effect from "effect/Effect"'],
  ["test/scenarios/01.test.ts", 'import { it } from "@effect/vitest"'],
  [service, "yield* client.fetch(url)"],
  ["docs/guide.md", "what is reported is in place"],
  ["test/scenarios/01.test.ts", 'it("says what it is", () => {'],
  [
    "packages/daemon/src/ApiToken.ts",
    "authorization !== undefined && timingSafeEqual(digest(authorization), expected)",
  ],
  ["packages/services/src/Some.ts", 'import { Version } from "@waiaas/domain/Version"'],
  ["package-lock.json", '"resolved": "packages/cli",'],
  [service, "const x = 1\n".repeat(400)],
]

describe("house rules", () => {
  for (const [rule, path, text] of caught) {
    it(`${rule}: ${text.slice(0, 40).trim()}`, () => {
      const findings = findingsIn(path, text)
      assert.equal(findings.length, 1, findings.join("\n"))
      assert.match(findings[0] ?? "", new RegExp(`^${path}:\\d+: ${rule}: `))
    })
  }

  it("leave good code alone", () => {
    for (const [path, text] of clean) assert.deepEqual(findingsIn(path, text), [])
  })
})
