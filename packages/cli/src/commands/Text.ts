/** Small words that several commands share. */
import { exitCodeMeaning } from "@waiaas/domain/ExitCode"
import { installOf } from "@waiaas/domain/Install"
import { inDataDir, withSudo } from "@waiaas/domain/Shell"
import type { CheckReport } from "@waiaas/services/CheckReport"
import type { DaemonState } from "@waiaas/services/DaemonControl"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment, isUnderSudo } from "@waiaas/services/platform/Environment"
import * as Effect from "effect/Effect"

export const when = (unixSeconds: number): string =>
  new Date(unixSeconds * 1000).toISOString().replace(".000Z", "Z")

/**
 * Rows under headings, columns padded; the lines of each row, after the ones of the headings. Where a terminal of
 * `columns` is too narrow for them there are no headings, and each row has its first cell, then the others with their names.
 */
export const tableRows = (
  headings: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  columns: number | undefined,
): readonly [headings: ReadonlyArray<string>, ...rows: ReadonlyArray<ReadonlyArray<string>>] => {
  const widths = headings.map((heading, index) =>
    Math.max(heading.length, ...rows.map((row) => row[index]?.length ?? 0)),
  )
  const padded = (row: ReadonlyArray<string>) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join("  ")
      .trimEnd()
  if (Math.max(...[headings, ...rows].map((row) => padded(row).length)) <= (columns ?? Number.MAX_VALUE))
    return [[padded(headings)], ...rows.map((row) => [padded(row)])]
  const named = (row: ReadonlyArray<string>) =>
    row.slice(1).map((cell, index) => `${(headings[index + 1] ?? "").toLowerCase()} ${cell}`)
  return [[], ...rows.map((row) => [row[0] ?? "", `  ${named(row).join(", ")}`])]
}

export const table = (...given: Parameters<typeof tableRows>): ReadonlyArray<string> =>
  tableRows(...given).flat()

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

/** What a daemon that was not restarted since npm changed the package still is; `null` where it is what is installed. */
export const otherVersionText = (
  state: DaemonState,
  { version: installed, packageDir }: { readonly version: string; readonly packageDir: string },
  here: (command: string) => string,
): string | null =>
  state._tag === "Running" &&
  state.facts.version !== installed &&
  // Kept code, which the command is pointed to around a swap, is not what is installed.
  (installOf(packageDir, "")?.packageDir ?? packageDir) === packageDir
    ? `the daemon runs ${state.facts.version}, while ${installed} is installed: ${here("waiaas restart")}`
    : null

/** Makes a suggested command mean the same data directory, with the same rights. */
export const inSameDataDir = Effect.map(
  Effect.all([DataDir, Environment]),
  ([{ explicit, paths }, environment]) =>
    (command: string) => {
      const here = explicit ? inDataDir(command, paths.root) : command
      return isUnderSudo(environment) ? withSudo(here) : here
    },
)
