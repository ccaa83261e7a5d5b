/** A tool works only for the run that asked for it, and under the lock that a recovery waits for. */
import { strict as assert } from "node:assert"
import { join } from "node:path"
import { it } from "@effect/vitest"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { underGuard } from "../src/ToolGuard.ts"
import { layerPlatform, temporaryDirectory } from "./support.ts"

const guarded = (args: (path: string) => ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const path = join(yield* temporaryDirectory, "tool.lock")
    const lock = yield* ExclusiveLock
    // What a recovery does: it waits until nobody shares it any more.
    const isShared = (at: string) => Effect.map(Effect.either(lock.drain(at, "10 millis")), Either.isLeft)
    const seen: Array<boolean> = []
    const result = yield* Effect.either(
      underGuard(
        args(path),
        Effect.tap(isShared(path), (shared) => Effect.sync(() => seen.push(shared))),
      ),
    )
    return { seen, result, path, sharedAfter: yield* isShared(path) }
  }).pipe(Effect.provide(ExclusiveLock.layer), Effect.provide(layerPlatform("/nowhere")))

it.scopedLive("a lock that is named is shared for as long as the act takes, and no longer", () =>
  Effect.gen(function* () {
    const { seen, result, sharedAfter } = yield* guarded((path) => [
      "--upgrader",
      String(process.ppid),
      "--lock",
      path,
    ])
    assert.ok(Either.isRight(result))
    assert.deepEqual([seen, sharedAfter], [[true], false])
  }),
)

it.scopedLive("nothing is done for a run that is gone, and its lock is free again", () =>
  Effect.gen(function* () {
    for (const upgrader of [["--upgrader", String(process.ppid + 1)], ["--upgrader", ""], []]) {
      const { seen, result, path, sharedAfter } = yield* guarded((lock) => [
        ...upgrader,
        "--lock",
        lock,
        "--more",
      ])
      assert.deepEqual([seen, sharedAfter], [[], false])
      assert.ok(Either.isLeft(result) && result.left._tag === "DatabaseFailed")
      assert.ok(result.left.message.includes(path) && result.left.message.includes("is gone"))
    }
  }),
)

it.scopedLive("without a lock nothing is guarded", () =>
  Effect.gen(function* () {
    const { seen, result } = yield* guarded(() => ["--upgrader", "1"])
    assert.ok(Either.isRight(result))
    assert.deepEqual(seen, [false])
  }),
)
