/** Which ends of a real daemon count against a new version, and what they leave. */
import { existsSync, readFileSync, renameSync } from "node:fs"
import { createServer } from "node:net"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { dataDirectory } from "../../../test/support/daemon.mts"

const upgraded = { version: "2.1.0", daemon: { update_check: false } }
const recordIn = (root: string): { readonly crashes: number; readonly running: boolean } =>
  JSON.parse(readFileSync(`${root}/upgrade/probation.json`, "utf8"))

/** Another program listens on the daemon's port. */
const portTaken = (url: string) =>
  Effect.acquireRelease(
    Effect.async<ReturnType<typeof createServer>>((resume) => {
      const server = createServer()
      server.listen(Number(new URL(url).port), "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close()),
  )

it.scopedLive("a start that is refused for its port or its keystore is no crash", () =>
  Effect.gen(function* () {
    const { root, url, serve, start, endedRun } = yield* dataDirectory(upgraded)
    yield* endedRun
    for (const _ of [1, 2]) yield* Effect.scoped(Effect.zipRight(portTaken(url), Effect.flip(serve)))
    assert.include(recordIn(root), { crashes: 0, running: false })
    renameSync(`${root}/keystore`, `${root}/elsewhere`)
    for (const _ of [1, 2]) yield* Effect.flip(serve)
    renameSync(`${root}/elsewhere`, `${root}/keystore`)
    yield* start
    assert.include(recordIn(root), { crashes: 0, running: true })
  }),
)

it.scopedLive("a start that is refused leaves no daemon.json of itself", () =>
  Effect.gen(function* () {
    const { root, url, database, serve, start } = yield* dataDirectory(upgraded)
    const facts = `${root}/daemon.json`
    yield* Effect.scoped(Effect.zipRight(portTaken(url), Effect.flip(serve)))
    assert.isFalse(existsSync(facts), "its port is taken")
    renameSync(database, `${database}.elsewhere`)
    yield* Effect.flip(serve)
    assert.isFalse(existsSync(facts), "its database is not there")
    renameSync(`${database}.elsewhere`, database)
    yield* start
    assert.isTrue(existsSync(facts))
  }),
)

it.scopedLive("a daemon that is stopped in order leaves nothing that counts", () =>
  Effect.gen(function* () {
    const { root, start, endedRun } = yield* dataDirectory(upgraded)
    yield* endedRun
    const scope = yield* Scope.make()
    yield* Scope.extend(start, scope)
    assert.include(recordIn(root), { running: true })
    yield* Scope.close(scope, Exit.void)
    assert.include(recordIn(root), { crashes: 0, running: false })
  }),
)

it.scopedLive("a daemon that was held is watched from the commit on", () =>
  Effect.gen(function* () {
    const { root, start, heldRun, log } = yield* dataDirectory(upgraded)
    const commit = yield* heldRun
    yield* start
    assert.throws(() => recordIn(root), /ENOENT/)
    yield* commit
    while (!(yield* log).includes("committed: serving")) yield* Effect.sleep("20 millis")
    yield* Effect.sleep("100 millis")
    assert.include(recordIn(root), { crashes: 0, running: true })
  }),
)
