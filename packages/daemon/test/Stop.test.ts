import { strict as assert } from "node:assert"
import { spawnSync } from "node:child_process"
import * as http from "node:http"
import * as net from "node:net"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { INSTANCE_HEADER } from "@waiaas/domain/DaemonFacts"
import { HealthError } from "@waiaas/domain/Health"
import { ListenFailed } from "@waiaas/domain/RunErrors"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { vi } from "vitest"
import { dataDirectory } from "../../../test/support/daemon.mts"
import { asOther, nodeForAll } from "../../../test/support/other-user.mts"
import { ProcessLifetime } from "../src/ProcessLifetime.ts"
import { ask, type DaemonOptions, facts, initialise, startDaemon, temporaryDirectory } from "./support.ts"

/** A daemon in a scope of its own, which the test closes: a stop. */
const startInScope = (options: Omit<DaemonOptions, "root">) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const daemon = yield* startDaemon(options).pipe(Scope.extend(scope))
    const stop = Effect.gen(function* () {
      const before = performance.now()
      yield* Scope.close(scope, Exit.void)
      return performance.now() - before
    })
    return { ...daemon, stop }
  })

/** What another process gets that wants the port: as another user, where this one may become one. */
const bindElsewhere = (port: number) =>
  Effect.map(nodeForAll, (node) => {
    const code = `require("node:net").createServer().on("error", (e) => { console.log(e.code); process.exit() })
      .listen(${port}, "127.0.0.1", () => { console.log("bound"); process.exit() })`
    const { stdout } = spawnSync(node, ["-e", code], { cwd: "/", encoding: "utf8", ...asOther })
    return stdout.trim()
  })

/** A connection that sends what it is given and never reads an answer. */
const deaf = (port: number, text: string) =>
  Effect.acquireRelease(
    Effect.async<net.Socket>((resume) => {
      const socket = net.connect(port, "127.0.0.1", () => {
        socket.pause()
        socket.write(text)
        resume(Effect.succeed(socket))
      })
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy()),
  )

it.scopedLive(
  "a stop answers newcomers with 503, lets a request in flight finish with its database, and then ends",
  () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const { port, call, stop } = yield* startInScope({
        check: Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(go)),
      })
      // The answer is read from the database after the wait: it has to be open still.
      const request = yield* Effect.fork(call("POST", "/v1/version/check"))
      yield* Deferred.await(begun)
      const stopping = yield* Effect.fork(stop)
      yield* Effect.sleep("100 millis")
      const newcomer = yield* call("GET", "/v1/agents")
      assert.deepEqual([newcomer.status, newcomer.json._tag], [503, "Unavailable"])
      assert.equal(newcomer.headers.connection, "close")
      const health = yield* ask(port, "/health")
      assert.equal(health.status, 503)
      assert.equal(Schema.decodeUnknownSync(HealthError)(health.json).status, "stopping")
      assert.equal(health.headers[INSTANCE_HEADER], facts.instance)
      assert.equal(stopping.unsafePoll(), null, "it waits for the request")
      yield* Deferred.succeed(go, undefined)
      const answer = yield* Fiber.join(request)
      assert.equal(answer.status, 200, answer.text)
      assert.equal(answer.json.version.length > 0, true)
      assert.equal(answer.headers.connection, "close")
      assert.ok((yield* Fiber.join(stopping)) < 4000)
    }),
)

it.scopedLive("idle keep-alive connections and silent ones do not delay a stop", () =>
  Effect.gen(function* () {
    const { port, stop } = yield* startInScope({})
    const agent = new http.Agent({ keepAlive: true })
    assert.equal((yield* ask(port, "/health", { agent })).status, 200)
    const silent = net.connect(port, "127.0.0.1").on("error", () => {})
    const half = net.connect(port, "127.0.0.1", () => half.write("GET /health HT")).on("error", () => {})
    yield* Effect.sleep("50 millis")
    const milliseconds = yield* stop
    assert.ok(milliseconds < 3000, `${milliseconds} ms`)
    for (const socket of [silent, half]) socket.destroy()
    agent.destroy()
  }),
)

it.scopedLive("nobody else can have the port before the process ends, though the daemon has stopped", () =>
  Effect.gen(function* () {
    const lifetime = yield* Scope.make()
    const { port, call, stop } = yield* startInScope({
      lifetime: Layer.succeed(ProcessLifetime, { scope: lifetime }),
    })
    assert.equal((yield* call("GET", "/v1/agents")).status, 200)
    yield* stop
    assert.equal(yield* bindElsewhere(port), "EADDRINUSE")
    const late = yield* call("GET", "/v1/agents")
    assert.deepEqual([late.status, late.json.message], [503, "The daemon is stopping."])
    yield* Scope.close(lifetime, Exit.void)
    assert.equal(yield* bindElsewhere(port), "bound")
  }),
)

it.scopedLive("no connection of a stranger delays a stop: an answer that is not read, half a request", () =>
  Effect.gen(function* () {
    const { port, stop } = yield* startInScope({ server: { drain: "28 seconds" } })
    const head = `HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n`
    yield* deaf(port, `GET /health ${head}\r\n`.repeat(8_000))
    yield* deaf(port, `GET /docs ${head}\r\n`.repeat(8_000))
    yield* deaf(port, `POST /v1/agents ${head}content-length: 10\r\n\r\n{`)
    yield* deaf(port, "GET /health HT")
    yield* Effect.sleep("300 millis")
    const milliseconds = yield* stop
    // A machine that has more to do takes its time, but not the 28 s.
    assert.ok(milliseconds < 8000, `${milliseconds} ms`)
  }),
)

