/**
 * Every sync of a run fails once. The run goes on, or back, and then the power goes: what the failed sync was about is
 * lost, since the system counted it as written. So is a process that is killed right then, and what comes after it.
 */
import { crashed } from "@waiaas/services/testing/SimulatedCrash"
import type { World, WorldState } from "@waiaas/services/testing/SimulatedWorld"
import type { Explorer } from "./explore.ts"
import { judgeOf, operationsOf } from "./faults.ts"
import { simulate, switchedOn } from "./simulate.ts"

const isSync = (what: string): boolean => /^(sync |sqlite (sync|commit))/.test(what)

/** What somebody acts on after the failure: `isDeep` looks at the power cut after every change. */
const matters = (what: string): boolean => /\.(committed|jsonl)$|^request|daemon\.json/.test(what)

/** Gives how many syncs failed. */
export const failEverySync = (
  explorer: Explorer,
  state: WorldState,
  actor: "upgrade" | "rollback",
): number => {
  const syncs = operationsOf(state, actor).filter(({ what }) => isSync(what))
  for (const { number } of syncs) {
    const path = `${actor}!${number}:EIO`
    const lose = (world: World, at: number) =>
      explorer.add({
        state: switchedOn(crashed(world.disk.state, "lose-failed"), world),
        path: `${path}@${at}:lose-failed`,
        depth: 1,
        isShallow: true,
      })
    let last = number
    try {
      const { world } = simulate(state, actor, {
        judge: judgeOf(number, "EIO", false),
        changed: (operation, world) => {
          last = operation.number
          if (last < number) return
          if (explorer.isDeep || last === number || matters(operation.what)) lose(world, last)
          if (last === number)
            explorer.add({
              state: switchedOn(world.disk.state, world),
              path: `${path}@${last}:kill-all`,
              depth: 1,
              isShallow: true,
            })
        },
      })
      lose(world, last)
    } catch (cause) {
      explorer.report(path, cause)
    }
  }
  return syncs.length
}
