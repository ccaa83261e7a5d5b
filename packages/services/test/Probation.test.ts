/** From starts and ends of the daemon to what the operator reads of a new version. */
import { assert, describe, it } from "@effect/vitest"
import { installOf } from "@waiaas/domain/Install"
import type { RunKind } from "@waiaas/domain/UpgradePhase"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { Probation } from "@waiaas/services/Probation"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerDataDir } from "./support.ts"

const packageDir = "/p/lib/node_modules/@waiaas/cli"
/** Unix milliseconds. */
let now = 0
const layer = Probation.layer.pipe(
  Layer.provideMerge(UpgradeJournal.layer),
  Layer.provideMerge(ConfigFile.layer),
  Layer.provideMerge(layerDataDir({ packageDir, now: Effect.sync(() => now) })),
)

type Stage = "ended" | "committed" | "begun" | "undone"
const upgraded = (kind: RunKind = "upgrade", stage: Stage = "ended") =>
  Effect.gen(function* () {
    now = 1_700_000_000_000
    const journal = yield* UpgradeJournal
    const { paths } = yield* DataDir
    const { databasePath } = yield* (yield* ConfigFile).load
    const install = installOf(packageDir, "/nowhere/bin/node")
    if (install === null) throw new Error("no install")
    const run = yield* journal.begin({
      kind,
      from: makeVersion("2.0.0"),
      to: makeVersion("2.1.0"),
      dataDir: paths.root,
      databasePath,
      install,
      daemon: null,
      restart: true,
      pid: 1,
    })
    if (stage === "undone") yield* journal.append(run, { _tag: "Ended", outcome: "old" })
    if (stage === "begun" || stage === "undone") return
    const committed = yield* journal.append(run, { _tag: "Committed" })
    if (stage === "ended") yield* journal.append(committed, { _tag: "Ended", outcome: "new" })
  })

type Event = "starts" | "is refused" | "is stopped" | "is killed"
const happen = (events: ReadonlyArray<Event>) =>
  Effect.gen(function* () {
    const probation = yield* Probation
    const acts = {
      starts: probation.started,
      "is refused": probation.refused,
      "is stopped": probation.stopped,
      "is killed": Effect.void,
    }
    for (const event of events) yield* acts[event]
    return Option.match(yield* probation.suspicion, { onNone: () => 0, onSome: ({ crashes }) => crashes })
  })

describe("a new version that", () => {
  const start = ["starts"] as const
  const crash = ["starts", "is killed"] as const
  const refusal = ["starts", "is refused"] as const
  const restart = ["starts", "is stopped"] as const
  /** What happens, and how many crashes the operator reads of; 0 where no word is said. */
  const table: ReadonlyArray<readonly [string, ReadonlyArray<Event>, number]> = [
    ["never ran", [], 0],
    ["runs", start, 0],
    ["crashed once", [...crash, ...start], 0],
    ["crashed twice", [...crash, ...crash, ...start], 2],
    ["crashed three times", [...crash, ...crash, ...crash, ...start], 3],
    ["was stopped and started again and again", [...restart, ...restart, ...restart, ...start], 0],
    ["was refused again and again", [...refusal, ...refusal, ...refusal, ...start], 0],
    ["crashed and was refused in turn", [...crash, ...refusal, ...crash, ...refusal, ...start], 2],
    ["crashed twice and is refused since", [...crash, ...crash, ...refusal], 2],
    ["crashed twice and was stopped in order since", [...crash, ...crash, ...restart, ...start], 0],
    ["crashed, was stopped in order, and crashed", [...crash, ...restart, ...crash, ...start], 0],
  ]
  for (const [what, events, crashes] of table)
    it.scopedLive(
      `${what} is ${crashes === 0 ? "not warned of" : `said to have crashed ${crashes} times`}`,
      () =>
        Effect.gen(function* () {
          yield* upgraded()
          assert.strictEqual(yield* happen(events), crashes)
        }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("crashes later than ten minutes after the upgrade is not warned of", () =>
    Effect.gen(function* () {
      yield* upgraded()
      assert.strictEqual(yield* happen([...crash, ...crash, ...start]), 2)
      now += 599_000
      assert.strictEqual(yield* happen([...crash, ...start]), 4)
      now += 1_000
      assert.strictEqual(yield* happen([]), 0)
      // What was counted is forgotten with the next start.
      yield* happen(start)
      now -= 1_000
      assert.strictEqual(yield* happen([...crash, ...start]), 0)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("is upgraded once more begins anew", () =>
    Effect.gen(function* () {
      yield* upgraded()
      yield* happen([...crash, ...crash])
      yield* upgraded()
      assert.strictEqual(yield* happen([...crash, ...start]), 0)
    }).pipe(Effect.provide(layer)),
  )

  for (const [what, kind, stage, crashes] of [
    ["a rollback, committed and over", "rollback", "ended", 0],
    ["an upgrade that is not committed", "upgrade", "begun", 0],
    ["an upgrade that was undone", "upgrade", "undone", 0],
    ["an upgrade that is committed but not tidied up", "upgrade", "committed", 2],
  ] as const)
    it.scopedLive(
      `is of ${what} is ${crashes === 0 ? "not on probation" : "on probation from the commit on"}`,
      () =>
        Effect.gen(function* () {
          yield* upgraded(kind, stage)
          assert.strictEqual(yield* happen([...crash, ...crash, ...start]), crashes)
          now += 600_000
          assert.strictEqual(yield* happen([]), 0)
        }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("has crashed is named, with the command that goes back", () =>
    Effect.gen(function* () {
      yield* upgraded()
      yield* happen([...crash, ...crash, ...start])
      const { version, message, next } = Option.getOrThrow(yield* (yield* Probation).suspicion)
      assert.strictEqual(version, "2.1.0")
      assert.include(message, "WAIaaS 2.1.0 has ended 2 times without being stopped")
      assert.strictEqual(next, "waiaas upgrade --rollback")
    }).pipe(Effect.provide(layer)),
  )
})