it.scopedLive(
  "a client with the token that does not read, or sends no more, delays a stop by two seconds",
  () =>
    Effect.gen(function* () {
      const { port, token, stop } = yield* startInScope({ server: { drain: "28 seconds" } })
      const head = `HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nauthorization: Bearer ${token}\r\n`
      yield* deaf(port, `GET /docs ${head}\r\n`.repeat(2_000))
      yield* deaf(port, `POST /v1/agents ${head}content-length: 10\r\n\r\n{`)
      yield* Effect.sleep("300 millis")
      const milliseconds = yield* stop
      assert.ok(milliseconds > 1500 && milliseconds < 12_000, `${milliseconds} ms`)
    }),
)

it.scopedLive("a request that never ends is cut off at the deadline", () =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<void>()
    const { call, stop } = yield* startInScope({
      check: Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never),
      server: { drain: "300 millis" },
    })
    const request = yield* Effect.fork(call("POST", "/v1/version/check"))
    yield* Deferred.await(begun)
    const milliseconds = yield* stop
    assert.ok(milliseconds >= 290 && milliseconds < 4000, `${milliseconds} ms`)
    assert.ok(Exit.isFailure(yield* Fiber.await(request)))
  }),
)

it.scopedLive("a stop that begins with an interruption, as a signal's does, still lets requests finish", () =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<void>()
    const ready = yield* Deferred.make<Effect.Effect.Success<ReturnType<typeof startDaemon>>>()
    const main = yield* Effect.fork(
      Effect.scoped(
        Effect.gen(function* () {
          const check = Effect.zipRight(Deferred.succeed(begun, undefined), Effect.sleep("400 millis"))
          yield* Deferred.succeed(ready, yield* startDaemon({ check }))
          return yield* Effect.never
        }),
      ),
    )
    const { call } = yield* Deferred.await(ready)
    const request = yield* Effect.fork(call("POST", "/v1/version/check"))
    yield* Deferred.await(begun)
    yield* Fiber.interrupt(main)
    assert.equal((yield* Fiber.join(request)).status, 200)
  }),
)

it.scopedLive(
  "work that cannot be interrupted ends before the database closes, though its client hung up",
  () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      let ended = false
      const { call, stop } = yield* startInScope({
        check: Deferred.succeed(begun, undefined).pipe(
          Effect.zipRight(Effect.sleep("300 millis")),
          Effect.zipRight(Effect.sync(() => (ended = true))),
          Effect.uninterruptible,
        ),
        server: { drain: "10 millis" },
      })
      yield* Effect.fork(call("POST", "/v1/version/check"))
      yield* Deferred.await(begun)
      yield* stop
      assert.ok(ended)
    }),
)

it.scopedLive("an agent whose client hung up is stored whole before the database closes", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root)
    const scope = yield* Scope.make()
    const { port, token } = yield* startDaemon({ root }).pipe(Scope.extend(scope))
    for (let index = 0; index < 20; index++) {
      const request = http.request({
        port,
        host: "127.0.0.1",
        path: "/v1/agents",
        method: "POST",
        headers: { host: `127.0.0.1:${port}`, authorization: `Bearer ${token}` },
      })
      request.on("error", () => {})
      request.end('{"name":"alice"}')
      yield* Effect.sleep(`${index} millis`)
      request.destroy()
    }
    yield* Scope.close(scope, Exit.void)
    const { context, call } = yield* startDaemon({ root })
    const sql = Context.get(context, SqlClient)
    const rows = yield* sql<{ id: string }>`SELECT id FROM agents`
    assert.ok(rows.length > 0, "some got through")
    for (const { id } of rows)
      assert.equal((yield* call("POST", `/v1/agents/${id}/sign`, { message: "x" })).status, 200)
  }),
)

it.scopedLive("a port that is taken is a failure that names it and what to set", () =>
  Effect.gen(function* () {
    const { port } = yield* startDaemon()
    const error = yield* Effect.flip(startDaemon({ server: { port } }))
    assert.ok(error instanceof ListenFailed)
    assert.match(error.message, new RegExp(`port ${port}: another program listens there`))
    assert.match(error.next, /WAIAAS_DAEMON_PORT/)
  }),
)

it.scopedLive("a missing or damaged token refuses the start", () =>
  Effect.gen(function* () {
    const { root } = yield* startDaemon()
    const { rmSync, writeFileSync } = yield* Effect.promise(() => import("node:fs"))
    writeFileSync(`${root}/api.token`, "short\n", { mode: 0o600 })
    const damaged = yield* Effect.flip(startDaemon({ root }))
    assert.match((damaged as Error).message, /64 hexadecimal digits/)
    assert.ok(!(damaged as Error).message.includes("short"))
    rmSync(`${root}/api.token`)
    const started = yield* startDaemon({ root })
    assert.match(started.token, /^[0-9a-f]{64}$/, "initialise makes a new one")
  }),
)

it.scopedLive("what ends a stop that does not come to its end is in force until then, and no longer", () =>
  Effect.gen(function* () {
    const [set, clear] = [vi.spyOn(globalThis, "setTimeout"), vi.spyOn(globalThis, "clearTimeout")]
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const spy of [set, clear]) spy.mockRestore()
      }),
    )
    const { start } = yield* dataDirectory({ daemon: { shutdown_timeout: 287 } })
    yield* Effect.scoped(start)
    const timers = set.mock.results.filter((_, call) => set.mock.calls[call]?.[1] === 287_000)
    assert.equal(timers.length, 1)
    assert.ok(clear.mock.calls.some(([timer]) => timer === timers[0]?.value))
  }),
)
