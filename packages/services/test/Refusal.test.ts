/** A database that cannot be written for a reason of its place is not called broken. */
import { mkdirSync, writeFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import { refusalAt } from "@waiaas/services/platform/Shortage"
import * as Effect from "effect/Effect"
import { layerPlatform, temporaryDirectory } from "./support.ts"

it.scopedLive(
  "what a place refuses is named with its path and code, and a place that refuses nothing is none",
  () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      mkdirSync(`${root}/data`)
      writeFileSync(`${root}/data/waiaas.db`, "")
      assert.isUndefined(refusalAt(`${root}/data/waiaas.db`))
      // What is missing is said by whoever opens it.
      assert.isUndefined(refusalAt(`${root}/none/waiaas.db`))
      // Nobody may write here, root or not.
      const { problem, remedy } = refusalAt("/proc/sys/kernel/version") ?? { problem: "", remedy: "" }
      assert.match(problem, /^Could not write \/proc\/sys\/kernel: .* \((EACCES|EPERM|EROFS)\)$/)
      assert.match(remedy, /\/proc\/sys\/kernel/)
    }).pipe(Effect.provide(layerPlatform())),
)
