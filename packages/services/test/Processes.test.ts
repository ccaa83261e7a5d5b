/** Which process a number is, and which ones were started with an argument. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { assert, it } from "@effect/vitest"
import { processesWithArgument, processName, processStart } from "@waiaas/services/platform/Processes"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

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
