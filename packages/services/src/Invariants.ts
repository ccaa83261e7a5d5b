import type { FileFailed } from "@waiaas/domain/DataErrors"
import { packagePaths } from "@waiaas/domain/Install"
import type { Run } from "@waiaas/domain/JournalRecord"
import { CandidateRefused } from "@waiaas/domain/PackageErrors"
import { VerificationFailed } from "@waiaas/domain/RunErrors"
import {
  absentInWords,
  type Change,
  type Comparison,
  differenceInWords,
  isKnown,
  needsRows,
} from "@waiaas/domain/SchemaChange"
import type { Migration } from "@waiaas/domain/ToolProtocol"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { DurableFile, readJsonIfValid } from "./platform/DurableFile.ts"

/** What a comparison found that no change declares, and what was declared and did not happen; each empty where there is nothing. */
export const beyondDeclared = ({ differences, absent }: Comparison) => ({
  more: differences.map(differenceInWords).join("; "),
  less: absent
    .filter((change) => !needsRows(change))
    .map(absentInWords)
    .join("; "),
})

/** The data after a migration are those before it, but for what the migration declares, which did happen. */
export const expectDeclared = (comparison: Comparison): Effect.Effect<void, VerificationFailed> => {
  const { more, less } = beyondDeclared(comparison)
  const failed = (expected: string, found: string) =>
    new VerificationFailed({ what: "what the migration changes", expected, found })
  if (more !== "") return failed("what it declares and nothing else", `this too: ${more}`)
  return less === "" ? Effect.void : failed("all that it declares", `no ${less}`)
}

/** What cannot be compared is not installed: the declaration is of a later kind than this code. */
export const expectKnown = (
  { started }: Run,
  changes: Migration["changes"],
): Effect.Effect<ReadonlyArray<Change>, CandidateRefused> => {
  const known = changes.filter(isKnown)
  const other = changes.find((change) => !isKnown(change))
  return other === undefined
    ? Effect.succeed(known)
    : new CandidateRefused({
        version: started.to,
        reason: `its migration declares a change of a kind that ${started.from} cannot verify (${other._tag})`,
        command:
          "Go through a release in between: choose one out of `npm view @waiaas/cli versions`, then `waiaas upgrade --to <version>`.",
      })
}

export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`

const Manifest = Schema.Struct({ version: Schema.String })

/** The version that a package says to be; none where its manifest cannot be read. */
export const versionIn = (
  files: typeof DurableFile.Service,
  packageDir: string,
): Effect.Effect<Option.Option<string>, FileFailed> =>
  readJsonIfValid(Manifest, packagePaths(packageDir).manifest).pipe(
    Effect.provideService(DurableFile, files),
    Effect.map(Option.map(({ version }) => version)),
  )

/** The package in place is the one that was meant to be there. Read, not run: whoever resumes may lack its password. */
export const expectVersion = (
  files: typeof DurableFile.Service,
  packageDir: string,
  expected: string,
): Effect.Effect<void, VerificationFailed | FileFailed> =>
  Effect.gen(function* () {
    const found = Option.getOrElse(yield* versionIn(files, packageDir), () => "unknown")
    if (found !== expected)
      return yield* new VerificationFailed({ what: "the version of the package in place", expected, found })
  })
