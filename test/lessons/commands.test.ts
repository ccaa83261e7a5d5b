/** What the commands say, as an operator hears them. */
import { strict as assert } from "node:assert"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { installedMachine } from "../support/scoped.mts"

it.scopedLive("what to type next is for the data directory that was named, wherever a command fails", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine({ start: false })
    yield* Effect.promise(async () => {
      const place = join(machine.home, "other")
      const named = ["--data-dir", place]
      const nextOf = async (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
        /^ *next: (.*)$/m.exec((await machine.waiaas(args, { env })).stderr)?.[1]
      // Without a data directory: the command and the small file of a plain status.
      assert.equal(await nextOf(["backup", "list", ...named]), `waiaas init --data-dir ${place}`)
      assert.equal(await nextOf(["status", ...named]), `waiaas init --data-dir ${place}`)
      await machine.mustWaiaas(["init", ...named])
      const listed = `waiaas backup list --data-dir ${place}`
      assert.equal(await nextOf(["backup", "verify", "none", ...named]), listed)
      assert.equal(await nextOf(["backup", "verify", "none", "--data-dir", "other"]), listed)
      assert.equal(await nextOf(["backup", "verify", "none"], { WAIAAS_DATA_DIR: place }), listed)
      assert.equal(await nextOf(["backup", "verify", "none"]), "waiaas backup list")
      const json = await machine.waiaas(["backup", "verify", "none", "--json", `--data-dir=${place}`])
      assert.equal(JSON.parse(json.stdout).next, listed)
      const start = `waiaas start --background --data-dir ${place}`
      assert.equal(await nextOf(["health", ...named]), start)
      assert.equal(await nextOf(["agent", "list", ...named]), start)
      // Said by the daemon itself.
      rmSync(join(place, "data/waiaas.db"))
      assert.equal(await nextOf(["start", ...named]), listed)
      assert.equal(await nextOf(["start", "--background", ...named]), listed)
    })
  }),
)
