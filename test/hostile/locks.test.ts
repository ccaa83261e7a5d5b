/** Lock files that are none: a typed error that names the file, never a lock that two can have. */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { ExclusiveLock, holderPath } from "@waiaas/services/platform/ExclusiveLock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { layerDataDir } from "../../packages/services/test/support.ts"

const damages: Readonly<Record<string, (path: string) => void>> = {
  garbage: (path) => writeFileSync(path, "this is no lock\n".repeat(400)),
  "a directory": (path) => mkdirSync(path),
  "a link to nowhere": (path) => symlinkSync("/nowhere/at/all", path),
  "a link to a directory": (path) => symlinkSync("/tmp", path),
  "a database's first half": (path) => writeFileSync(path, "SQLite format 3\0"),
}

describe("a lock file that is", () => {
  for (const [name, damage] of Object.entries(damages))
    it.scopedLive(`${name} cannot be had, and the error names it`, () =>
      Effect.gen(function* () {
        const lock = yield* ExclusiveLock
        const { paths } = yield* DataDir
        const path = join(paths.upgrade, "some.lock")
        damage(path)
        for (const attempt of [
          Effect.scoped(lock.acquire({ lock: "data", path, what: "a test" })),
          Effect.asVoid(lock.isHeld(path)),
        ]) {
          const result = yield* Effect.either(attempt)
          assert.isTrue(Either.isLeft(result))
          if (Either.isLeft(result)) {
            assert.include(["FileFailed", "LockBusy"], result.left._tag)
            assert.include(result.left.message, path)
          }
        }
      }).pipe(Effect.provide(layerDataDir())),
    )

  it.scopedLive("empty is the normal one, for all that its holder's facts say", () =>
    Effect.gen(function* () {
      const lock = yield* ExclusiveLock
      const { paths } = yield* DataDir
      const path = join(paths.upgrade, "some.lock")
      writeFileSync(path, "")
      for (const facts of ["", "{", '{"pid":"one"}', "null", "\0\0"]) {
        writeFileSync(holderPath(path), facts)
        assert.isTrue(Option.isNone(yield* lock.holder(path)))
        yield* Effect.scoped(lock.acquire({ lock: "data", path, what: "a test" }))
        assert.isFalse(yield* lock.isHeld(path))
      }
    }).pipe(Effect.provide(layerDataDir())),
  )
})
