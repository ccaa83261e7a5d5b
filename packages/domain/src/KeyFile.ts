import * as Schema from "effect/Schema"

/** What every sealed key says of itself without being opened. */
export const KeyForm = Schema.Struct({ format: Schema.Literal(1), publicKey: Schema.String })

/** How the keystore names the file of a sealed key, so that a key that is not opened is missed. */
const NAME = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json$/i

/** The agents whose sealed keys are among the files of a keystore. */
export const agentsOfKeyFiles = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.flatMap((name) => NAME.exec(name)?.[1] ?? [])

interface Keys {
  readonly agents: number
  /** Agents without a key that opens and is theirs, and the names of the first of them. */
  readonly missing: number
  readonly names: ReadonlyArray<string>
  /** Ids of the keys that do not open, and whether an agent has that id. */
  readonly damaged?: ReadonlyArray<{ readonly id: string; readonly isOfAgent: boolean }>
}

/** How many ids fit on a line that is still read. */
const LISTED = 5

/** Which agents cannot sign since no sealed key is there that opens and is theirs; null where all have one. */
export const agentsWithoutKey = ({ agents, missing, names }: Keys): string | null => {
  if (missing === 0) return null
  const more = missing > names.length ? `, and ${missing - names.length} more` : ""
  const keys = missing === 1 ? "its sealed key is" : "their sealed keys are"
  return `${missing} of ${agents} agent${agents === 1 ? "" : "s"} cannot sign, ${keys} missing or damaged (${names.join(", ")}${more})`
}

/** Which keys of no agent are damaged; null where all of them open. An agent of a backup may need one. */
const damagedOfNoAgent = ({ damaged = [] }: Keys): string | null => {
  const ids = damaged.flatMap(({ id, isOfAgent }) => (isOfAgent ? [] : [id]))
  if (ids.length === 0) return null
  const more = ids.length > LISTED ? `, and ${ids.length - LISTED} more` : ""
  const keys = ids.length === 1 ? "1 sealed key of no agent is" : `${ids.length} sealed keys of no agent are`
  return `${keys} damaged (${ids.slice(0, LISTED).join(", ")}${more})`
}

/** Which agents cannot sign and which other keys are damaged, and what to do about it; null where all is well. */
export const keyAdvice = (keys: Keys, keystore: string): string | null => {
  const found = [agentsWithoutKey(keys), damagedOfNoAgent(keys)].filter((each) => each !== null)
  return found.length === 0 ? null : `${found.join("; ")}: put ${keystore} back from your own copy`
}
