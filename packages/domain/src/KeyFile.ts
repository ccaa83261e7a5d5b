/** How the keystore names the file of a sealed key, so that a key that is not opened is missed. */
const NAME = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json$/i

/** The agents whose sealed keys are among the files of a keystore. */
export const agentsOfKeyFiles = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.flatMap((name) => NAME.exec(name)?.[1] ?? [])

interface Keys {
  readonly agents: number
  /** Agents without a key, and the names of the first of them. */
  readonly missing: number
  readonly names: ReadonlyArray<string>
}

/** Which agents cannot sign since they have no sealed key that opens; null where all have one. */
export const agentsWithoutKey = ({ agents, missing, names }: Keys): string | null => {
  if (missing === 0) return null
  const more = missing > names.length ? `, and ${missing - names.length} more` : ""
  const keys = missing === 1 ? "its sealed key is" : "their sealed keys are"
  return `${missing} of ${agents} agent${agents === 1 ? "" : "s"} cannot sign, ${keys} missing (${names.join(", ")}${more})`
}

/** Which agents cannot sign, and what to do about it; null where all can. */
export const keyAdvice = (keys: Keys, keystore: string): string | null => {
  const silent = agentsWithoutKey(keys)
  return silent === null ? null : `${silent}: put ${keystore} back from your own copy`
}
