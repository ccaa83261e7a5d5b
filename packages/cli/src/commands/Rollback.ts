/** `waiaas upgrade --rollback`: what it says before it asks, and after it has gone back. */
import { changesInWords, isSame, keylessInWords } from "@waiaas/domain/AgentChanges"
import { otherWritesInWords } from "@waiaas/domain/OtherWrites"
import { Unconfirmed } from "@waiaas/domain/RunErrors"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { prunedInWords } from "@waiaas/services/Retention"
import { Rollback, type RollbackReport } from "@waiaas/services/Rollback"
import type { RollbackPlan } from "@waiaas/services/RollbackCheck"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import { confirm } from "../Ask.ts"
import { Output } from "../Output.ts"
import { inSameDataDir, keystoreNote, when } from "./Text.ts"

export interface RollbackFlags {
  readonly backup: Option.Option<string>
  readonly yes: boolean
  readonly start: boolean
  readonly resumeSuspended: boolean
  /** Everything that was typed, for who types it again. */
  readonly repeated: ReadonlyArray<string>
}

/** What a rollback would restore and undo. */
export const planInWords = (plan: RollbackPlan, resume: boolean, keystore: string): ReadonlyArray<string> => {
  const { manifest, name } = plan.backup
  const keyless = plan.ofBackup === null ? null : keylessInWords(plan.ofBackup, keystore)
  const data = `the data of ${when(manifest.createdAt)} (schema ${manifest.schema})`
  return [
    plan.code === "same"
      ? `Rollback to ${data}, with the same version ${plan.installed}.`
      : `Rollback from ${plan.installed} to ${manifest.from}, with ${data}.`,
    `Backup:  ${name}`,
    ...(plan.changes === null
      ? []
      : [...changesInWords(plan.changes, resume), ...otherWritesInWords(plan.others)].map(
          (line) => `Since then: ${line}`,
        )),
    ...(plan.configDiffers ? ["config.toml was changed since then: that backup's comes back."] : []),
    ...(keyless === null ? [] : [keyless]),
    ...(plan.unreadable === null
      ? ["Today's data is kept aside as a pre-rollback backup."]
      : [
          `Today's database cannot be read, so what was written since is not known: an agent that was suspended since signs again. ${plan.unreadable}`,
          "Its files are kept aside as they are.",
        ]),
    keystoreNote,
  ]
}

/** What was written between the question and the stop, where something was: it is undone as well. */
const writtenMeanwhile = (
  { changes: before, others: othersBefore }: RollbackPlan,
  { changes: after, others }: RollbackReport,
  resume: boolean,
): ReadonlyArray<string> =>
  before === null ||
  after === null ||
  (isSame(before, after) && JSON.stringify(othersBefore) === JSON.stringify(others))
    ? []
    : [
        "More was written before the daemon stopped. In all, since that backup:",
        ...[...changesInWords(after, resume), ...otherWritesInWords(others)].map((line) => `  ${line}`),
      ]

export const rollbackRun = (options: RollbackFlags) =>
  Effect.gen(function* () {
    const output = yield* Output
    const rollback = yield* Rollback
    const here = yield* inSameDataDir
    const { paths } = yield* DataDir
    const { resumeSuspended, start: restart } = options
    const plan = yield* rollback.plan(options.backup)
    for (const line of planInWords(plan, resumeSuspended, paths.keystore)) yield* output.note(line)
    if (!options.yes) {
      const command = ["waiaas upgrade", ...options.repeated, "--yes"].join(" ")
      const unconfirmed = new Unconfirmed({ what: "The rollback", command })
      if (process.stdin.isTTY !== true || output.mode !== "human") return yield* unconfirmed
      if (!(yield* confirm("Go back?", { input: process.stdin, output: process.stderr })))
        return yield* unconfirmed
    }
    const report = yield* rollback.run(plan, { restart, resumeSuspended })
    const path = `${paths.backups}/${report.backup}`
    yield* output.result({ event: "Result", _tag: "RolledBack", ...report, path, resumeSuspended }, [
      report.from === report.to
        ? `Restored the data of ${report.to}, schema ${report.schema}.`
        : `Rolled back to WAIaaS ${report.to}, schema ${report.schema}.`,
      `Restored:   ${report.backup}`,
      `Kept aside: ${paths.backups}/${report.aside}`,
      ...writtenMeanwhile(plan, report, resumeSuspended),
      ...prunedInWords(report.pruned),
      ...(report.running ? [] : [`The daemon was not started: ${here("waiaas start --background")}`]),
    ])
  })
