/**
 * A daemon of the simulated machine: the product's own start gate, lock and facts, and around them
 * what `Serve` does, small: it takes the data, is held until the journal says `committed`, ends when
 * its upgrader dies, acknowledges rows while it serves, and checkpoints when it stops.
 */

import { dirname } from "node:path"
import { DaemonFacts } from "@waiaas/domain/DaemonFacts"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { ConfigFile } from "../ConfigFile.ts"
import { DatabaseTool } from "../DatabaseTool.ts"
import { DataDir } from "../platform/DataDir.ts"
import { DurableFile } from "../platform/DurableFile.ts"
import { Recover } from "../Recover.ts"
import { RunLocks } from "../RunLocks.ts"
import { StartGate } from "../StartGate.ts"
import { connect } from "./SimulatedDatabase.ts"
import { operate } from "./SimulatedFileSystem.ts"
import { codeIn, database, dataDir, schemaOf } from "./SimulatedPackage.ts"
import { launch, type Services } from "./SimulatedProduct.ts"
import { SimulatedProcess, type Survivor, type World } from "./SimulatedWorld.ts"

const encodeFacts = Schema.encodeSync(DaemonFacts)
export const dataLock = `${dataDir}/upgrade/data.lock`

/** Writes a row as a client's request does; it is acknowledged once it is durable. */
const acknowledge = (process: SimulatedProcess, row: string) =>
  operate({ process }, "write", `request ${row}`, () => {
    const { world } = process
    if (world.acknowledged.includes(row)) return
    const connection = connect(process, database)
    const document = connection.read()
    // A client that got no answer asks again, and a row that is there is there once.
    const rows = document.rows.includes(row) ? document.rows : [...document.rows, row]
    connection.commit({ ...document, rows })
    world.acknowledged = [...world.acknowledged, row]
  }).pipe(Effect.orElse(() => Effect.void))

/** Rows have few names, so that a machine that crashes again and again has few states. */
const serveRequests = (process: SimulatedProcess) =>
  Effect.gen(function* () {
    const isFirst = process.world.boot === "0"
    yield* acknowledge(process, `${process.version}, boot ${isFirst ? "first" : "later"}`)
    if (!isFirst) return
    yield* Effect.sleep("200 millis")
    yield* acknowledge(process, `${process.version}, later`)
  })

const serve = (process: SimulatedProcess, run: number | null) =>
  Effect.gen(function* () {
    const gate = yield* StartGate
    const locks = yield* RunLocks
    const recover = yield* Recover
    const files = yield* DurableFile
    const { paths } = yield* DataDir
    if (run !== null && process.serving !== "ok") {
      const word = yield* gate.verdict(run)
      if (word !== "opened") return yield* Effect.fail(`the upgrade is ${word}`)
      process.serving = "ok"
    }
    yield* Effect.forkDaemon(serveRequests(process))
    if (run !== null)
      yield* Effect.forkDaemon(
        Effect.gen(function* () {
          while (yield* locks.live) yield* Effect.sleep("100 millis")
          yield* Effect.either(recover.onSight({ startDaemon: false }))
        }),
      )
    yield* Effect.async<void>((resume) => {
      process.onStop = () => {
        process.onStop = null
        process.serving = null
        process.inTransit = true
        resume(Effect.void)
      }
    })
    yield* operate({ process }, "read", "stop", () => connect(process, database).close()).pipe(
      Effect.orElse(() => Effect.void),
    )
    yield* files.remove(paths.facts)
  })

const start = (process: SimulatedProcess): Effect.Effect<string | null, unknown, Services> =>
  Effect.gen(function* () {
    const { paths, check } = yield* DataDir
    yield* check
    const { digest, config } = yield* (yield* ConfigFile).load
    const admission = yield* (yield* StartGate).admit
    if (admission._tag === "BecomeOther") return admission.daemon
    const held = Option.map(admission.held, ({ started }) => started.run)
    const { files, tool } = { files: yield* DurableFile, tool: yield* DatabaseTool }
    const facts = {
      format: 1,
      pid: process.pid,
      processStart: process.start,
      instance: process.instance,
      version: process.version,
      hostname: config.daemon.hostname,
      port: config.daemon.port,
      supervisor: process.world.supervised ? "runit" : null,
      packageDir: process.packageDir,
      configDigest: digest,
      shutdownTimeout: 30,
      startedAt: 0,
    }
    yield* files.write(paths.facts, JSON.stringify(encodeFacts(facts as DaemonFacts)))
    const latest = schemaOf[process.version] ?? 0
    const before = yield* tool.examine(process.packageDir, database, "none", {})
    if (before.schema > latest) return yield* Effect.fail(`schema ${before.schema} is newer than ${latest}`)
    if (before.schema < latest) {
      if (Option.isSome(held)) return yield* Effect.fail("a held daemon migrates nothing")
      process.world.notes.push(`${process.version} migrates at its start`)
      yield* tool.migrate(process.packageDir, database)
    }
    process.schema = latest
    process.run = Option.getOrNull(held)
    process.serving = Option.isSome(held) ? "held" : "ok"
    process.inTransit = false
    yield* serve(process, Option.getOrNull(held))
    return null
  }).pipe(Effect.scoped)

/** Runs as the daemon until it ends, or goes on as other code with the same pid. */
const live = (process: SimulatedProcess): void => {
  const { world } = process
  launch(process, start(process), (exit) => {
    if (!process.alive) return
    if (Exit.isSuccess(exit) && exit.value !== null) {
      for (const [path, owner] of world.locks) if (owner === process) world.locks.delete(path)
      const code = codeIn(world.disk, dirname(dirname(exit.value)))
      if (code !== null) {
        process.version = code.version
        process.packageDir = code.packageDir
        return live(process)
      }
      world.notes.push(`${exit.value} cannot be executed`)
    }
    if (Exit.isFailure(exit)) world.notes.push(`the daemon ${process.version} ended: ${exit.cause}`)
    world.kill(process)
  })
}

/** A start by the code in `packageDir`; gives the pid. */
export const startDaemon = (world: World, packageDir: string, fault: string | null = null): number => {
  const code = codeIn(world.disk, packageDir)
  const process = new SimulatedProcess(
    world,
    world.newPid(),
    "daemon",
    code ?? { version: "none", packageDir },
  )
  world.processes.push(process)
  if (code === null) world.notes.push(`${packageDir} holds no code that could be started`)
  if (code === null || fault === "dies") world.kill(process)
  else if (fault !== "hangs") {
    process.inTransit = true
    world.after(5, () => {
      if (process.alive) live(process)
    })
  }
  return process.pid
}

/** A daemon that was running before this world began. */
export const resumeDaemon = (world: World, survivor: Survivor): void => {
  const process = new SimulatedProcess(world, survivor.pid, "daemon", survivor)
  process.serving = survivor.serving
  process.schema = survivor.schema
  process.run = survivor.run
  world.processes.push(process)
  world.locks.set(dataLock, process)
  launch(process, Effect.scoped(serve(process, survivor.run)), () => world.kill(process))
}
