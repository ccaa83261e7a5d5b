/** How often `/health` reads the database, how long it waits for it, and what it says meanwhile. */
import { strict as assert } from "node:assert"
import { describe, it } from "@effect/vitest"
import { DatabaseFailed } from "@waiaas/domain/DataErrors"
import { layerDatabaseAt } from "@waiaas/services/testing/TestDatabase"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import { HealthReport } from "../src/HealthReport.ts"
import { HeldGate } from "../src/HeldGate.ts"
import { VersionInfo } from "../src/VersionInfo.ts"
import { layerEnvironment } from "./support.ts"

type Status = VersionInfo["Type"]["status"]
const known = { latestVersion: null, updateAvailable: false } as unknown as Effect.Effect.Success<Status>

/** `/health` over a database whose versions are read by `status`, with what it logged. */
const fixture = (gate: "held" | "open" = "open") =>
  Effect.gen(function* () {
    const state: { reads: number; status: Status } = { reads: 0, status: Effect.succeed(known) }
    const errors: Array<unknown> = []
    const layer = HealthReport.layer.pipe(
      Layer.provideMerge(HeldGate.layer(gate)),
      Layer.provide(
        Layer.mergeAll(
          layerDatabaseAt(),
          layerEnvironment(),
          Layer.succeed(VersionInfo, {
            status: Effect.suspend(() => {
              state.reads++
              return state.status
            }),
            notified: () => Effect.void,
          }),
        ),
      ),
      Layer.provideMerge(
        Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ logLevel, message }) => {
            if (logLevel.label === "ERROR") errors.push(message)
          }),
        ),
      ),
    )
    const context = yield* Layer.build(layer)
    const within = Effect.provide(context)
    const { answer, unsafeCached, unsafeStopping } = yield* HealthReport.pipe(within)
    const gateService = yield* HeldGate.pipe(within)
    const ask = Effect.map(within(answer), ({ status, body }) => ({ code: status, ...JSON.parse(body) }))
    return { state, errors, ask, unsafeCached, unsafeStopping, gate: gateService }
  })

describe("/health", () => {
  it.scoped("reads once a second, however many ask, and never answers from facts that are older", () =>
    Effect.gen(function* () {
      const { state, ask, unsafeCached } = yield* fixture()
      assert.equal(unsafeCached(), null)
      yield* Effect.all([ask, ask, ask], { concurrency: 3 })
      assert.equal(state.reads, 1)
      yield* TestClock.adjust("999 millis")
      const first = unsafeCached()
      assert.notEqual(first, null)
      assert.equal(unsafeCached(), first, "the text is made once")
      yield* ask
      assert.equal(state.reads, 1)
      yield* TestClock.adjust("1 millis")
      assert.equal(unsafeCached(), null)
      yield* ask
      assert.equal(state.reads, 2)
    }),
  )

  it.scoped("says for how long the daemon runs and what the time is, in whole seconds", () =>
    Effect.gen(function* () {
      const { ask, unsafeStopping } = yield* fixture()
      const times = Effect.map(ask, ({ uptime, timestamp }) => [uptime, timestamp])
      assert.deepEqual(yield* times, [0, 0])
      yield* TestClock.adjust("61900 millis")
      assert.deepEqual(yield* times, [61, 61])
      // The same facts a moment later, in the next second.
      yield* TestClock.adjust("100 millis")
      assert.deepEqual(yield* times, [62, 62])
      const { status, body } = unsafeStopping()
      const stopping = JSON.parse(body)
      assert.deepEqual(
        [status, stopping.status, stopping.schemaVersion, stopping.uptime],
        [503, "stopping", null, 62],
      )
      assert.equal(stopping.message, "The daemon is stopping.")
    }),
  )

  it.scoped("says at once that the gate is open, though nothing is read anew", () =>
    Effect.gen(function* () {
      const { ask, gate, state } = yield* fixture("held")
      assert.equal((yield* ask).status, "held")
      yield* gate.open
      assert.equal((yield* ask).status, "ok")
      assert.equal(state.reads, 1)
    }),
  )

  it.scoped("waits two seconds for the database; an outage is logged once, and the next one again", () =>
    Effect.gen(function* () {
      const { ask, state, errors } = yield* fixture()
      const answered = Effect.gen(function* () {
        const asking = yield* Effect.fork(ask)
        yield* TestClock.adjust("1999 millis")
        const waits = yield* Fiber.poll(asking)
        yield* TestClock.adjust("1 millis")
        return [waits._tag, yield* Fiber.join(asking)] as const
      })
      state.status = Effect.never
      const [waits, slow] = yield* answered
      assert.equal(waits, "None")
      assert.deepEqual(
        [slow.code, slow.status, slow.latestVersion, slow.updateAvailable],
        [503, "error", null, false],
      )
      assert.equal(errors.length, 1)
      yield* TestClock.adjust("1 seconds")
      state.status = new DatabaseFailed({ operation: "read a key", path: "it", reason: "disk I/O error" })
      assert.equal((yield* ask).code, 503)
      assert.equal(errors.length, 1)
      yield* TestClock.adjust("1 seconds")
      state.status = Effect.succeed(known)
      assert.equal((yield* ask).code, 200)
      yield* TestClock.adjust("1 seconds")
      state.status = Effect.die("anything")
      assert.equal((yield* ask).code, 503)
      assert.equal(errors.length, 2)
    }),
  )
})

it.effect("the gate opens once, and whoever waits goes on", () =>
  Effect.gen(function* () {
    const held = yield* HeldGate
    const waiting = yield* Effect.fork(held.awaitOpen)
    yield* Effect.yieldNow()
    assert.deepEqual([yield* held.state, held.unsafeState()], ["held", "held"])
    assert.equal((yield* Fiber.poll(waiting))._tag, "None")
    yield* held.open
    yield* held.open
    yield* Fiber.join(waiting)
    assert.deepEqual([yield* held.state, held.unsafeState()], ["open", "open"])
    const open = yield* Effect.provide(HeldGate, HeldGate.layer("open"))
    yield* open.awaitOpen
    assert.equal(open.unsafeState(), "open")
  }).pipe(Effect.provide(HeldGate.layer("held"))),
)
