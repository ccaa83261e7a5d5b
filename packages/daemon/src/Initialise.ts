import { initialConfigToml } from "@waiaas/domain/Config"
import { type DatabaseFailed, type FileFailed, KeystoreDamaged } from "@waiaas/domain/DataErrors"
import { UnfinishedRun } from "@waiaas/domain/RunErrors"
import { ConfigFile, warnOfUnknownVariables } from "@waiaas/services/ConfigFile"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ApiToken } from "./ApiToken.ts"
import { Keystore } from "./Keystore.ts"
import { createDatabase, expectDatabase } from "./PrepareDatabase.ts"

/** How many agents a database has; none where it is not there, or empty, as an init that was cut off leaves it. */
const agentsIn = (
  path: string,
): Effect.Effect<number, DatabaseFailed | FileFailed, DatabaseTool | DurableFile | Environment> =>
  Effect.gen(function* () {
    const found = yield* (yield* DurableFile).statIfThere(path)
    if (Option.isNone(found) || Number(found.value.size) === 0) return 0
    const { packageDir } = yield* Environment
    const { tables } = yield* (yield* DatabaseTool).examine(packageDir, path, "none", { agents: ["id"] })
    return tables.agents?.rows ?? 0
  })

/** Backups are of agents whose keys a keystore held, wherever their database is. */
const expectNoBackups = Effect.gen(function* () {
  if (yield* Keystore.exists) return
  const { paths } = yield* DataDir
  const names = (yield* (yield* DurableFile).list(paths.backups)).filter((name) => !name.startsWith("."))
  if (names.length === 0) return
  return yield* new KeystoreDamaged({
    path: paths.keystore,
    problem: `holds no master.json, and ${paths.backups} has ${names.length} ${
      names.length === 1 ? "backup" : "backups"
    } of data whose keys only that keystore opens`,
    missing: true,
  })
})

/** Agents have keys: where their keystore is gone, a new one would take its place and open none of them. */
const expectNoAgents = (path: string) =>
  Effect.gen(function* () {
    if (yield* Keystore.exists) return
    const agents = yield* agentsIn(path)
    if (agents === 0) return
    const { paths } = yield* DataDir
    return yield* new KeystoreDamaged({
      path: paths.keystore,
      problem: `holds no master.json, and the database ${path} has ${agents} agent${
        agents === 1 ? " whose key" : "s whose keys"
      } only that keystore opens`,
      missing: true,
    })
  })

/**
 * Creates what is missing of a data directory and changes nothing that is there. Whatever speaks against it is found
 * before anything is made.
 */
export const initialise = Effect.scoped(
  Effect.gen(function* () {
    const { paths, create, expectRoom } = yield* DataDir
    const files = yield* DurableFile
    const lock = yield* ExclusiveLock
    yield* expectRoom
    const { databasePath } = yield* (yield* ConfigFile).load
    yield* warnOfUnknownVariables
    const answer = { dataDir: paths.root, database: databasePath }
    const hasToken = yield* files.exists(paths.token)
    const source = yield* Keystore.sourceOf
    // All is there: nothing is to be done, and a daemon may be at work on it.
    if (
      hasToken &&
      Option.isSome(source) &&
      (yield* files.exists(databasePath)) &&
      (yield* files.exists(paths.config))
    )
      return { ...answer, created: false, token: false, keystore: source.value }
    yield* Keystore.expectMakeable
    yield* expectNoAgents(databasePath)
    yield* expectNoBackups
    yield* create
    yield* lock.acquire({ lock: "data", path: paths.dataLock, what: "init" })
    // While a run is not over, the data is the run's.
    const run = Option.getOrNull(yield* (yield* UpgradeJournal).latest)
    if (run !== null && run.ended === null)
      return yield* new UnfinishedRun({ dataDir: paths.root, run: run.started.run })
    // With a keystore there was a database: where it is missing now, another one would hide the agents.
    const isNew = !(yield* Keystore.exists)
    if (isNew) {
      yield* expectNoAgents(databasePath)
      yield* createDatabase(databasePath)
    }
    const keystore = yield* Keystore.initialise
    yield* ApiToken.initialise
    yield* expectDatabase(databasePath)
    // The configuration comes last: it is what says that a data directory is initialised.
    if (!(yield* files.exists(paths.config))) yield* files.write(paths.config, initialConfigToml)
    return { ...answer, created: isNew, token: !hasToken, keystore }
  }),
)
