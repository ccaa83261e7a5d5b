/** From starts and ends of the daemon to what the operator reads of a new version. */
import { assert, describe, it } from "@effect/vitest"
import { installOf } from "@waiaas/domain/Install"
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

const upgraded = Effect.gen(function* () {
  now = 1_700_000_000_000
  const journal = yield* UpgradeJournal
  const { paths } = yield* DataDir
  const { databasePath } = yield* (yield* ConfigFile).load
  const install = installOf(packageDir, "/nowhere/bin/node")
  if (install === null) throw new Error("no install")
  const run = yield* journal.begin({
    kind: "upgrade",
    from: makeVersion("2.0.0"),
    to: makeVersion("2.1.0"),
    dataDir: paths.root,
    databasePath,
    install,
    daemon: null,
    restart: true,
    pid: 1,
  })
  const committed = yield* journal.append(run, { _tag: "Committed" })
  yield* journal.append(committed, { _tag: "Ended", outcome: "new" })
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
          yield* upgraded
          assert.strictEqual(yield* happen(events), crashes)
        }).pipe(Effect.provide(layer)),
    )

  it.scopedLive("crashes later than ten minutes after the upgrade is not warned of", () =>
    Effect.gen(function* () {
      yield* upgraded
      assert.strictEqual(yield* happen([...crash, ...crash, ...start]), 2)
      now += 601_000
      assert.strictEqual(yield* happen([...crash, ...start]), 0)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("is upgraded once more begins anew", () =>
    Effect.gen(function* () {
      yield* upgraded
      yield* happen([...crash, ...crash])
      yield* upgraded
      assert.strictEqual(yield* happen([...crash, ...start]), 0)
    }).pipe(Effect.provide(layer)),
  )
})
