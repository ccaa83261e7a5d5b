import { strict as assert } from "node:assert"
import { describe, it } from "vitest"
import { hoistGlobals, plainStatus } from "../src/Arguments.ts"

const read = (line: string) => plainStatus(hoistGlobals(line.split(" ")))

describe("a plain status", () => {
  it("has its global options wherever they stand", () => {
    assert.deepEqual(read("status"), { dataDir: undefined, quiet: false, json: false })
    assert.deepEqual(read("status --json --data-dir /d"), {
      dataDir: "/d",
      quiet: false,
      json: true,
    })
    assert.deepEqual(read("-q status"), { dataDir: undefined, quiet: true, json: false })
  })

  it("is nothing else than that: the library reads the rest", () => {
    for (const line of [
      "status --help",
      "status extra",
      "upgrade --status",
      "agent status",
      "--log-level debug status",
      "--json --json status",
      "--data-dir=/d status",
      "--data-dir /d --data-dir /e status",
      "--data-dir status",
      "--data-dir -x status",
      "-- status",
    ])
      assert.equal(read(line), undefined, line)
  })
})
