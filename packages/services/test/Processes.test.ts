/** Which process a number is, and which ones were started with an argument. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { assert, it } from "@effect/vitest"
import { processesWithArgument, processName, processStart } from "@waiaas/services/platform/Processes"
import { processAbout } from "@waiaas/services/platform/ProcessTable"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"

/** Runs until the test ends. */
const child = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const code = `console.log("runs"); setInterval(() => {}, 1e6)`
      const started = spawn(process.execPath, ["--eval", code, ...args], {
        stdio: ["ignore", "pipe", "inherit"],
      })
      await once(started.stdout, "data")
      return started
    }),
    (started) => Effect.sync(() => started.kill("SIGKILL")),
  )

it.scopedLive(
  "a process is found by all of its arguments, each as a whole, and has a name until it ends",
  () =>
    Effect.gen(function* () {
      const started = yield* child("/data of one", "serve")
      const pid = started.pid ?? -1
      assert.deepStrictEqual(processesWithArgument("/data of one", "serve"), [pid])
      for (const others of [["/data of one", "stop"], ["/data of", "serve"], ["/data of two"]])
        assert.notInclude(processesWithArgument(...others), pid)
      // Whoever asks is not among them.
      assert.notInclude(processesWithArgument(process.title), process.pid)
      const name = Option.getOrThrow(processName(pid))
      assert.deepStrictEqual(processName(pid), Option.some(name))
      assert.isTrue(name.endsWith(` ${Option.getOrThrow(processStart(pid))}`))
      started.kill("SIGKILL")
      yield* Effect.promise(() => once(started, "close"))
      assert.isTrue(Option.isNone(processName(pid)))
      assert.isTrue(Option.isNone(processStart(pid)))
      assert.deepStrictEqual(processesWithArgument("/data of one", "serve"), [])
    }),
)

it.live("a process that has ended is none, though its parent has not taken notice", () =>
  Effect.gen(function* () {
    // The shell becomes a program that asks nothing about the child that it inherits.
    const parent = spawn("/bin/sh", ["-c", "sleep 0 & echo $!; exec sleep 30"], {
      stdio: ["ignore", "pipe", "inherit"],
    })
    const [line] = yield* Effect.promise(() => once(parent.stdout, "data"))
    const pid = Number(String(line))
    yield* Effect.repeat(
      Effect.sync(() => processAbout(pid)),
      { until: Option.isNone, schedule: Schedule.spaced("10 millis") },
    ).pipe(Effect.timeout("5 seconds"), Effect.ensuring(Effect.sync(() => parent.kill("SIGKILL"))))
    assert.isTrue(Option.isNone(processStart(pid)))
    const about = Option.getOrThrow(processAbout(process.pid))
    assert.deepStrictEqual([about.parent, about.directory], [process.ppid, process.cwd()])
    assert.deepStrictEqual(about.argv.length > 0, true)
  }),
)
