/** What is said of the daemon's check, and when a new version is announced: from stored values alone. */
import { assert, describe, it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { checkReportOf } from "@waiaas/services/CheckReport"
import { failedCheckKeys, versionKeys } from "@waiaas/services/KeyValueStore"
import { noticeFor } from "@waiaas/services/UpdateNotifier"
import { newestOf } from "@waiaas/services/VersionCheck"
import * as Option from "effect/Option"

const installed = makeVersion("2.0.0")
const settings = { checking: true, registry: "http://a.test/", ageLimit: null }
const { latest, checkedAt, registry, notified, notifiedAt } = versionKeys
const reportOf = (values: Record<string, string>, how = settings) =>
  checkReportOf(new Map(Object.entries(values)), how, installed)

describe("the report of the check", () => {
  it("is that nothing is known where nothing is stored, or nothing that is one", () => {
    const unknown = {
      version: "2.0.0",
      latestVersion: null,
      updateAvailable: false,
      checking: true,
      registry: "http://a.test/",
      ageLimit: null,
      checkedAt: null,
      failure: null,
    }
    assert.deepStrictEqual<unknown>(reportOf({}), unknown)
    for (const odd of ["", "soon", "-1", "1.5", "1e3", " 1", "1\n", "1".repeat(16)])
      assert.deepStrictEqual<unknown>(
        reportOf({ [latest]: "newest", [checkedAt]: odd, [failedCheckKeys.at]: odd }),
        unknown,
        odd,
      )
    assert.strictEqual(reportOf({ [checkedAt]: "1".repeat(15) }).checkedAt, 111_111_111_111_111)
    assert.deepStrictEqual<unknown>(
      reportOf({}, { checking: false, registry: "http://b.test/", ageLimit: null }),
      {
        ...unknown,
        checking: false,
        registry: "http://b.test/",
      },
    )
  })

  it("names an update where the stored version is a newer one of the channel", () => {
    for (const [stored, isUpdate] of [
      ["2.0.1", true],
      ["2.0.0", false],
      ["1.9.0", false],
      ["2.1.0-rc.1", false],
    ] as const) {
      const { latestVersion, updateAvailable } = reportOf({ [latest]: stored })
      assert.deepStrictEqual([latestVersion, updateAvailable], [stored, isUpdate])
    }
  })

  it("is of the registry that is asked now, as far as both are known", () => {
    const stored = { [latest]: "2.1.0", [checkedAt]: "5" }
    const of = (values: Record<string, string>, address: string | null) => {
      const { latestVersion, checkedAt: at } = reportOf(values, {
        checking: true,
        registry: address,
      } as never)
      return [latestVersion, at]
    }
    const known = ["2.1.0", 5]
    assert.deepStrictEqual(of({ ...stored, [registry]: "http://a.test/" }, "http://a.test/"), known)
    assert.deepStrictEqual(of({ ...stored, [registry]: "http://a.test/" }, null), known)
    assert.deepStrictEqual(of(stored, "http://a.test/"), known)
    assert.deepStrictEqual(of({ ...stored, [registry]: "http://b.test/" }, "http://a.test/"), [null, null])
  })

  it("has a failure with its time, its cause, and since when", () => {
    const { at, since, problem } = failedCheckKeys
    assert.deepStrictEqual(reportOf({ [at]: "30", [since]: "10", [problem]: "down" }).failure, {
      at: 30,
      since: 10,
      problem: "down",
    })
    assert.deepStrictEqual(reportOf({ [at]: "0" }).failure, { at: 0, since: 0, problem: "unknown" })
    assert.isNull(reportOf({ [since]: "10", [problem]: "down" }).failure)
  })
})

describe("a new version", () => {
  const day = 86_400
  const now = 1_770_000_000
  const isAnnounced = (values: Record<string, string>) =>
    Option.isSome(noticeFor(new Map(Object.entries({ [latest]: "2.1.0", ...values })), installed, now))

  it("is announced once in a day, and another one at once", () => {
    for (const [at, which, expected] of [
      [String(now), "2.1.0", false],
      [String(now - day + 1), "2.1.0", false],
      [String(now - day), "2.1.0", true],
      [String(now - day + 1), "2.0.1", true],
      [String(now - day), "2.0.1", true],
      // A clock that went back silences nothing.
      [String(now + 1), "2.1.0", true],
      ["soon", "2.1.0", true],
    ] as const)
      assert.strictEqual(isAnnounced({ [notifiedAt]: at, [notified]: which }), expected, `${at} ${which}`)
    assert.isFalse(isAnnounced({ [notifiedAt]: String(now) }), "of which version is not known")
    assert.isTrue(isAnnounced({ [notified]: "2.1.0" }), "when is not known")
  })

  it("is announced with what it is compared with, and only where it is an update", () => {
    assert.deepStrictEqual<unknown>(
      Option.getOrNull(
        noticeFor(new Map([[latest, "2.1.0"] as const, [checkedAt, "7"] as const]), installed, now),
      ),
      { installed: "2.0.0", latest: "2.1.0", check: { checkedAt: 7, failure: null }, ageLimit: null },
    )
    for (const stored of ["2.0.0", "1.9.0", "2.1.0-rc.1", "newest"])
      assert.isFalse(isAnnounced({ [latest]: stored }), stored)
    assert.isTrue(Option.isNone(noticeFor(new Map(), installed, now)))
    assert.isTrue(
      Option.isNone(
        noticeFor(
          new Map([[latest, "2.1.0"] as const, [registry, "http://b.test/"] as const]),
          installed,
          now,
          settings,
        ),
      ),
    )
  })

  it("is the newest of the channel that is followed and of the stable one", () => {
    const newest = (tags: Record<string, string>, version: string) =>
      Option.getOrNull(newestOf(tags, makeVersion(version)))
    assert.strictEqual(newest({ latest: "2.1.0", rc: "3.0.0-rc.1" }, "2.0.0"), "2.1.0")
    assert.strictEqual(newest({ latest: "2.0.0", rc: "2.1.0-rc.2" }, "2.1.0-rc.1"), "2.1.0-rc.2")
    assert.strictEqual(newest({ latest: "2.1.0", rc: "2.1.0-rc.2" }, "2.1.0-rc.1"), "2.1.0")
    assert.strictEqual(newest({ latest: "2.9.0", rc: "2.10.0-rc.1" }, "2.1.0-rc.1"), "2.10.0-rc.1")
    assert.strictEqual(newest({ latest: "2.0.0", rc: "newest" }, "2.1.0-rc.1"), "2.0.0")
    assert.isNull(newest({}, "2.0.0"))
  })
})
