import assert from "node:assert/strict"
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, it } from "vitest"
import { root } from "../../scripts/lib/repo.mts"
import { run } from "../../scripts/lib/run.mts"
import { compiler } from "../../scripts/typecheck.mts"

describe("typecheck", () => {
  const directory = mkdtempSync(join(tmpdir(), "waiaas-typecheck-"))
  afterAll(() => rmSync(directory, { recursive: true }))
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"))
  writeFileSync(
    join(directory, "tsconfig.json"),
    JSON.stringify({
      extends: join(root, "tsconfig.base.json"),
      compilerOptions: { outDir: "dist", types: [] },
      include: ["*.mts"],
    }),
  )
  const compile = async (body: string) => {
    writeFileSync(join(directory, "code.mts"), `import * as Effect from "effect/Effect"\n${body}\n`)
    return run(await compiler(), ["--project", directory, "--noEmit", "--pretty", "false"], {
      cwd: directory,
    })
  }

  it("refuses an Effect that nobody runs", async () => {
    const result = await compile(`export const act = () => {\n  Effect.log("never")\n}`)
    assert.match(result.stdout, /code\.mts\(3,3\): error .*floatingEffect/)
    assert.notEqual(result.code, 0)
  })

  it("takes one that is returned", async () => {
    const result = await compile(`export const act = () => Effect.log("run by the caller")`)
    assert.equal(result.code, 0, result.stdout)
  })
})
