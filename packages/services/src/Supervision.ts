import { join } from "node:path"
import type { DaemonFacts, Supervisor } from "@waiaas/domain/DaemonFacts"
import { shellWord } from "@waiaas/domain/Shell"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"
import { ProcessRunner } from "./platform/ProcessRunner.ts"
import type { ProcessAbout } from "./platform/ProcessTable.ts"

/** What a supervisor was found to do once its daemon has ended. */
export interface Supervised {
  /** Who starts the daemon again; `null` where nobody can be relied on. */
  readonly supervisor: Supervisor | null
  /** Seconds in which that start comes. */
  readonly patience: number
  /** For the operator, where a supervisor is there that does not start the daemon again. */
  readonly warning: string | null
}

/** Seconds: a supervisor's own delay is a second or two, and a start that waits for a run asks ten times a second. */
export const PATIENCE = 10

const nobody: Supervised = { supervisor: null, patience: PATIENCE, warning: null }

/**
 * Who started a process, by its parent. No variable alone counts: everything below a supervisor inherits those, an
 * agent that runs `waiaas start --background` for one.
 */
export const supervisorOf = (
  pid: number,
  container: boolean,
  { variables }: Pick<ProcessAbout, "variables">,
  parent: Pick<ProcessAbout, "name" | "argv"> | null,
): Supervisor | null => {
  if (container && pid === 1) return "container"
  if (parent === null) return null
  if (parent.name === "runsv") return "runit"
  if (parent.name === "systemd") {
    // systemd is also the parent of what others leave behind. The main process of a unit has an invocation, and since
    // systemd 248 its own id.
    const main = variables.SYSTEMD_EXEC_PID
    return variables.INVOCATION_ID !== undefined && (main === undefined || main === String(pid))
      ? "systemd"
      : null
  }
  // Its daemon names itself so; in the foreground (pm2-runtime) it is a script.
  const [first = "", second = ""] = parent.argv
  const script = /(^|\/)node$/.test(first) ? second : first
  const isPm2 = parent.name.startsWith("PM2") || /(^|\/)pm2(-runtime|-docker)?$/.test(script)
  return isPm2 && variables.pm_id !== undefined ? "pm2" : null
}

/** The policies of systemd that start a service again which has ended in order. */
const restartsAlways = ["always", "on-success"]

/** systemd's `100ms`, `1s` or `1min 30s`, in seconds. */
export const secondsOf = (span: string): number => {
  const units: Record<string, number> = { us: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, d: 86_400 }
  return [...span.matchAll(/(\d+(?:\.\d+)?)(us|ms|s|min|h|d)\b/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ""] ?? 0),
    0,
  )
}

/** The service that a control group is of, and the option for a user's own systemd. */
const unitOf = (group: string) => ({
  unit: group.split("/").findLast((each) => each.endsWith(".service")),
  user: /\/user@\d+\.service\//.test(group) ? ["--user"] : [],
})

