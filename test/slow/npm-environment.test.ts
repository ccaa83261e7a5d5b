/** The registry, proxy, certificates and age limits that npm and the daemon are given: check, status and upgrade agree. */
import { strict as assert } from "node:assert"
import { execFileSync } from "node:child_process"
import { chmodSync, readFileSync, writeFileSync } from "node:fs"
import { createServer as createHttpServer, type Server } from "node:http"
import { createServer as createHttpsServer } from "node:https"
import { type AddressInfo, connect } from "node:net"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Machine } from "../support/machine.mts"
import { until } from "../support/net.mts"
import { countingRegistry, installedMachine, realRegistry } from "../support/scoped.mts"

const LIMIT = 120_000

interface VersionCheck {
  readonly latestVersion: string | null
  readonly updateAvailable: boolean
  readonly registry: string | null
  readonly checkedAt: number | null
  readonly failure: { readonly problem: string } | null
}
const statusOf = async (machine: Machine): Promise<VersionCheck> =>
  JSON.parse((await machine.mustWaiaas(["status", "--json"])).stdout).versionCheck

/** What `status` says once the check of the daemon's start is over. */
const checked = (machine: Machine) =>
  until("the check is over", async () => {
    const status = await statusOf(machine)
    return (status.checkedAt !== null || status.failure !== null) && status
  })

const listening = (server: Server) =>
  Effect.acquireRelease(
    Effect.promise(
      () => new Promise<Server>((resolve) => server.listen(0, "127.0.0.1", () => resolve(server))),
    ),
    () =>
      Effect.promise(() => {
        server.closeAllConnections()
        return new Promise((resolve) => server.close(resolve))
      }),
  )
const portOf = (server: Server) => (server.address() as AddressInfo).port

it.scopedLive(
  "a registry of the scope's own is the one that the daemon asks, and the one that an upgrade installs from",
  () =>
    Effect.gen(function* () {
      const general = yield* countingRegistry({ latest: "9.9.9" })
      const own = yield* realRegistry(["2.0.0", 4])
      const machine = yield* installedMachine({ registryUrl: general.url })
      yield* Effect.promise(async () => {
        assert.equal((await checked(machine)).latestVersion, "9.9.9")
        writeFileSync(join(machine.home, ".npmrc"), `@waiaas:registry=${own.url}\n`)
        const check = await machine.mustWaiaas(["upgrade", "--check"])
        assert.match(check.stdout, /^Already up to date$/m)
        assert.match(
          check.stdout,
          new RegExp(`warning: npm installs from ${own.url}/, .* at ${general.url}/`),
        )
        assert.match((await machine.mustWaiaas(["upgrade"])).stdout, /^Already up to date/m)
        const status = await checked(machine)
        assert.deepEqual([status.latestVersion, status.registry], ["2.0.0", `${own.url}/`])
        assert.equal(status.updateAvailable, false)
        const health = (await machine.api("GET", "/health")).json<Record<string, unknown>>()
        assert.equal(health.updateAvailable, false)
        assert.equal((await machine.api("GET", "/v1/version")).json<VersionCheck>().registry, `${own.url}/`)
        // Back again: a start asks npm where its settings have changed.
        writeFileSync(join(machine.home, ".npmrc"), "")
        await machine.mustWaiaas(["stop"])
        await machine.mustWaiaas(["start", "--background"])
        assert.equal((await checked(machine)).registry, `${general.url}/`)
      })
    }),
  LIMIT,
)

it.scopedLive(
  "what upgrade refuses for its age, --check refuses with the same words",
  () =>
    Effect.gen(function* () {
      const registry = yield* realRegistry(["2.1.0", 5])
      const machine = yield* installedMachine({ registryUrl: registry.url, start: false })
      yield* Effect.promise(async () => {
        writeFileSync(join(machine.home, ".npmrc"), "min-release-age=7\n")
        const told =
          /2\.1\.0 was published on \d{4}-\d\d-\d\d, and npm's setting min-release-age=7 allows it from/
        for (const args of [["--check"], [], ["--to", "2.1.0"], ["--check", "--to", "2.1.0"]]) {
          const { code, stderr } = await machine.waiaas(["upgrade", ...args])
          assert.equal(code, 4, stderr)
          assert.match(stderr, told, args.join(" "))
        }
        writeFileSync(
          join(machine.home, ".npmrc"),
          "min-release-age=7\nmin-release-age-exclude[]=@waiaas/*\n",
        )
        assert.match((await machine.mustWaiaas(["upgrade", "--check"])).stdout, /^Upgrade available$/m)
        assert.match((await machine.mustWaiaas(["upgrade"])).stdout, /^Upgraded WAIaaS/m)
      })
    }),
  LIMIT,
)

