/** Which backups retention gives up, and what a manifest may name. */
import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { BackupFile, type BackupKind, backupName, expired } from "../src/BackupManifest.ts"
import { makeVersion } from "../src/Version.ts"

const of = (kind: BackupKind, ...sequences: ReadonlyArray<number>) =>
  sequences.map((sequence) => ({ kind, sequence }))
const given = (backups: ReturnType<typeof of>, keep?: number) =>
  expired(backups, keep).map(({ kind, sequence }) => `${kind} ${sequence}`)

it("five of an upgrade's, two of a rollback's and two of a start's stay, and all of the operator's", () => {
  for (const [kind, count] of [
    ["pre-upgrade", 5],
    ["pre-rollback", 2],
    ["pre-migrate", 2],
  ] as const) {
    const numbers = Array.from({ length: count + 2 }, (_, index) => index + 1)
    assert.deepEqual(given(of(kind, ...numbers.slice(0, count))), [])
    // The oldest by sequence go, oldest first, in whatever order they are given.
    for (const order of [numbers, numbers.toReversed()])
      assert.deepEqual(given(of(kind, ...order)), [`${kind} 1`, `${kind} 2`])
  }
  assert.deepEqual(given(of("manual", 1, 2, 3, 4, 5, 6, 7, 8)), [])
})

it("each kind is counted by itself, and the one that a rollback would take stays whatever its age", () => {
  const all = [...of("pre-rollback", 1, 4, 9), ...of("pre-migrate", 2, 3, 5), ...of("manual", 6, 7, 8)]
  assert.deepEqual(given(all), ["pre-rollback 1", "pre-migrate 2"])
  assert.deepEqual(given(all, 2), ["pre-rollback 1"])
  assert.deepEqual(given(all, 9), ["pre-rollback 1", "pre-migrate 2"])
  // It does not push another one out.
  assert.deepEqual(given(of("pre-migrate", 1, 2, 3, 4), 1), ["pre-migrate 2"])
})

it("a backup's name sorts by kind and has its version, its second and its sequence", () => {
  const name = (sequence: number, createdAt: number) =>
    backupName({ kind: "pre-upgrade", from: makeVersion("2.0.0-rc.1"), createdAt, sequence })
  assert.equal(name(7, 1_700_000_000), "pre-upgrade-2.0.0-rc.1-20231114T221320Z-000007")
  assert.equal(name(1_234_567, 0), "pre-upgrade-2.0.0-rc.1-19700101T000000Z-1234567")
})

it("a file in a manifest is a name, never a path, with a size and a whole digest", () => {
  const is = Schema.is(BackupFile)
  const good = { name: "waiaas.db", size: 0, sha256: "0".repeat(64) }
  assert.ok(is(good))
  for (const bad of [
    { name: "../waiaas.db" },
    { name: "/etc/passwd" },
    { name: "a/b" },
    { name: "a\nb" },
    { name: "" },
    { size: -1 },
    { size: 0.5 },
    { sha256: "0".repeat(63) },
    { sha256: "0".repeat(65) },
    { sha256: `${"0".repeat(63)}G` },
  ])
    assert.ok(!is({ ...good, ...bad }), JSON.stringify(bad))
})
