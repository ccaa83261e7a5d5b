/** What an upgrade that failed says to type next is the same act again, with all that was typed. */
import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { NoPermission } from "@waiaas/domain/PackageErrors"
import { Interrupted } from "@waiaas/domain/RunErrors"
import * as Option from "effect/Option"
import { optionsToRepeat } from "../src/commands/Upgrade.ts"
import { nextFor, rememberOptions } from "../src/Failure.ts"

const plain = {
  check: false,
  dryRun: false,
  to: Option.none<string>(),
  from: Option.none<string>(),
  rollback: false,
  backup: Option.none<string>(),
  yes: false,
  resumeSuspended: false,
  start: true,
  status: false,
}
const denied = new NoPermission({ path: "/usr/lib/node_modules", owner: "root" })

const nextOf = (
  given: Partial<typeof plain>,
  { _tag: error, next }: { readonly _tag: string; readonly next: string } = denied,
  place: { readonly dataDir?: string; readonly sudo?: boolean } = {},
) => {
  rememberOptions(optionsToRepeat({ ...plain, ...given }))
  return nextFor({ error, next }, { dataDir: place.dataDir, sudo: place.sudo === true }) ?? ""
}

it("without permission: a rollback stays one, a file stays the file, and a rehearsal is no upgrade", () => {
  for (const [given, command] of [
    [{}, "sudo waiaas upgrade --data-dir ~/.waiaas"],
    [
      { rollback: true, backup: Option.some("pre-upgrade-2.0.0-1"), yes: true },
      "sudo waiaas upgrade --rollback --backup pre-upgrade-2.0.0-1 --yes --data-dir ~/.waiaas",
    ],
    [
      { from: Option.some("/srv/my files/new.tgz"), start: false },
      "sudo waiaas upgrade --from '/srv/my files/new.tgz' --no-start --data-dir ~/.waiaas",
    ],
    [
      { dryRun: true, to: Option.some("2.1.0") },
      "sudo waiaas upgrade --dry-run --to 2.1.0 --data-dir ~/.waiaas",
    ],
    // What a check is followed by is the upgrade.
    [{ check: true, to: Option.some("next") }, "sudo waiaas upgrade --to next --data-dir ~/.waiaas"],
  ] as const)
    assert.ok(nextOf(given).includes(`\`${command}\``), nextOf(given))
  assert.ok(
    nextOf({ rollback: true }, denied, { dataDir: "/srv/my data" }).includes(
      "`sudo waiaas upgrade --rollback --data-dir '/srv/my data'`",
    ),
  )
})

it("who interrupted it is shown what was typed, with sudo and the data directory", () => {
  const interrupted = new Interrupted()
  const ofRollback = { _tag: "Interrupted", next: "waiaas upgrade --rollback" }
  assert.equal(nextOf({}, interrupted), "waiaas upgrade")
  assert.equal(
    nextOf({ to: Option.some("2.1.0") }, interrupted, { sudo: true, dataDir: "/d" }),
    "sudo waiaas upgrade --to 2.1.0 --data-dir /d",
  )
  assert.equal(
    nextOf({ rollback: true, backup: Option.some("b"), resumeSuspended: true }, ofRollback),
    "waiaas upgrade --rollback --backup b --resume-suspended",
  )
})

it("another command than the one that failed stays as it is", () => {
  for (const next of [
    "waiaas upgrade --rollback",
    "waiaas upgrade --to 2.2.0",
    "waiaas upgrade --status --data-dir /d",
    "waiaas start --background",
    "Check the connection with `npm ping`, or upgrade offline with `waiaas upgrade --from <tarball>`.",
  ])
    assert.equal(nextOf({ to: Option.some("2.3.0") }, { _tag: "NpmFailed", next }), next)
})
