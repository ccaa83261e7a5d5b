/** What the commands about backups say. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Command from "@effect/cli/Command"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { Backup } from "@waiaas/services/Backup"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { Environment } from "@waiaas/services/platform/Environment"
import { layerSimulated } from "@waiaas/services/testing/SimulatedUpgrade"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { backup } from "../src/commands/Backups.ts"
import { Output } from "../src/Output.ts"

it.scopedLive("the list calls nothing whole that was not read, and names what a rollback finds damaged", () =>
  Effect.gen(function* () {
    const backups = yield* Backup
    const { databasePath: database } = yield* (yield* ConfigFile).load
    const { packageDir, version } = yield* Environment
    const make = (kind: "manual" | "pre-upgrade") =>
      backups.create({
        kind,
        source: "closed",
        database,
        from: makeVersion("1.9.0"),
        to: makeVersion(version),
        packageDir,
      })
    const [good, unread, bad] = [
      yield* make("pre-upgrade"),
      yield* make("manual"),
      yield* make("pre-upgrade"),
    ]
    for (const { path } of [unread, bad]) {
      const file = join(path, "waiaas.db")
      const bytes = readFileSync(file)
      bytes.writeUInt8(bytes.readUInt8(5000) ^ 1, 5000)
      writeFileSync(file, bytes)
    }
    const listed = (columns: number | undefined) =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const result = (_value: unknown, said: ReadonlyArray<string>) =>
          Effect.sync(() => void lines.push(...said))
        const output = Layer.succeed(Output, {
          mode: "human",
          columns,
          result,
          verbatim: result,
          note: () => Effect.void,
          event: () => Effect.void,
        })
        yield* Command.run(backup, { name: "waiaas", version: "2.0.0" })(["node", "waiaas", "list"]).pipe(
          Effect.provide(Layer.merge(output, NodeContext.layer)),
        )
        return lines
      })
    const lines = yield* listed(undefined)
    // A narrow terminal has no room for columns: each value has its name.
    const narrow = yield* listed(60)
    assert.isFalse(narrow.some((line) => line.startsWith("NAME")))
    assert.strictEqual(
      narrow[narrow.indexOf(unread.name) + 1]?.replace(/\d+ kB/, "9 kB"),
      "  version 1.9.0 -> 2.0.0, schema 4, size 9 kB",
    )
    const stateOf = ({ name }: { readonly name: string }) =>
      lines[lines.findIndex((line) => line.startsWith(name)) + 1]?.replace(/^ {2}made [^;]*; /, "")
    assert.strictEqual(stateOf(good), "whole; a rollback takes this one")
    assert.strictEqual(stateOf(unread), "complete, not read")
    assert.strictEqual(stateOf(bad), "waiaas.db is not what was backed up")
  }).pipe(Effect.provide(layerSimulated().pipe(Layer.provideMerge(NodeContext.layer)))),
)

it.scoped("no backup is made of data whose daemon has not answered yet: its start may migrate them", () =>
  Effect.gen(function* () {
    const control = yield* DaemonControl
    const output = Layer.succeed(Output, {
      mode: "human",
      columns: undefined,
      result: () => Effect.void,
      verbatim: () => Effect.void,
      note: () => Effect.void,
      event: () => Effect.void,
    })
    let asked = 0
    const created = (answersAt: number) =>
      Effect.gen(function* () {
        asked = 0
        const state = Effect.sync(() => {
          asked++
          const health = asked < answersAt ? Option.none() : Option.some({} as never)
          return { _tag: "Running", facts: { pid: 4711 } as never, health } as const
        })
        const fiber = yield* Command.run(backup, { name: "waiaas", version: "2.0.0" })([
          "node",
          "waiaas",
          "create",
        ]).pipe(
          Effect.provide(Layer.merge(output, NodeContext.layer)),
          Effect.provideService(DaemonControl, { ...control, state }),
          Effect.exit,
          Effect.fork,
        )
        while (Option.isNone(yield* Fiber.poll(fiber))) {
          yield* TestClock.adjust("100 millis")
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
        return yield* Fiber.join(fiber)
      })
    const backups = yield* Backup
    const refused = yield* created(Number.POSITIVE_INFINITY)
    assert.match(String(refused), /the daemon, process 4711, which has not answered yet/)
    assert.lengthOf(yield* backups.list, 0)
    const made = yield* created(5)
    assert.isTrue(Exit.isSuccess(made), String(made))
    assert.strictEqual(asked, 5)
    assert.lengthOf(yield* backups.list, 1)
  }).pipe(Effect.provide(layerSimulated().pipe(Layer.provideMerge(NodeContext.layer)))),
)
