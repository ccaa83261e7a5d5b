import { strict as assert } from "node:assert"
import { oneLine, printable, printableJson, printableTexts } from "@waiaas/domain/Printable"
import { it } from "vitest"

/** Every kind of character that a terminal, or a reader's eye, obeys. */
export const evil = "\u001b]0;title\u0007\u001b[2K\r\u009b1A\u007f\u202egnp.\u2028\u{e0041}\ud800"

it("what a terminal would obey is shown as what it is made of", () => {
  assert.equal(
    printable(evil),
    "\\u001b]0;title\\u0007\\u001b[2K\\u000d\\u009b1A\\u007f\\u202egnp.\\u2028\\u{e0041}\\ud800",
  )
  assert.equal(oneLine("a\nb\tc"), "a\\u000ab\\u0009c")
  assert.equal(oneLine("x".repeat(500)).length, 203)
})

it("text of the world's languages stays as it is", () => {
  for (const text of ["Zürich 東京 नमस्ते 👩‍🚀", "tab\there", "/home/名前/.waiaas"])
    assert.equal(printable(text), text)
})

it("no line of another's text passes for a line of ours", () => {
  assert.equal(printable("a\nnext: rm\r\n  | said\n"), "a\n  next: rm\n  | said\n")
})

it("JSON is the same value, and has nothing in it that a terminal obeys", () => {
  const text = printableJson({ evil })
  assert.match(text, /^[\x20-\x7e]*$/)
  assert.deepEqual(JSON.parse(text), { evil })
})

it("every text of a value is printable, however deep", () => {
  assert.deepEqual(printableTexts({ a: ["\u001b"], b: { c: "\u001b" }, d: 1, e: null }), {
    a: ["\\u001b"],
    b: { c: "\\u001b" },
    d: 1,
    e: null,
  })
})
