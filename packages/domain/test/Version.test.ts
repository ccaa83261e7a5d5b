/** Which version is newer than which, and which of them is something to move to. */
import { assert, it } from "@effect/vitest"
import { isSupportedNode, NODE_RANGE } from "@waiaas/domain/NodeRange"
import { DistTag } from "@waiaas/domain/Release"
import {
  channelOf,
  compare,
  isNewer,
  isPrerelease,
  isUpdate,
  isVersion,
  makeVersion,
  minorOf,
} from "@waiaas/domain/Version"
import { isRange, satisfies } from "@waiaas/domain/VersionRange"
import * as Schema from "effect/Schema"

const v = makeVersion

it("a version is exact: no `v`, no range, no tag", () => {
  for (const text of ["2.1.0", "2.1.0-rc.1", "0.0.0"]) assert.isTrue(isVersion(text), text)
  for (const text of ["v2.1.0", "=2.1.0", " 2.1.0", "2.1", "2.x", "latest", "", "2.1.0+build"])
    assert.isFalse(isVersion(text), text)
})

it("versions have the order of semver, which is none of texts", () => {
  const order = ["1.9.0", "1.10.0", "2.0.0-beta.2", "2.0.0-rc.1", "2.0.0-rc.10", "2.0.0", "2.0.1"].map(
    (text) => v(text),
  )
  order.forEach((one, index) => {
    order.forEach((other, place) => {
      assert.strictEqual(Math.sign(compare(one, other)), Math.sign(index - place), `${one} ${other}`)
      assert.strictEqual(isNewer(one, other), index > place, `${one} ${other}`)
    })
  })
})

it("a version follows the dist-tag of its kind", () => {
  for (const [version, channel, isBefore] of [
    ["2.1.0", "latest", false],
    ["2.1.0-rc.1", "rc", true],
    ["2.1.0-beta", "beta", true],
    ["2.1.0-1", "next", true],
  ] as const) {
    assert.strictEqual(channelOf(v(version)), channel)
    assert.strictEqual(isPrerelease(v(version)), isBefore)
  }
  assert.strictEqual(minorOf(v("2.10.3-rc.1")), "2.10")
})

it("only what is newer, and no pre-release of a channel that is not followed, is an update", () => {
  for (const [candidate, installed, expected] of [
    ["2.1.0", "2.0.0", true],
    ["2.0.0", "2.0.0", false],
    ["1.9.0", "2.0.0", false],
    ["2.1.0-rc.1", "2.0.0", false],
    ["2.1.0-rc.2", "2.1.0-rc.1", true],
    ["2.1.0-beta.2", "2.1.0-alpha.1", false],
    ["2.1.0", "2.1.0-rc.1", true],
    ["2.1.0-rc.1", "2.1.0-rc.1", false],
  ] as const)
    assert.strictEqual(isUpdate(v(candidate), v(installed)), expected, `${candidate} over ${installed}`)
})

it("the Nodes that run it are the same ones for npm and for our own words", () => {
  for (const [version, expected] of [
    ["22.14.9", false],
    ["22.15.0", true],
    ["22.99.0", true],
    ["23.0.0", false],
    ["23.10.0", false],
    ["23.11.0", true],
    ["24.0.0", true],
    ["100.0.0", true],
    ["21.99.0", false],
    ["9.15.0", false],
  ] as const) {
    assert.strictEqual(isSupportedNode(version), expected, version)
    assert.strictEqual(satisfies(version, NODE_RANGE), expected, version)
  }
  assert.isFalse(isSupportedNode(""))
  assert.isFalse(isSupportedNode("nonsense"))
})

it("a pre-release of a Node counts as that Node", () => {
  assert.isTrue(satisfies("25.0.0-nightly", NODE_RANGE))
})

it("a range of versions is no dist-tag", () => {
  const isTag = Schema.is(DistTag)
  for (const text of ["latest", "rc", "next-2", "beta.1", "X1"]) assert.isTrue(isTag(text), text)
  for (const text of ["2.x", "x", "X", "v2", "v2.1.0", "*", "", "-rc", "1st", "a b", "ä", "a".repeat(65)])
    assert.isFalse(isTag(text), text)
  assert.isTrue(isTag("a".repeat(64)))
  assert.isTrue(isRange("^2.1.0"))
  assert.isFalse(isRange("latest"))
})
