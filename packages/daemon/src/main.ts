/** `serve` (the daemon) and `init` (a data directory), wiring only. */
import "@waiaas/services/platform/NoDebugger"
import { setFlagsFromString } from "node:v8"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { Backup } from "@waiaas/services/Backup"
import { Compatibility } from "@waiaas/services/Compatibility"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { DaemonHandover } from "@waiaas/services/DaemonHandover"
import { layerDatabaseToolLocal } from "@waiaas/services/DatabaseToolLocal"
import { DataRestore } from "@waiaas/services/DataRestore"
import { PackageSwap } from "@waiaas/services/PackageSwap"
import { PhaseReporter } from "@waiaas/services/PhaseReporter"
import { Probation } from "@waiaas/services/Probation"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { LoopbackClient } from "@waiaas/services/platform/LoopbackClient"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { Registry } from "@waiaas/services/platform/Registry"
import { Recover } from "@waiaas/services/Recover"
import { RollbackSteps } from "@waiaas/services/RollbackSteps"
import { RunLocks } from "@waiaas/services/RunLocks"
import { StartGate } from "@waiaas/services/StartGate"
import { Supervision } from "@waiaas/services/Supervision"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import { UpgradeProgress } from "@waiaas/services/UpgradeProgress"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { execute } from "./Execute.ts"
import { initialise } from "./Initialise.ts"
import { ProcessLifetime } from "./ProcessLifetime.ts"
import { runMain } from "./RunMain.ts"
import { serve } from "./Serve.ts"
import { dataDirectoryActs } from "./Tool.ts"

const [verb, ...rest] = process.argv.slice(2)
// A daemon that waits most of the time should not grow its young generation: it saves a sixth of its memory.
if (verb === "serve") setFlagsFromString("--semi-space-growth-factor=1")
const background = rest.includes("--background")
const flag = rest[0] === "--data-dir" ? Option.fromNullable(rest[1]) : Option.none<string>()

const Platform = Layer.mergeAll(ProcessRunner.layer, FetchHttpClient.layer, ExclusiveLock.layer).pipe(
  Layer.provideMerge(DurableFile.layer),
  Layer.provideMerge(Layer.mergeAll(NodeFileSystem.layer, Environment.layer)),
)
const Place = Probation.layer.pipe(
  Layer.provideMerge(UpgradeJournal.layer),
  Layer.provideMerge(ConfigFile.layer),
  Layer.provideMerge(DataDir.layer(flag)),
  Layer.provideMerge(Platform),
)
/** The daemon's own code works on the database in this process: it holds the data lock. */
const Tool = Layer.unwrapEffect(Effect.map(dataDirectoryActs, (acts) => layerDatabaseToolLocal(acts))).pipe(
  Layer.provideMerge(Platform),
)
const Data = Layer.mergeAll(DataRestore.layer, Compatibility.layer).pipe(
  Layer.provideMerge(Backup.layer),
  Layer.provideMerge(Tool),
  Layer.provideMerge(Place),
)
/** A start that meets a cut-off run recovers it, so all of the recovery is here too. */
const Recovery = StartGate.layer.pipe(
  Layer.provideMerge(Recover.layer),
  Layer.provideMerge(RollbackSteps.layer),
  Layer.provideMerge(Layer.mergeAll(PhaseReporter.layer, DaemonHandover.layer, RunLocks.layer)),
  Layer.provideMerge(
    Layer.mergeAll(
      // Not over fetch, which a proxy of the environment may serve.
      Layer.provide(DaemonControl.layer, LoopbackClient),
      PackageSwap.layer,
      UpgradeProgress.layerSilent,
      Registry.layer,
      Supervision.layer,
    ),
  ),
  Layer.provideMerge(Data),
)

const program = Effect.gen(function* () {
  switch (verb) {
    case "serve": {
      const ending = yield* serve(background).pipe(
        Effect.provide(Recovery),
        Effect.provide(ProcessLifetime.layer),
      )
      if (ending._tag === "BecomeOther")
        return yield* Effect.provide(execute(ending.daemon, rest), Environment.layer)
      return
    }
    case "init": {
      const made = yield* initialise.pipe(Effect.provide(Data))
      return yield* Effect.sync(() => void process.stdout.write(`${JSON.stringify(made)}\n`))
    }
    default:
      return yield* Effect.dieMessage(
        `${verb ?? "nothing"} is neither serve nor init: this file is run by waiaas`,
      )
  }
})

// A reader of the log that has stopped reading must not keep a daemon from ending.
runMain(program, {
  background,
  plain: verb === "init",
  dataDir: Option.getOrUndefined(flag),
  flushLimit: 2000,
})
