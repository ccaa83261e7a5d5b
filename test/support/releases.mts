/** Releases of WAIaaS made from today's source, once per content. */
import { pack } from "../../scripts/pack.mts"

/** The tarball of `version` whose newest migration is `schema`. */
export const release = (version: string, schema: number, fault?: string): Promise<string> =>
  pack({ version, schema, ...(fault !== undefined && { fault }) })
