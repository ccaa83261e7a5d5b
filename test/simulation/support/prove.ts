/** The whole proof for one kind of run, its figures, and the replay of a single path. */

import type { Loss } from "@waiaas/services/testing/SimulatedDiskState"
import { crashed, losses } from "@waiaas/services/testing/SimulatedDiskState"
import type { WorldState } from "@waiaas/services/testing/SimulatedWorld"
import { Explorer } from "./explore.ts"
import { faultEverywhere, judgeOf } from "./faults.ts"
import { type Actor, describeExit, simulate, switchedOn } from "./simulate.ts"
import { Violation, verify } from "./verify.ts"

/**
 * `WAIAAS_SIMULATION_PATH` replays one path as a failure prints it, such as
 * `upgrade@212:lose-all/recover@31:keep/start` or `upgrade!120:EIO/recover`, with every operation.
 */
const replayed = process.env.WAIAAS_SIMULATION_PATH

const lines = (figures: object): string =>
  Object.entries(figures)
    .map(([name, value]) =>
      typeof value === "object" ? `${name}:\n${lines(value).replace(/^/gm, "  ")}` : `${name}: ${value}`,
    )
    .join("\n")

/** Every crash point and every error of a run; throws with the paths that break the promise. */
export const prove = async (kind: "upgrade" | "rollback", before: () => WorldState): Promise<void> => {
  const limit = Error.stackTraceLimit
  // The product makes thousands of errors here that nobody reads: their traces take longer than the rest.
  Error.stackTraceLimit = 0
  const began = performance.now()
  const state = before()
  if (replayed !== undefined) {
    if (replayed.startsWith(kind)) replay(kind, state, replayed)
    return
  }
  const explorer = new Explorer(kind)
  const { exit, world } = explorer.crashEverywhere({ state, path: "", depth: 0 }, kind, kind)
  try {
    explorer.end(verify(world, kind), "undisturbed")
  } catch (cause) {
    explorer.report(`${kind} ${describeExit(exit)}`, cause)
  }
  await explorer.exhaust()
  const crashes = (performance.now() - began) / 1000
  const errors = await faultEverywhere(explorer, state, kind)
  // What an error leaves is mostly what a crash leaves: only the rest is new.
  await explorer.exhaust()
  Error.stackTraceLimit = limit
  const seconds = (performance.now() - began) / 1000
  process.stdout.write(
    `simulation of ${kind}: ${seconds.toFixed(1)} s, ${crashes.toFixed(1)} s of it crashes without errors\n${lines({ errors, ...explorer.counts }).replace(/^/gm, "  ")}\n`,
  )
  if (explorer.violations.length > 0)
    throw new Violation(
      `the promise is broken (replay with WAIAAS_SIMULATION_PATH):\n${explorer.violations.join("\n")}`,
    )
}

const isLoss = (text: string): text is Loss => (losses as ReadonlyArray<string>).includes(text)

const replay = (kind: "upgrade" | "rollback", from: WorldState, path: string): void => {
  let state = from
  for (const step of path.split("/")) {
    const match = /^(\w+)(?:!(\d+):([^@+]+)(\+?))?(?:@(\d+):([\w-]+))?$/.exec(step)
    if (match === null) throw new Error(`no step of a path: ${step}`)
    const [, actor, faulty, fault = "", stays, point, loss = ""] = match
    let after: WorldState | null = null
    const number = point === undefined ? null : Number(point)
    const { world, exit } = simulate(state, actor as Actor, {
      judge: (operation) => {
        process.stdout.write(`${step} ${operation.number} ${operation.process.role} ${operation.what}\n`)
        return faulty === undefined ? null : judgeOf(Number(faulty), fault, stays === "+")(operation)
      },
      changed: (operation, at, main) => {
        if (operation.number !== number || after !== null || loss === "kill-live") return
        if (loss === "kill") after = at.stateWithout(main)
        else if (loss === "kill-all") after = switchedOn(at.disk.state, at.acknowledged)
        else if (isLoss(loss)) after = switchedOn(crashed(at.disk.state, loss), at.acknowledged)
      },
      ...(loss === "kill-live" && number !== null ? { killAfter: number } : {}),
      isLast: number === null && faulty === undefined,
    })
    process.stdout.write(`${step}: ${describeExit(exit)} ${world.notes.join("; ")}\n`)
    const next = after ?? world.stateWithout(null)
    if (next === null) throw new Error("a daemon is in transit")
    if (number === null && step === path.split("/").at(-1)) process.stdout.write(`${verify(world, kind)}\n`)
    state = next
  }
}
