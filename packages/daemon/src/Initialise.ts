import { initialConfigToml } from "@waiaas/domain/Config"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import * as Effect from "effect/Effect"
import { ApiToken } from "./ApiToken.ts"
import { Keystore } from "./Keystore.ts"
import { prepareDatabase } from "./PrepareDatabase.ts"

/** Creates what is missing of a data directory and changes nothing that is there. */
export const initialise = Effect.scoped(
  Effect.gen(function* () {
    const { paths, create } = yield* DataDir
    const files = yield* DurableFile
    const lock = yield* ExclusiveLock
    const config = yield* ConfigFile
    yield* create
    yield* lock.acquire({ lock: "data", path: paths.dataLock, what: "init" })
    const isNew = !(yield* files.exists(paths.config))
    const { databasePath } = yield* config.load
    const source = yield* Keystore.initialise
    yield* ApiToken.initialise
    yield* prepareDatabase(databasePath, { create: true })
    // The configuration comes last: it is what says that a data directory is initialised.
    if (isNew) yield* files.write(paths.config, initialConfigToml)
    return { dataDir: paths.root, created: isNew, keystore: source, database: databasePath }
  }),
)
