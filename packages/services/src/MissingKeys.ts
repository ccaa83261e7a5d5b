import { agentsOfKeyFiles } from "@waiaas/domain/KeyFile"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ConfigFile } from "./ConfigFile.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { readAgentNames } from "./StoredValues.ts"
import { UpgradeJournal } from "./UpgradeJournal.ts"

interface MissingKeys {
  /** How many there are. */
  readonly agents: number
  readonly missing: ReadonlyArray<{ readonly id: string; readonly name: string }>
}
const unknown = Option.none<MissingKeys>()

/**
 * The agents whose sealed keys are not in the keystore, whether the daemon runs or not; none where it cannot be
 * known: during a run, whose database it is, or where the database or the keystore cannot be read. A key that is
 * there and does not open is not among them: to open it takes what the keystore is sealed under.
 */
export const missingKeys = Effect.gen(function* () {
  const { paths } = yield* DataDir
  const files = yield* DurableFile
  const { databasePath } = yield* (yield* ConfigFile).load
  const run = yield* (yield* UpgradeJournal).latest
  if (Option.exists(run, ({ ended }) => ended === null)) return unknown
  // The rows first: a key is there before its row, so each of them is found in the listing.
  const agents = yield* readAgentNames(databasePath)
  const sealed = new Set(agentsOfKeyFiles(yield* files.list(paths.keystore)))
  return Option.some<MissingKeys>({
    agents: agents.length,
    missing: agents.filter(({ id }) => !sealed.has(id)),
  })
}).pipe(
  Effect.tapError((error) => Effect.logDebug("which sealed keys are missing is not known", error)),
  Effect.orElseSucceed(() => unknown),
)
