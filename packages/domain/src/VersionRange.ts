/** Ranges of versions as npm understands them; apart from `Version`, because their code is large and few need it. */
import * as semver from "semver"

/** Whether `version` is allowed by an npm range such as `>=22.15`. */
export const satisfies = (version: string, range: string): boolean =>
  semver.satisfies(version, range, { includePrerelease: true })

/** Whether npm takes a text for a range of versions, such as `2.x`, `v2.1.0` or `*`; no dist-tag can be one. */
export const isRange = (text: string): boolean => semver.validRange(text) !== null
