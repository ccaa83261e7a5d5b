import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { BackgroundWorkers } from "../src/BackgroundWorkers.ts"
import { HeldGate, type HeldState } from "../src/HeldGate.ts"

const layerWorkers = (state: HeldState = "open") =>
  BackgroundWorkers.layer.pipe(Layer.provideMerge(HeldGate.layer(state)))

/** Workers in a scope that the test closes, and the log that they write. */
const start = (state?: HeldState) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(layerWorkers(state), scope)
    const log: Array<string> = []
    const collect = Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ message, cause }) => void log.push(`${String(message)} ${cause._tag}`)),
    )
    const register = (...parameters: Parameters<BackgroundWorkers["Type"]["register"]>) =>
      Effect.flatMap(BackgroundWorkers, (workers) => workers.register(...parameters)).pipe(
        Effect.provide(context),
        Effect.provide(collect),
      ) as Effect.Effect<void>
    const open = Effect.flatMap(HeldGate, (gate) => gate.open).pipe(Effect.provide(context))
    return { register, open, log, stop: Scope.close(scope, Exit.void) }
  })

it.effect("a worker runs at once or after its interval, and again within 10 % of it", () =>
  Effect.gen(function* () {
    const { register, stop } = yield* start()
    let now = 0
    let later = 0
    yield* register(
      "now",
      "100 minutes",
      Effect.sync(() => now++),
      { runImmediately: true },
    )
    yield* register(
      "later",
      "100 minutes",
      Effect.sync(() => later++),
      { runImmediately: false },
    )
    yield* TestClock.adjust("89 minutes")
    assert.deepEqual([now, later], [1, 0])
    yield* TestClock.adjust("21 minutes")
    assert.deepEqual([now, later], [2, 1])
    yield* TestClock.adjust("1100 minutes")
    assert.ok(now >= 11 && now <= 14, String(now))
    yield* stop
    const [atStop] = [now]
    yield* TestClock.adjust("1000 minutes")
    assert.equal(now, atStop)
  }),
)

it.effect("the interval strays, so that not every daemon asks at the same second", () =>
  Effect.gen(function* () {
    const { register, stop } = yield* start()
    const at: Array<number> = []
    const note = Effect.clockWith((clock) =>
      Effect.map(clock.currentTimeMillis, (time) => void at.push(time)),
    )
    yield* register("note", "1000 seconds", note, { runImmediately: true })
    for (let step = 0; step < 240; step++) yield* TestClock.adjust("50 seconds")
    const gaps = at.slice(1).map((time, index) => Math.round((time - (at[index] ?? 0)) / 1000))
    assert.ok(gaps.length >= 9)
    assert.ok(
      gaps.every((gap) => gap >= 900 && gap <= 1150),
      gaps.join(" "),
    )
    assert.ok(new Set(gaps).size > 3, gaps.join(" "))
    yield* stop
  }),
)

it.effect("a run never overlaps itself", () =>
  Effect.gen(function* () {
    const { register, stop } = yield* start()
    let running = 0
    let most = 0
    let runs = 0
    const slow = Effect.gen(function* () {
      most = Math.max(most, ++running)
      runs++
      yield* Effect.sleep("1 hour")
      running--
    })
    yield* register("slow", "1 minute", slow, { runImmediately: true })
    yield* TestClock.adjust("10 hours")
    assert.equal(most, 1)
    assert.ok(runs >= 9 && runs <= 10, String(runs))
    yield* stop
  }),
)

it.effect(
  "a failure, a defect and an interruption of its own are logged and stop neither the worker nor another",
  () =>
    Effect.gen(function* () {
      const { register, log, stop } = yield* start()
      const ends = [Effect.fail("no"), Effect.die(new Error("broken")), Effect.interrupt, Effect.void]
      let runs = 0
      let others = 0
      yield* register(
        "bad",
        "1 minute",
        Effect.suspend((): Effect.Effect<void, string> => ends[runs++ % 4] ?? Effect.void),
        {
          runImmediately: true,
        },
      )
      yield* register(
        "good",
        "1 minute",
        Effect.sync(() => others++),
        { runImmediately: true },
      )
      for (let step = 0; step < 10; step++) yield* TestClock.adjust("1 minute")
      assert.ok(runs >= 8, String(runs))
      assert.ok(others >= 8, String(others))
      for (const kind of ["Fail", "Die", "Interrupt"])
        assert.ok(
          log.some(
            (line) => line === `Background worker bad failed; it runs again after its interval ${kind}`,
          ),
          `${kind}: ${log.join("; ")}`,
        )
      yield* stop
    }),
)

it.effect("nothing runs while the daemon is held", () =>
  Effect.gen(function* () {
    const { register, open, stop } = yield* start("held")
    let runs = 0
    yield* register(
      "held",
      "1 minute",
      Effect.sync(() => runs++),
      { runImmediately: true },
    )
    yield* TestClock.adjust("1 hour")
    assert.equal(runs, 0)
    yield* open
    yield* TestClock.adjust("0 seconds")
    assert.equal(runs, 1)
    yield* stop
  }),
)

it.effect("a worker that is held does not hold up a stop", () =>
  Effect.gen(function* () {
    const { register, stop } = yield* start("held")
    yield* register("held", "1 minute", Effect.void, { runImmediately: true })
    yield* stop
  }),
)

it.effect("a stop interrupts a run, and waits at most 5 s for one that cannot be", () =>
  Effect.gen(function* () {
    const { register, stop } = yield* start()
    const interrupted = yield* Deferred.make<void>()
    yield* register(
      "polite",
      "1 minute",
      Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)),
      { runImmediately: true },
    )
    yield* register("stubborn", "1 minute", Effect.uninterruptible(Effect.sleep("20 seconds")), {
      runImmediately: true,
    })
    yield* TestClock.adjust("1 second")
    // A stop comes from a finalizer, where nothing can be interrupted.
    const stopping = yield* Effect.fork(Effect.uninterruptible(stop))
    yield* Deferred.await(interrupted)
    yield* TestClock.adjust("4900 millis")
    assert.equal(stopping.unsafePoll(), null)
    yield* TestClock.adjust("200 millis")
    yield* Fiber.join(stopping)
  }),
)
