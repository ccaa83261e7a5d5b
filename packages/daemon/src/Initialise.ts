import { initialConfigToml } from "@waiaas/domain/Config"
import { UnfinishedRun } from "@waiaas/domain/RunErrors"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ApiToken } from "./ApiToken.ts"
import { Keystore } from "./Keystore.ts"
import { createDatabase, expectDatabase } from "./PrepareDatabase.ts"

/** Creates what is missing of a data directory and changes nothing that is there. */
export const initialise = Effect.scoped(
  Effect.gen(function* () {
    const { paths, create, expectRoom } = yield* DataDir
    const files = yield* DurableFile
    const lock = yield* ExclusiveLock
    const config = yield* ConfigFile
    yield* expectRoom
    yield* create
    yield* lock.acquire({ lock: "data", path: paths.dataLock, what: "init" })
    // While a run is not over, the data is the run's.
    const run = Option.getOrNull(yield* (yield* UpgradeJournal).latest)
    if (run !== null && run.ended === null)
      return yield* new UnfinishedRun({ dataDir: paths.root, run: run.started.run })
    const { databasePath } = yield* config.load
    // With a keystore there was a database: where it is missing now, another one would hide the agents.
    const isNew = !(yield* Keystore.exists)
    if (isNew) yield* createDatabase(databasePath)
    const source = yield* Keystore.initialise
    yield* ApiToken.initialise
    yield* expectDatabase(databasePath)
    // The configuration comes last: it is what says that a data directory is initialised.
    if (!(yield* files.exists(paths.config))) yield* files.write(paths.config, initialConfigToml)
    return { dataDir: paths.root, created: isNew, keystore: source, database: databasePath }
  }),
)
