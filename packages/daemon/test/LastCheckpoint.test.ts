/** The last act of a stop on the database. */
import { strict as assert } from "node:assert"
import { spawn } from "node:child_process"
import { existsSync, statSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { layerDatabase } from "@waiaas/services/Database"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerLastCheckpoint } from "../src/LastCheckpoint.ts"
import { layerPlatform, temporaryDirectory } from "./support.ts"

const sqlite = createRequire(import.meta.url).resolve("better-sqlite3")

/** Another process in a read transaction. */
const reader = (database: string) =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      const code = `const db = new (require(${JSON.stringify(sqlite)}))(${JSON.stringify(database)})
        db.exec("BEGIN"); db.prepare("SELECT * FROM things").all(); console.log("ready"); setInterval(() => {}, 1000)`
      const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] })
      child.stdout.once("data", () => resume(Effect.succeed(child.pid ?? 0)))
    }),
    (pid) => Effect.sync(() => process.kill(pid, "SIGKILL")),
  )

const used = <A, E, R>(path: string, act: Effect.Effect<A, E, R>) =>
  act.pipe(
    Effect.provide(layerLastCheckpoint(path).pipe(Layer.provideMerge(layerDatabase({ path, create: true })))),
  )
const run = (statement: string) => Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement))

it.scopedLive("a stop brings the log into the database", () =>
  Effect.gen(function* () {
    const path = join(yield* temporaryDirectory, "it.db")
    yield* used(path, run("CREATE TABLE things (it)"))
    assert.ok(!existsSync(`${path}-wal`))
  }).pipe(Effect.provide(layerPlatform("/nowhere"))),
)

it.scopedLive("a stop does not wait for a reader elsewhere, and loses nothing", () =>
  Effect.gen(function* () {
    const path = join(yield* temporaryDirectory, "it.db")
    yield* used(path, run("CREATE TABLE things (it)"))
    let stopping = 0
    yield* used(
      path,
      Effect.gen(function* () {
        yield* run("INSERT INTO things VALUES (1)")
        yield* reader(path)
        yield* run("INSERT INTO things VALUES (2)")
        stopping = performance.now()
      }),
    )
    const took = performance.now() - stopping
    assert.ok(took < 1000, `${took} ms`)
    assert.ok(statSync(`${path}-wal`).size > 0, "what the reader keeps stays in the log")
    assert.deepEqual(yield* used(path, run("SELECT it FROM things ORDER BY it")), [{ it: 1 }, { it: 2 }])
  }).pipe(Effect.provide(layerPlatform("/nowhere"))),
)
