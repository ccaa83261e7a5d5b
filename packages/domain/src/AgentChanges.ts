/**
 * What two databases of one installation say of its agents, and what the tool is asked for it: by a rollback, which says
 * what it undoes and keeps agents suspended, and by the retention of backups, which removes no write's only copy.
 */
import * as Schema from "effect/Schema"

const protocol = { protocol: Schema.Literal(1) }

/** How many agents of each kind are named; all are counted. */
export const NAMED_AGENTS = 100

/** Compares the agents of an earlier database with those of today's. */
export const CompareAgents = Schema.TaggedStruct("CompareAgents", {
  ...protocol,
  before: Schema.String,
  now: Schema.String,
  /** With it every sealed key there is opened, and the agents of `before` that have none of their own are named. */
  dataDir: Schema.optional(Schema.String),
})
/** Suspends in `database` the agents that are suspended in `now`; then it is checkpointed and closed. */
export const KeepSuspended = Schema.TaggedStruct("KeepSuspended", {
  ...protocol,
  database: Schema.String,
  now: Schema.String,
})
/** Finds the writes in `database` that none of the `others` has. One that cannot be read has none. */
export const FindUnique = Schema.TaggedStruct("FindUnique", {
  ...protocol,
  database: Schema.String,
  others: Schema.Array(Schema.String),
})

export const NamedAgent = Schema.Struct({ id: Schema.String, name: Schema.String })
export type NamedAgent = typeof NamedAgent.Type

/** Agents of one kind: how many, and the first of them by name. */
const some = <A, I>(agent: Schema.Schema<A, I>) =>
  Schema.Struct({ count: Schema.Int, agents: Schema.Array(agent) })

export const AgentChanges = Schema.Struct({
  /** Agents in the earlier database. */
  before: Schema.Int,
  /** Agents in today's. */
  now: Schema.Int,
  added: some(NamedAgent),
  removed: some(NamedAgent),
  /** Suspended today, not before: they would sign again. */
  suspended: some(NamedAgent),
  /** Suspended before, not today. */
  resumed: some(NamedAgent),
  /** Other columns that differ. */
  changed: some(Schema.Struct({ ...NamedAgent.fields, columns: Schema.Array(Schema.String) })),
  /** Agents of the earlier database without a sealed key here that opens and is theirs: they cannot sign. */
  keyless: some(NamedAgent),
  /** Those of them for which there is no file of a key at all. */
  withoutFile: Schema.Int,
})
export type AgentChanges = typeof AgentChanges.Type

/** Writes that only one database has: agents, changes of their status and of their other values. */
export const UniqueWrites = Schema.Struct({ writes: Schema.Int, agents: Schema.Array(NamedAgent) })
export type UniqueWrites = typeof UniqueWrites.Type

/** Whether two comparisons found the same, apart from the keys, for which only the first one looks. */
export const isSame = (one: AgentChanges, other: AgentChanges): boolean => {
  const written = ({ keyless: _, withoutFile: __, ...changes }: AgentChanges) => JSON.stringify(changes)
  return written(one) === written(other)
}

/** How many of these fit on a line that is still read. */
const LISTED = 10

const listed = (names: ReadonlyArray<string>, count: number): string => {
  const first = names.slice(0, LISTED)
  return `${first.join(", ")}${count > first.length ? ` and ${count - first.length} more` : ""}`
}

/** A number of agents as a subject with its verb. */
const were = (count: number): string => (count === 1 ? "1 agent was" : `${count} agents were`)
const they = (count: number, one: string, many: string): string => (count === 1 ? one : many)

/** What a rollback undoes, in sentences; `resume`: agents that were suspended since sign again. */
export const changesInWords = (changes: AgentChanges, resume: boolean): ReadonlyArray<string> => {
  const { added, removed, suspended, resumed, changed } = changes
  const namesOf = ({ agents, count }: typeof added) =>
    listed(
      agents.map(({ name }) => name),
      count,
    )
  const lines = [
    added.count > 0 &&
      `${were(added.count)} added: ${namesOf(added)}. ${they(added.count, "It is", "They are")} not in that backup.`,
    removed.count > 0 &&
      `${were(removed.count)} removed: ${namesOf(removed)}. ${they(removed.count, "It comes", "They come")} back.`,
    suspended.count > 0 &&
      `${were(suspended.count)} suspended: ${namesOf(suspended)}. ${
        resume
          ? `${they(suspended.count, "It signs", "They sign")} again, as --resume-suspended says.`
          : `${they(suspended.count, "It stays", "They stay")} suspended (--resume-suspended lets ${they(suspended.count, "it", "them")} sign again).`
      }`,
    resumed.count > 0 &&
      `${were(resumed.count)} resumed: ${namesOf(resumed)}. ${they(resumed.count, "It is", "They are")} suspended again.`,
    changed.count > 0 &&
      `${were(changed.count)} changed: ${listed(
        changed.agents.map(({ name, columns }) => `${name} (${columns.join(", ")})`),
        changed.count,
      )}. ${they(changed.count, "It gets its", "They get their")} earlier values back.`,
  ].filter((line) => line !== false)
  return lines.length === 0 ? ["no agent was added, removed, suspended, resumed or changed."] : lines
}

/** Which agents of a backup cannot sign here, in a sentence; `null` where all can. */
export const keylessInWords = (
  { keyless, before }: Pick<AgentChanges, "keyless" | "before">,
  keystore: string,
): string | null =>
  keyless.count === 0
    ? null
    : `${keyless.count} of the ${before} agents in that backup cannot sign here, ${they(keyless.count, "its sealed key", "their sealed keys")} in ${keystore} ${they(keyless.count, "is", "are")} missing or damaged: ${listed(
        keyless.agents.map(({ name }) => name),
        keyless.count,
      )}.`
