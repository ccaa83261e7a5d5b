/** Semantic versions (semver.org 2.0.0): parsing, order and channels. */
import * as Schema from "effect/Schema"
// One by one: all of semver takes several milliseconds of a short command.
import semverCompare from "semver/functions/compare.js"
import major from "semver/functions/major.js"
import minor from "semver/functions/minor.js"
import prerelease from "semver/functions/prerelease.js"
import valid from "semver/functions/valid.js"

/** An exact semantic version such as `2.1.0` or `2.1.0-rc.1`, without a leading `v`. */
export const Version = Schema.String.pipe(
  Schema.filter((text) => valid(text) === text || "not an exact semantic version"),
  Schema.brand("Version"),
)
export type Version = typeof Version.Type

/** The `Version` of a text that is known to be one; throws on anything else. For constants. */
export const makeVersion = Schema.decodeSync(Version)

export const isVersion = Schema.is(Version)

/** Negative, zero or positive as `a` is older than, equal to or newer than `b`. */
export const compare = (a: Version, b: Version): number => semverCompare(a, b)

export const isNewer = (candidate: Version, than: Version): boolean => semverCompare(candidate, than) > 0

export const isPrerelease = (version: Version): boolean => prerelease(version) !== null

/** The npm dist-tag whose releases a version follows: `latest`, or a pre-release's own (`rc` for `2.1.0-rc.1`). */
export const channelOf = (version: Version): string => {
  const first = prerelease(version)?.[0]
  return first === undefined ? "latest" : typeof first === "string" ? first : "next"
}

/** `a`'s major.minor, for the rule about the last three minors. */
export const minorOf = (version: Version): string => `${major(version)}.${minor(version)}`

/** Whether `candidate` is something to move to: newer, and no pre-release of a channel that is not followed. */
export const isUpdate = (candidate: Version, installed: Version): boolean =>
  isNewer(candidate, installed) && (!isPrerelease(candidate) || channelOf(candidate) === channelOf(installed))
