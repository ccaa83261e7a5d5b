import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ConfigFile } from "./ConfigFile.ts"
import { publicKeysOnFile } from "./KeystoreFiles.ts"
import { readAgents } from "./StoredValues.ts"
import { UpgradeJournal } from "./UpgradeJournal.ts"

interface MissingKeys {
  /** How many there are. */
  readonly agents: number
  readonly missing: ReadonlyArray<{ readonly id: string; readonly name: string }>
}
const unknown = Option.none<MissingKeys>()

/**
 * The agents of which the keystore has no sealed key with their public key, whether the daemon runs or not; none where
 * it cannot be known: during a run, whose database it is, or where the database or the keystore cannot be read. Nothing
 * is opened: a key that only looks like one is found by `agent show`, and by an upgrade.
 */
export const missingKeys = Effect.gen(function* () {
  const { databasePath } = yield* (yield* ConfigFile).load
  const run = yield* (yield* UpgradeJournal).latest
  if (Option.exists(run, ({ ended }) => ended === null)) return unknown
  // The rows first: a key is there before its row, so each of them is found in the listing.
  const agents = yield* readAgents(databasePath)
  const onFile = yield* publicKeysOnFile
  return Option.some<MissingKeys>({
    agents: agents.length,
    missing: agents.flatMap(({ id, name, publicKey }) =>
      onFile.get(id) === publicKey ? [] : [{ id, name }],
    ),
  })
}).pipe(
  Effect.tapError((error) => Effect.logDebug("which sealed keys are missing is not known", error)),
  Effect.orElseSucceed(() => unknown),
)
