/** What a trial does, as data that only the seed and the trial's number decide. */
import { Random } from "./random.mts"

export const kinds = ["kill", "full disk", "read-only", "registry gone", "clock jump"] as const
export type Kind = (typeof kinds)[number]
export type Command = "upgrade" | "rollback"

/** A moment of a command: a fraction of its whole length, or of one of its phases. */
export interface Moment {
  readonly phase: string | null
  readonly fraction: number
}

export interface Plan {
  readonly number: number
  readonly kind: Kind
  readonly command: Command
  readonly supervised: boolean
  /** When the fault comes, or the kill. */
  readonly at: Moment
  /** The command is killed at that moment. */
  readonly kill: boolean
  /** The daemon dies with it. */
  readonly daemonToo: boolean
  /** Kills of the recovery, as fractions of its length. */
  readonly recoveryKills: ReadonlyArray<number>
  readonly recovery: "start" | "upgrade"
  /** npm has nothing of the new release in its cache. */
  readonly coldCache: boolean
  /** Where a disk is full or a directory refuses. */
  readonly where: string
  /** What the clock jumps by. */
  readonly offset: string
  /** At the end the daemon is stopped and started once more. */
  readonly restart: boolean
}

export const upgradeMoments = ["check", "stop", "backup", "update", "migrate", "verify", "restart"] as const
export const rollbackMoments = ["check", "stop", "aside", "restore", "update", "verify", "restart"] as const

export const refusingPlaces = [
  "data directory",
  "backups",
  "journal",
  "database",
  "global root",
  "scope",
  "bin",
  "hidden",
  "retained",
] as const

export const planOf = (
  seed: number,
  number: number,
  available: ReadonlyArray<Kind>,
  withSupervisor: boolean,
): Plan => {
  const random = new Random(seed, number)
  const weights: Record<Kind, number> = {
    kill: 60,
    "full disk": available.includes("full disk") ? 11 : 0,
    "read-only": available.includes("read-only") ? 11 : 0,
    "registry gone": 8,
    "clock jump": available.includes("clock jump") ? 10 : 0,
  }
  // Drawn in one fixed order, whether it is needed or not: a kind that is missing here changes no other choice.
  const kind = random.weighted(weights)
  const goesBack = random.chance(kind === "kill" ? 0.4 : 0.3)
  const command: Command = goesBack && kind !== "registry gone" ? "rollback" : "upgrade"
  const anywhere = random.chance(0.4)
  const phase = random.pick(command === "upgrade" ? upgradeMoments : rollbackMoments)
  const fraction = random.next()
  const kills = random.weighted({ none: 4, one: 4, two: 2 })
  const fractions = [random.next(), random.next()]
  const killed = random.chance(0.5)
  return {
    number,
    kind,
    command,
    supervised: withSupervisor && number % 2 === 0,
    at: {
      phase: anywhere ? null : kind === "registry gone" ? "check" : phase,
      // npm's part is the first of the check.
      fraction: kind === "registry gone" ? fraction * 0.5 : fraction,
    },
    kill: kind === "kill" || (kind === "clock jump" && killed),
    daemonToo: random.chance(0.25),
    recoveryKills: kind === "kill" ? fractions.slice(0, { none: 0, one: 1, two: 2 }[kills]) : [],
    recovery: command === "upgrade" && random.chance(0.3) ? "upgrade" : "start",
    coldCache: kind === "registry gone" || random.chance(0.3),
    where: kind === "full disk" ? random.pick(["data", "package"]) : random.pick(refusingPlaces),
    offset: random.pick(["-400d", "+400d", "-1h", "+1h", "-5s"]),
    restart: random.chance(0.25),
  }
}

export const describePlan = (plan: Plan): string =>
  [
    plan.kind,
    plan.command,
    plan.kind === "full disk" || plan.kind === "read-only" ? plan.where : "",
    plan.kind === "clock jump" ? plan.offset : "",
    `at ${plan.at.phase ?? "any"}+${plan.at.fraction.toFixed(2)}`,
    plan.kill && plan.daemonToo ? "daemon too" : "",
    plan.recoveryKills.length > 0 ? `${plan.recoveryKills.length} recovery kills` : "",
    `then ${plan.recovery}`,
    plan.supervised ? "runsv" : "",
  ]
    .filter(Boolean)
    .join(", ")
