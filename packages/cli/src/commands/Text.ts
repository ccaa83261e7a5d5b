/** Small words that several commands share. */
import { exitCodeMeaning } from "@waiaas/domain/ExitCode"
import { inDataDir, withSudo } from "@waiaas/domain/Shell"
import type { CheckReport } from "@waiaas/services/CheckReport"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment, isUnderSudo } from "@waiaas/services/platform/Environment"
import * as Effect from "effect/Effect"

export const when = (unixSeconds: number): string =>
  new Date(unixSeconds * 1000).toISOString().replace(".000Z", "Z")

export const size = (bytes: number): string =>
  bytes >= 1e9
    ? `${(bytes / 1e9).toFixed(2)} GB`
    : bytes >= 1e6
      ? `${(bytes / 1e6).toFixed(1)} MB`
      : `${Math.ceil(bytes / 1e3)} kB`

/** Rows under headings, columns padded. */
export const table = (
  headings: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
): ReadonlyArray<string> => {
  const widths = headings.map((heading, index) =>
    Math.max(heading.length, ...rows.map((row) => row[index]?.length ?? 0)),
  )
  return [headings, ...rows].map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join("  ")
      .trimEnd(),
  )
}

/** The sentence that every list of backups carries. */
export const keystoreNote = "The keystore is not in any backup: keep your own copy of it."

export const exitCodes = `Exit codes: ${exitCodeMeaning.map(([code, meaning]) => `${code} ${meaning}`).join("; ")}.`

/** When the daemon's check for new versions last succeeded, and why the last one failed. */
export const checkText = ({ checking, registry, checkedAt, failure }: CheckReport): string => {
  const succeeded =
    checkedAt === null ? "none has succeeded yet" : `the last one that succeeded: ${when(checkedAt)}`
  if (failure !== null)
    return `failed at ${when(failure.at)}, ${succeeded}. ${failure.problem}${checking ? "" : " It is off now (update_check = false)."}`
  if (!checking) return "off (update_check = false)"
  return checkedAt === null ? "none yet" : `${when(checkedAt)}${registry === null ? "" : `, ${registry}`}`
}

/** Makes a suggested command mean the same data directory, with the same rights. */
export const inSameDataDir = Effect.map(
  Effect.all([DataDir, Environment]),
  ([{ explicit, paths }, environment]) =>
    (command: string) => {
      const here = explicit ? inDataDir(command, paths.root) : command
      return isUnderSudo(environment) ? withSudo(here) : here
    },
)
