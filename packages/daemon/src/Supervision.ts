import { readFileSync } from "node:fs"
import type { Supervisor } from "@waiaas/domain/DaemonFacts"
import { Environment } from "@waiaas/services/platform/Environment"
import * as Effect from "effect/Effect"

const parents: Readonly<Record<string, Supervisor>> = { runsv: "runit", systemd: "systemd" }

/** Who starts this daemon again when it ends; it is recorded at the start, so that an upgrade spawns no second one. */
export const detectSupervisor: Effect.Effect<Supervisor | null, never, Environment> = Effect.map(
  Environment,
  ({ container, pid, variables }) => {
    if (container && pid === 1) return "container"
    if (variables.pm_id !== undefined) return "pm2"
    const parent = parentName()
    // systemd is also the parent of what a login session leaves behind: a unit has an invocation.
    if (parent === "systemd" && variables.INVOCATION_ID === undefined) return null
    return parents[parent] ?? null
  },
)

const parentName = (): string => {
  try {
    return readFileSync(`/proc/${process.ppid}/comm`, "utf8").trim()
  } catch {
    return ""
  }
}