it.scopedLive(
  "a registry that wants a token gets it from a private file alone, and no log or command line has it",
  () =>
    Effect.gen(function* () {
      const token = "s3cr3t-t0ken-of-the-registry"
      const seen: Array<string | undefined> = []
      const registry = yield* listening(
        createHttpServer((request, response) => {
          seen.push(request.headers.authorization)
          if (request.headers.authorization === `Bearer ${token}`) response.end('{"latest":"2.1.0"}')
          else response.writeHead(401).end("{}")
        }),
      )
      const address = `http://127.0.0.1:${portOf(registry)}/`
      const daemon = { update_registry: address }
      const machine = yield* installedMachine({ daemon })
      yield* Effect.promise(async () => {
        const without = await checked(machine)
        assert.match(without.failure?.problem ?? "", /401 .*update_registry_token_file/)
        const said = (await machine.mustWaiaas(["status"])).stdout
        assert.match(said, /^version check: failed at .*, none has succeeded yet\. .*401/m)
        const path = join(machine.dataDir, "registry.token")
        writeFileSync(path, `${token}\n`, { mode: 0o644 })
        chmodSync(path, 0o644)
        const port = await machine.freePort()
        await machine.configure({ port, ...daemon, update_registry_token_file: "registry.token" })
        await machine.mustWaiaas(["stop"])
        await machine.mustWaiaas(["start", "--background"])
        const refused = await until("the open file is refused", async () => {
          const { failure } = await statusOf(machine)
          return /chmod 600/.test(failure?.problem ?? "") && failure
        })
        assert.ok(refused)
        chmodSync(path, 0o600)
        const answer = await machine.api("POST", "/v1/version/check")
        assert.equal(answer.status, 200, answer.text)
        assert.equal(answer.json<VersionCheck>().latestVersion, "2.1.0")
        assert.deepEqual((await statusOf(machine)).failure, null)
        assert.deepEqual([...new Set(seen)], [undefined, `Bearer ${token}`])
        const pid = machine.daemonPid()
        assert.ok(!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(token))
        for (const name of ["logs/daemon.log", "logs/daemon.out.log", "data/waiaas.db"])
          assert.ok(!readFileSync(join(machine.dataDir, name), "latin1").includes(token), name)
      })
    }),
  LIMIT,
)

it.scopedLive(
  "NODE_USE_ENV_PROXY and NODE_EXTRA_CA_CERTS reach the daemon's check, and nothing for the daemon goes to the proxy",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false })
      const [key, certificate] = [join(machine.directory, "key.pem"), join(machine.directory, "ca.pem")]
      execFileSync(
        "openssl",
        `req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry.test -addext subjectAltName=DNS:registry.test -keyout ${key} -out ${certificate}`.split(
          " ",
        ),
        { stdio: "ignore" },
      )
      const registry = createHttpsServer(
        { key: readFileSync(key), cert: readFileSync(certificate) },
        (_, response) => response.end('{"latest":"2.1.0"}'),
      )
      yield* listening(registry as unknown as Server)
      const asked: Array<string> = []
      const proxy = createHttpServer((request, response) => {
        asked.push(`${request.method} ${request.url}`)
        response.writeHead(502).end()
      })
      // The one host that it knows; everything that it is asked for is kept.
      proxy.on("connect", (request, socket) => {
        asked.push(`CONNECT ${request.url}`)
        if (!request.url?.startsWith("registry.test:")) return socket.end("HTTP/1.1 502 No\r\n\r\n")
        const on = connect(portOf(registry as unknown as Server), "127.0.0.1", () => {
          socket.write("HTTP/1.1 200 Yes\r\n\r\n")
          on.pipe(socket)
          socket.pipe(on)
        })
        on.on("error", () => socket.destroy())
        socket.on("error", () => on.destroy())
        return undefined
      })
      yield* listening(proxy)
      yield* Effect.promise(async () => {
        const address = "https://registry.test/"
        await machine.configure({ port: await machine.freePort(), update_registry: address })
        const through = `http://127.0.0.1:${portOf(proxy)}`
        const proxied = { HTTPS_PROXY: through, HTTP_PROXY: through }
        const restarted = async (env: Record<string, string>) => {
          await machine.mustWaiaas(["stop"], { env })
          await machine.mustWaiaas(["start", "--background"], { env })
          return until("the check is over", async () => {
            const answer = await machine.api("POST", "/v1/version/check", undefined, 20_000)
            return answer.status !== 404 && statusOf(machine)
          })
        }
        const none = await restarted(proxied)
        assert.match(none.failure?.problem ?? "", /HTTPS_PROXY only with NODE_USE_ENV_PROXY=1/)
        assert.deepEqual(asked, [])
        const untrusted = await restarted({ ...proxied, NODE_USE_ENV_PROXY: "1" })
        assert.match(untrusted.failure?.problem ?? "", /NODE_EXTRA_CA_CERTS/)
        const env = { ...proxied, NODE_USE_ENV_PROXY: "1", NODE_EXTRA_CA_CERTS: certificate }
        const good = await restarted(env)
        assert.deepEqual([good.latestVersion, good.failure], ["2.1.0", null])
        // Every command of the operator's, with the same environment.
        await machine.mustWaiaas(["agent", "create", "alice"], { env })
        await machine.mustWaiaas(["health"], { env })
        await machine.mustWaiaas(["stop"], { env })
        assert.deepEqual([...new Set(asked)], ["CONNECT registry.test:443"])
      })
    }),
  LIMIT,
)
