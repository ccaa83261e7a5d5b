/**
 * Protocol 1 as it is frozen: a request and its reply in each file of `tool-protocol`. What is there never changes; what
 * comes later gets a file of its own. Either side may be the older one.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { AgentChanges, UniqueWrites } from "@waiaas/domain/AgentChanges"
import {
  Comparison,
  Description,
  Examination,
  errorOf,
  Migration,
  refusedWith,
  ToolReply,
  ToolRequest,
} from "@waiaas/domain/ToolProtocol"
import * as Schema from "effect/Schema"

const directory = join(import.meta.dirname, "tool-protocol")
interface Golden {
  readonly request: { readonly _tag: ToolRequest["_tag"] }
  readonly reply: { readonly _tag: ToolReply["_tag"]; readonly result?: unknown }
}
const goldens = readdirSync(directory).map((file): readonly [string, Golden] => [
  file,
  JSON.parse(readFileSync(join(directory, file), "utf8")),
])

const results: Record<ToolRequest["_tag"], Schema.Schema.AnyNoContext> = {
  Describe: Description,
  Examine: Examination,
  Compare: Comparison,
  Checkpoint: Schema.Null,
  CopyLive: Schema.Null,
  Migrate: Migration,
  CompareAgents: AgentChanges,
  KeepSuspended: Schema.Null,
  FindUnique: UniqueWrites,
}
const strict = { onExcessProperty: "error" } as const

describe("tool protocol 1", () => {
  it("has a frozen request and reply for each act", () => {
    assert.sameMembers(
      [...new Set(goldens.map(([, { request }]) => request._tag))],
      Object.keys(results) as Array<ToolRequest["_tag"]>,
    )
  })

  for (const [file, { request, reply }] of goldens)
    it(`reads and writes ${file} as it is`, () => {
      const decoded = Schema.decodeUnknownSync(ToolRequest, strict)(request)
      assert.deepStrictEqual<unknown>(Schema.encodeSync(ToolRequest)(decoded), request)
      const read = Schema.decodeUnknownSync(ToolReply, strict)(reply)
      if (read._tag === "Refused") {
        assert.deepStrictEqual<unknown>(refusedWith(errorOf(read)), reply)
        return
      }
      const schema = results[request._tag]
      const result = Schema.decodeUnknownSync(schema, strict)(reply.result)
      assert.deepStrictEqual<unknown>(Schema.encodeSync(schema)(result), reply.result)
    })
})
