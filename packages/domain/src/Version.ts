/** Semantic versions (semver.org 2.0.0): parsing, order and channels. */
import * as Schema from "effect/Schema"
import * as semver from "semver"

/** An exact semantic version such as `2.1.0` or `2.1.0-rc.1`, without a leading `v`. */
export const Version = Schema.String.pipe(
  Schema.filter((text) => semver.valid(text) === text || "not an exact semantic version"),
  Schema.brand("Version"),
)
export type Version = typeof Version.Type

/** The `Version` of a text that is known to be one; throws on anything else. For constants. */
export const makeVersion = Schema.decodeSync(Version)

export const isVersion = Schema.is(Version)

/** Negative, zero or positive as `a` is older than, equal to or newer than `b`. */
export const compare = (a: Version, b: Version): number => semver.compare(a, b)

export const isNewer = (candidate: Version, than: Version): boolean => semver.gt(candidate, than)

export const isPrerelease = (version: Version): boolean => semver.prerelease(version) !== null

/** The npm dist-tag whose releases a version follows: `latest`, or a pre-release's own (`rc` for `2.1.0-rc.1`). */
export const channelOf = (version: Version): string => {
  const first = semver.prerelease(version)?.[0]
  return first === undefined ? "latest" : typeof first === "string" ? first : "next"
}

/** Whether `version` is allowed by an npm range such as `>=22.15`. */
export const satisfies = (version: string, range: string): boolean =>
  semver.satisfies(version, range, { includePrerelease: true })

/** Whether npm takes a text for a range of versions, such as `2.x`, `v2.1.0` or `*`; no dist-tag can be one. */
export const isRange = (text: string): boolean => semver.validRange(text) !== null

/** `a`'s major.minor, for the rule about the last three minors. */
export const minorOf = (version: Version): string => `${semver.major(version)}.${semver.minor(version)}`

/** Whether `candidate` is something to move to: newer, and no pre-release of a channel that is not followed. */
export const isUpdate = (candidate: Version, installed: Version): boolean =>
  isNewer(candidate, installed) && (!isPrerelease(candidate) || channelOf(candidate) === channelOf(installed))
