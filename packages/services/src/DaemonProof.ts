import { createHmac } from "node:crypto"
import type { DaemonFacts } from "@waiaas/domain/DaemonFacts"

/** The header of `/health` that tells whose daemon answers. */
export const PROOF_HEADER = "waiaas-daemon"

/**
 * Proves to whoever can read the data directory that the process of `daemon.json` is what answers. The
 * token itself would go to a stranger on that port; this goes the other way, and opens nothing.
 */
export const daemonProof = (
  token: string,
  { pid, processStart }: Pick<DaemonFacts, "pid" | "processStart">,
): string => createHmac("sha256", token.trim()).update(`${pid} ${processStart}`).digest("hex")
