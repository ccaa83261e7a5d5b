import { assert, it } from "@effect/vitest"
import { agentsOfKeyFiles } from "@waiaas/domain/KeyFile"

it("only files that are named after an agent's id are sealed keys", () => {
  const id = "0190c1a2-3b4c-4d5e-8f60-718293a4b5c6"
  assert.deepStrictEqual(
    agentsOfKeyFiles([`${id}.json`, "master.json", "key", `.${id}.json.tmp`, `${id}.json.bak`, id, "a.json"]),
    [id],
  )
})
