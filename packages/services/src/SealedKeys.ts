/** Which agents of a database have no sealed key that opens: sets of one moment, never counts. */

export interface SealedKeys {
  /** The keys that open, and whose they are. */
  readonly open: ReadonlyArray<{ readonly agent: string; readonly publicKey: string }>
  /** Ids of those that are there and do not open. */
  readonly damaged: ReadonlyArray<string>
}

export interface KeyedAgent {
  readonly id: string
  readonly name: string
  readonly publicKey: string
}

/**
 * Finds the agents that cannot sign, as no key that opens is theirs: a key under their id that belongs to another public
 * key signs for nobody. The keys are those of a listing that is younger than the agents.
 */
export const agentsWithoutSealedKey = <A extends KeyedAgent>(
  agents: ReadonlyArray<A>,
  { open }: Pick<SealedKeys, "open">,
): ReadonlyArray<A> => {
  // By the exact letters: an id names a file.
  const keys = new Map(open.map(({ agent, publicKey }) => [agent, publicKey]))
  return agents.filter(({ id, publicKey }) => keys.get(id) !== publicKey)
}
