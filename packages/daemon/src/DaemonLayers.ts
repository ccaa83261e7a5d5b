/** What the daemon is above its database: services, HTTP, background workers. `serve` provides the rest. */
import { KeyValueStore } from "@waiaas/services/KeyValueStore"
import * as Layer from "effect/Layer"
import { Agents } from "./Agents.ts"
import { ApiToken } from "./ApiToken.ts"
import { BackgroundWorkers } from "./BackgroundWorkers.ts"
import { HealthReport } from "./HealthReport.ts"
import { HttpAddress, type ServerOptions } from "./Http/Server.ts"
import { VersionInfo } from "./VersionInfo.ts"

/**
 * Needs: SqlClient (open, migrated), DataDir, DurableFile, Environment, Keystore, HeldGate, Shutdown,
 * Facts, Backup, UpdateCheck, ProcessLifetime. Closing it ends workers and requests before anything below goes.
 */
export const layerDaemon = (options: ServerOptions) =>
  Layer.mergeAll(HttpAddress.layer(options), BackgroundWorkers.layer).pipe(
    Layer.provide([HealthReport.layer, Agents.layer, ApiToken.layer]),
    Layer.provideMerge(VersionInfo.layer),
    Layer.provideMerge(KeyValueStore.layer),
  )
