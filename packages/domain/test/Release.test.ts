import { strict as assert } from "node:assert"
import { it } from "vitest"
import { notesOf } from "../src/Release.ts"

it("release notes are an https address that a person can open, or they are not shown", () => {
  const waiaas = { upgradeProtocol: 1, schema: { minimum: 3, latest: 5 }, stops: [] }
  const notes = "https://example.org/CHANGELOG.md"
  assert.equal(notesOf({ waiaas: { ...waiaas, notes } }), notes)
  for (const odd of [
    undefined,
    "",
    "javascript:alert(1)",
    "http://example.org",
    "https://a b",
    `https://${"a".repeat(300)}`,
  ])
    assert.equal(notesOf({ waiaas: { ...waiaas, notes: odd } }), null)
  assert.equal(notesOf({}), null)
})