/** Finds out who starts a daemon again when it ends, and whether that can be relied on. */
export class Supervision extends Context.Tag("@waiaas/services/Supervision")<
  Supervision,
  {
    /** Who started this process, as far as it can see by itself. */
    readonly own: Effect.Effect<Supervisor | null>
    /** Proves the supervisor of a daemon that runs, and asks for its restart policy where it can be asked. */
    readonly prove: (facts: DaemonFacts) => Effect.Effect<Supervised>
    /** The command, or the sentence, by which an operator restarts a daemon through its supervisor; none without one. */
    readonly restarting: (facts: DaemonFacts) => Effect.Effect<Option.Option<string>>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const runner = yield* ProcessRunner
      const files = yield* DurableFile
      const environment = yield* Environment

      const seen = (pid: number) =>
        Effect.gen(function* () {
          const about = Option.getOrNull(yield* runner.about(pid))
          if (about === null) return null
          const parent = Option.getOrNull(yield* runner.about(about.parent))
          return { about, parent, supervisor: supervisorOf(pid, environment.container, about, parent) }
        })

      const refusing = (supervisor: Supervisor, name: string, policy: string, again: string): Supervised => ({
        ...nobody,
        warning: `${supervisor} does not start ${name} again after it has stopped (${policy}). The daemon is started without it at the end; to hand it back: waiaas stop, then ${again}`,
      })

      const bySystemd = (pid: number, { group }: ProcessAbout) =>
        Effect.gen(function* () {
          const { unit, user } = unitOf(group)
          if (unit === undefined) return nobody
          const properties = ["MainPID", "Restart", "RestartUSec"]
          const asked = yield* runner
            .run({
              command: "systemctl",
              args: [...user, "show", ...properties.map((each) => `--property=${each}`), "--", unit],
              timeout: "3 seconds",
            })
            .pipe(Effect.option)
          const found = new Map(
            Option.match(asked, { onNone: () => "", onSome: ({ stdout }) => stdout })
              .split("\n")
              .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)] as const),
          )
          const [main, policy] = [found.get("MainPID"), found.get("Restart")]
          // It does not answer: what its own parent is has been seen.
          if (main === undefined || policy === undefined) return { ...nobody, supervisor: "systemd" as const }
          if (main !== String(pid)) return nobody
          if (!restartsAlways.includes(policy))
            return refusing(
              "systemd",
              unit,
              `Restart=${policy}`,
              `systemctl ${[...user, "start", unit].join(" ")}`,
            )
          const patience = PATIENCE + Math.ceil(secondsOf(found.get("RestartUSec") ?? ""))
          return { ...nobody, supervisor: "systemd" as const, patience }
        })

      const byRunit = (parent: ProcessAbout) =>
        Effect.gen(function* () {
          const status = yield* Effect.option(files.readText(join(parent.directory, "supervise/stat")))
          if (Option.exists(status, (text) => /want (down|exit)/.test(text)))
            return refusing("runit", parent.directory, "sv once or sv down", `sv up ${parent.directory}`)
          return { ...nobody, supervisor: "runit" as const }
        })

      const byPm2 = ({ variables }: ProcessAbout) => {
        const { autorestart, stop_exit_codes: codes = "", name = "waiaas" } = variables
        const stops = autorestart === "false" || /(^|\D)0(\D|$)/.test(codes)
        return stops
          ? refusing(
              "pm2",
              name,
              autorestart === "false" ? "autorestart: false" : `stop_exit_codes: ${codes}`,
              `pm2 start ${name}`,
            )
          : { ...nobody, supervisor: "pm2" as const }
      }

      const restarting = (
        supervisor: Supervisor,
        about: ProcessAbout,
        parent: ProcessAbout | null,
      ): string => {
        const { unit, user } = unitOf(about.group)
        if (supervisor === "systemd" && unit !== undefined)
          return ["systemctl", ...user, "restart", shellWord(unit)].join(" ")
        if (supervisor === "runit" && parent !== null) return `sv restart ${shellWord(parent.directory)}`
        if (supervisor === "pm2") return `pm2 restart ${shellWord(about.variables.name ?? "waiaas")}`
        return supervisor === "container" ? "Restart the container." : `Restart it through ${supervisor}.`
      }

      return {
        restarting: Effect.fn("Supervision.restarting")(function* (facts: DaemonFacts) {
          const found = facts.supervisor === null ? null : yield* seen(facts.pid)
          return found === null || found.supervisor === null
            ? Option.none()
            : Option.some(restarting(found.supervisor, found.about, found.parent))
        }),
        own: Effect.map(seen(environment.pid), (found) => found?.supervisor ?? null),
        prove: Effect.fn("Supervision.prove")(function* (facts: DaemonFacts) {
          if (facts.supervisor === null) return nobody
          const found = yield* seen(facts.pid)
          if (found === null || found.supervisor !== facts.supervisor) return nobody
          const { about, parent, supervisor } = found
          if (supervisor === "systemd") return yield* bySystemd(facts.pid, about)
          if (supervisor === "runit" && parent !== null) return yield* byRunit(parent)
          return supervisor === "pm2" ? byPm2(about) : { ...nobody, supervisor }
        }),
      }
    }),
  )
}
