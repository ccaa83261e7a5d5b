import { strict as assert } from "node:assert"
import { describe, it } from "vitest"
import { columnsOf, fitLines } from "../src/TerminalLines.ts"

describe("lines for a terminal", () => {
  it("are broken between words, with what goes on set in, and lose nothing", () => {
    const text = [
      "Keys are sealed under a key file in /home/op/.waiaas/keystore. Back that directory up yourself.",
      "      done in 5.9 s: schema 4 -> 5 rehearsed, expected downtime about 2.1 s, 12.0 MB of data",
      "short",
    ].join("\n")
    for (const columns of [40, 60, 80]) {
      const lines = fitLines(text, columns).split("\n")
      assert.ok(
        lines.every((line) => line.length <= columns),
        lines.join("\n"),
      )
      assert.equal(lines.join(" ").replace(/ +/g, " "), text.replaceAll("\n", " ").replace(/ +/g, " "))
    }
    assert.equal(
      fitLines("      done in 5.9 s: schema 4 -> 5 rehearsed, and more of it", 40),
      "      done in 5.9 s: schema 4 -> 5\n        rehearsed, and more of it",
    )
  })

  it("keep a command that is to be typed in one piece, even where it is longer than the terminal", () => {
    const long = "waiaas start --background --data-dir '/home/a longer one/of the operator/.waiaas'"
    for (const [line, command] of [
      [`next: ${long}`, long],
      [
        "next: npm view @waiaas/cli versions --registry https://npm.example.org/",
        "npm view @waiaas/cli versions --registry https://npm.example.org/",
      ],
      [`Nothing was changed. next: ${long}`, long],
      [`daemon: stopped (${long})`, `(${long})`],
      [
        "Remove the cause, which the message names, then `chmod go= /home/op/.waiaas/api.token`.",
        "`chmod go= /home/op/.waiaas/api.token`.",
      ],
      [
        "warning: another build is installed than the one that runs (waiaas stop && waiaas start --background)",
        "(waiaas stop && waiaas start --background)",
      ],
      [
        "treasury is suspended. To let it sign again, type: waiaas agent resume treasury",
        "waiaas agent resume treasury",
      ],
      [
        "To let it sign again: waiaas agent resume 'the treasury' --data-dir '/home/a longer one'\\''s/data' and so on",
        "waiaas agent resume 'the treasury' --data-dir '/home/a longer one'\\''s/data'",
      ],
      [
        "run 3 to 2.1.0 was cut off; sudo -u op waiaas upgrade --to 2.1.0 recovers it and goes on",
        "sudo -u op waiaas upgrade --to 2.1.0",
      ],
    ] as const) {
      const lines = fitLines(line, 44).split("\n")
      assert.ok(
        lines.some((each) => each.includes(command)),
        lines.join("\n"),
      )
      assert.ok(lines.length > 1)
    }
  })

  it("count no colours, and keep the alignment of what fits", () => {
    const red = "\u001b[31merror\u001b[0m: "
    assert.equal(fitLines(`${red}${"a".repeat(33)}`, 40), `${red}${"a".repeat(33)}`)
    assert.equal(fitLines("Backup:   /a/b", 40), "Backup:   /a/b")
    assert.equal(fitLines(`Backup:   /${"b".repeat(60)}`, 40), `Backup:\n  /${"b".repeat(60)}`)
  })

  it("stay as they are where there is no terminal, or none of a width", () => {
    const line = "word ".repeat(40)
    assert.equal(fitLines(line, columnsOf({})), line)
    assert.equal(fitLines(line, columnsOf({ isTTY: false, columns: 40 })), line)
    assert.equal(fitLines(line, columnsOf({ isTTY: true, columns: 0 })), line)
    assert.ok(fitLines(line, columnsOf({ isTTY: true, columns: 40 })).includes("\n"))
  })
})
