/** What an agent's fields may be, for the API's definition and for the command that must not load all of it. */

/** Chains whose accounts are Ed25519 keys, as agents' keys are. */
export const chains = ["solana", "aptos", "sui"] as const
/** Each of the chains has every one of them. */
export const networks = ["mainnet", "testnet", "devnet"] as const

export const AGENT_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9._-])?$/
export const agentNameWords =
  "1 to 64 letters, digits, spaces and ._-, beginning with a letter or a digit, not ending with a space"
