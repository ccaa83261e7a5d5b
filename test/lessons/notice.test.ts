/** Lessons of others about the update notice and the check behind it; each test is named after its lesson. */
import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { respondTags, TestHttp } from "@waiaas/services/testing/TestHttp"
import { layerVersionCheck } from "@waiaas/services/testing/TestVersionCheck"
import { VersionCheck } from "@waiaas/services/VersionCheck"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import { repeatUntil } from "../support/daemon.mts"
import { layerInstallation } from "../support/layers.mts"
import { noticeText } from "../support/notice.mts"
import { databaseOf, installedMachine } from "../support/scoped.mts"
import { keysIn, setKeys } from "../support/sqlite.mts"

const v = makeVersion
const told = /Update available: 2\.0\.0 -> 2\.1\.0/
const known = Effect.gen(function* () {
  const { databasePath } = yield* (yield* ConfigFile).load
  setKeys(databasePath, { latest_version: "2.1.0" })
  return databasePath
})

it.scopedLive(
  "`--quiet` not declared",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false })
      setKeys(databaseOf(machine), { latest_version: "2.1.0" })
      yield* Effect.promise(async () => {
        for (const command of [["status"], ["backup", "list"], ["upgrade", "--status"], ["stop"]]) {
          const { code, stdout, stderr } = await machine.waiaas([...command, "--quiet"])
          assert.deepEqual([code, stderr], [0, ""], command.join(" "))
          assert.notEqual(stdout, "", "the result is no noise")
        }
        // Any other unknown flag is refused, so that the four above say something.
        assert.equal((await machine.waiaas(["status", "--quite"])).code, 2)
      })
    }),
  60_000,
)

it.effect("an unresponsive daemon adds 1.6 s to every command", () =>
  Effect.gen(function* () {
    const http = yield* TestHttp
    const install = yield* SimulatedInstall
    yield* install.startDaemon
    yield* known
    http.respond = () => Effect.never
    const command = yield* Effect.fork(noticeText())
    // It is asked once, to note that the operator was told, and given up after 0.3 s.
    yield* repeatUntil(Effect.sync(() => http.requests.length > 0))
    yield* TestClock.adjust("300 millis")
    assert.match(yield* Fiber.join(command), told)
    assert.equal(http.requests.length, 1)
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("a daemon on another address gets no note of it, and the notice comes after every command", () =>
  Effect.gen(function* () {
    const { requests } = yield* TestHttp
    yield* (yield* SimulatedInstall).startDaemon
    yield* known
    assert.match(yield* noticeText(), told)
    assert.deepEqual(
      requests.map(({ method, url }) => [method, url]),
      [
        ["GET", "http://[::1]:4100/health"],
        ["POST", "http://[::1]:4100/v1/version/notified"],
      ],
    )
  }).pipe(Effect.provide(layerInstallation({ configToml: '[daemon]\nhostname = "::1"\nport = 4100\n' }))),
)

it.effect("the notice depends on the daemon running", () =>
  Effect.gen(function* () {
    const { requests } = yield* TestHttp
    const databasePath = yield* known
    assert.match(yield* noticeText(), told)
    assert.deepEqual(requests, [])
    // Written down without a daemon, too.
    assert.equal(keysIn(databasePath).version_notified, "2.1.0")
    assert.equal(yield* noticeText(), "")
  }).pipe(Effect.provide(layerInstallation())),
)

it.effect("the full package document is downloaded", () =>
  Effect.gen(function* () {
    const { check } = yield* VersionCheck
    const http = yield* TestHttp
    yield* check
    assert.deepEqual(
      http.requests.map(({ url }) => url),
      ["http://registry.test/-/package/@waiaas%2fcli/dist-tags"],
    )
    // And whatever a registry sends, no more than a few hundred kilobytes of it are read.
    let sent = 0
    http.respond = () =>
      Effect.succeed({
        status: 200,
        body: new ReadableStream({
          pull: (controller) => {
            sent += 65_536
            controller.enqueue(new Uint8Array(65_536).fill(0x20))
          },
        }),
      })
    const failure = yield* Effect.flip(check)
    assert.match(failure.message, /larger than 262144 bytes/)
    assert.ok(sent <= 524_288, `${sent} bytes`)
  }).pipe(Effect.provide(layerVersionCheck(respondTags({ latest: "2.1.0" }), v("2.0.0")))),
)

const checkOf = (toml: string, recorded?: string) =>
  Effect.gen(function* () {
    const exit = yield* Effect.either((yield* VersionCheck).check)
    const { requests } = yield* TestHttp
    return { exit, asked: requests.map(({ url }) => new URL(url).origin) }
  }).pipe(
    Effect.provide(
      layerVersionCheck(
        respondTags({ latest: "2.1.0" }),
        v("2.0.0"),
        toml,
        recorded === undefined ? {} : { "/data/registry.json": JSON.stringify({ registry: recorded }) },
      ),
    ),
  )

it.effect("the registry address is fixed", () =>
  Effect.gen(function* () {
    const recorded = "http://npm.company.test/"
    const set = '[daemon]\nupdate_registry = "http://mirror.test"\n'
    assert.deepEqual((yield* checkOf("", recorded)).asked, ["http://npm.company.test"])
    assert.deepEqual((yield* checkOf(set, recorded)).asked, ["http://mirror.test"])
    const unknown = yield* checkOf("")
    assert.deepEqual(unknown.asked, [], "no address is a reason to guess one")
    assert.ok(unknown.exit._tag === "Left" && unknown.exit.left.message.includes("update_registry"))
  }),
)

it.effect("the registry's auth header in a child's argv", () =>
  Effect.gen(function* () {
    const secret = "s3cr3t-t0ken"
    const seen: Array<string> = []
    const real = yield* ProcessRunner
    const watched = Layer.succeed(ProcessRunner, {
      ...real,
      run: (options) => {
        seen.push([options.command, ...options.args].join(" "))
        return options.args.includes("config")
          ? Effect.succeed({
              exitCode: 0,
              signal: null,
              stdout: JSON.stringify({ registry: `http://me:${secret}@registry.test/` }),
              stderr: "",
            })
          : Effect.succeed({
              exitCode: 1,
              signal: null,
              stdout: "",
              stderr: `npm error code E401\nnpm error authorization: Bearer ${secret}\nnpm error http://me:${secret}@registry.test/`,
            })
      },
    })
    yield* Effect.gen(function* () {
      const installer = yield* NpmInstaller
      const install = yield* installer.install
      assert.equal(
        yield* installer.registry(install),
        "http://registry.test/",
        "recorded without credentials",
      )
      const failure = yield* Effect.flip(installer.resolve(install, "latest"))
      assert.ok(!failure.message.includes(secret), failure.message)
    }).pipe(Effect.provide(NpmInstaller.layer), Effect.provide(watched))
    assert.equal(seen.length, 2)
    assert.ok(
      seen.every((line) => line.includes("npm-cli.js") && !line.includes(secret)),
      seen.join("\n"),
    )
  }).pipe(Effect.provide(layerInstallation({ variables: { npm_config__authToken: "s3cr3t-t0ken" } }))),
)
