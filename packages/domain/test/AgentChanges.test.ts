/** What a rollback says of the agents: each sentence in one and in many, and how many are not named. */
import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { type AgentChanges, changesInWords, isSame, keylessInWords } from "../src/AgentChanges.ts"

const none = { count: 0, agents: [] }
const nothing: AgentChanges = {
  before: 3,
  now: 3,
  added: none,
  removed: none,
  suspended: none,
  resumed: none,
  changed: none,
  keyless: none,
  withoutFile: 0,
}
const some = (...names: ReadonlyArray<string>) => ({
  count: names.length,
  agents: names.map((name) => ({ id: name, name })),
})
const many = { count: 102, agents: some("a", "b").agents }
const words = (changes: Partial<AgentChanges>, resume = false) =>
  changesInWords({ ...nothing, ...changes }, resume)

it("nothing that changed is said too", () => {
  assert.deepEqual(words({}), ["no agent was added, removed, suspended, resumed or changed."])
})

it("one agent and many, by name, and the rest by number", () => {
  assert.deepEqual(words({ added: some("a") }), ["1 agent was added: a. It is not in that backup."])
  assert.deepEqual(words({ added: many }), [
    "102 agents were added: a, b and 100 more. They are not in that backup.",
  ])
  assert.deepEqual(words({ removed: some("a") }), ["1 agent was removed: a. It comes back."])
  assert.deepEqual(words({ removed: some("a", "b") }), ["2 agents were removed: a, b. They come back."])
  assert.deepEqual(words({ resumed: some("a") }), ["1 agent was resumed: a. It is suspended again."])
  assert.deepEqual(words({ resumed: some("a", "b") }), [
    "2 agents were resumed: a, b. They are suspended again.",
  ])
  const columns = (name: string) => ({ id: name, name, columns: ["chain", "network"] })
  assert.deepEqual(words({ changed: { count: 1, agents: [columns("a")] } }), [
    "1 agent was changed: a (chain, network). It gets its earlier values back.",
  ])
  assert.deepEqual(words({ changed: { count: 3, agents: [columns("a"), columns("b")] } }), [
    "3 agents were changed: a (chain, network), b (chain, network) and 1 more. They get their earlier values back.",
  ])
})

it("ten agents are named at most, of however many", () => {
  const names = Array.from({ length: 12 }, (_, index) => `a${index}`)
  const ten = "a0, a1, a2, a3, a4, a5, a6, a7, a8, a9"
  assert.deepEqual(words({ removed: some(...names.slice(0, 10)) }), [
    `10 agents were removed: ${ten}. They come back.`,
  ])
  assert.deepEqual(words({ removed: { ...some(...names), count: 102 } }), [
    `102 agents were removed: ${ten} and 92 more. They come back.`,
  ])
  const { agents } = some(...names)
  const changed = { count: 12, agents: agents.map((agent) => ({ ...agent, columns: ["chain"] })) }
  assert.match(words({ changed })[0] ?? "", /a9 \(chain\) and 2 more\. They get/)
  assert.match(keylessInWords({ ...nothing, keyless: some(...names) }, "/k") ?? "", /a9 and 2 more\.$/)
})

it("those that were suspended stay so, unless they are to sign again", () => {
  assert.deepEqual(words({ suspended: some("a") }), [
    "1 agent was suspended: a. It stays suspended (--resume-suspended lets it sign again).",
  ])
  assert.deepEqual(words({ suspended: some("a", "b") }), [
    "2 agents were suspended: a, b. They stay suspended (--resume-suspended lets them sign again).",
  ])
  assert.deepEqual(words({ suspended: some("a") }, true), [
    "1 agent was suspended: a. It signs again, as --resume-suspended says.",
  ])
  assert.deepEqual(words({ suspended: some("a", "b") }, true), [
    "2 agents were suspended: a, b. They sign again, as --resume-suspended says.",
  ])
})

it("an agent without its key is named, with how many there are", () => {
  assert.equal(keylessInWords(nothing, "/k"), null)
  assert.equal(
    keylessInWords({ ...nothing, keyless: some("a") }, "/k"),
    "1 of the 3 agents in that backup cannot sign here, its sealed key in /k is missing or damaged: a.",
  )
  assert.match(
    keylessInWords({ ...nothing, keyless: some("a", "b") }, "/k") ?? "",
    /, their sealed keys in \/k are missing or damaged: a, b\.$/,
  )
})

it("two comparisons are the same only where all is that was written; the keys are looked at once", () => {
  assert.ok(isSame(nothing, { ...nothing }))
  assert.ok(isSame(nothing, { ...nothing, keyless: some("a"), withoutFile: 1 }))
  for (const other of [{ before: 4 }, { suspended: some("a") }, { changed: { count: 1, agents: [] } }])
    assert.ok(!isSame(nothing, { ...nothing, ...other }))
})
