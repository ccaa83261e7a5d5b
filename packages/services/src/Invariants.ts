import type { FileFailed } from "@waiaas/domain/DataErrors"
import { packagePaths } from "@waiaas/domain/Install"
import type { Invariants } from "@waiaas/domain/JournalRecord"
import { VerificationFailed } from "@waiaas/domain/RunErrors"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { DurableFile, readJsonIfValid } from "./platform/DurableFile.ts"

type Digests = Invariants["tables"]

/** No row that holds value was lost, added or changed. */
export const expectSame = (before: Digests, after: Digests): Effect.Effect<void, VerificationFailed> =>
  Effect.forEach(
    Object.entries(before),
    ([table, was]) => {
      const is = after[table]
      if (is?.digest === was.digest && is.rows === was.rows) return Effect.void
      return new VerificationFailed({
        what: `the table ${table}`,
        expected: `${was.rows} rows, unchanged`,
        found: is === undefined ? "gone" : is.rows === was.rows ? "changed" : `${is.rows} rows`,
      })
    },
    { discard: true },
  )

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
