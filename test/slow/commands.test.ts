/** What the commands say, as an operator hears them. */
import { strict as assert } from "node:assert"
import { once } from "node:events"
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { networkInterfaces } from "node:os"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { escapes } from "../../packages/cli/src/Escapes.ts"
import { run } from "../../scripts/lib/run.mts"
import { freePort, until } from "../support/net.mts"
import { countedRegistry, databaseOf, installedMachine } from "../support/scoped.mts"
import { execute, setKeys } from "../support/sqlite.mts"

/** Each starts many processes, on a machine that may have other things to do. */
const LIMIT = 60_000

it.scopedLive(
  "what to type next is for the data directory that was named, wherever a command fails",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false })
      yield* Effect.promise(async () => {
        const place = join(machine.home, "other")
        const named = ["--data-dir", place]
        const nextOf = async (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
          /^ *next: (.*)$/m.exec((await machine.waiaas(args, { env })).stderr)?.[1]
        // Without a data directory: the command and the small file of a plain status.
        assert.equal(await nextOf(["backup", "list", ...named]), `waiaas init --data-dir ${place}`)
        assert.equal(await nextOf(["status", ...named]), `waiaas init --data-dir ${place}`)
        await machine.mustWaiaas(["init", ...named])
        const listed = `waiaas backup list --data-dir ${place}`
        assert.equal(await nextOf(["backup", "verify", "none", ...named]), listed)
        assert.equal(await nextOf(["backup", "verify", "none", "--data-dir", "other"]), listed)
        assert.equal(await nextOf(["backup", "verify", "none"], { WAIAAS_DATA_DIR: place }), listed)
        assert.equal(await nextOf(["backup", "verify", "none"]), "waiaas backup list")
        const json = await machine.waiaas(["backup", "verify", "none", "--json", `--data-dir=${place}`])
        assert.equal(JSON.parse(json.stdout).next, listed)
        const start = `waiaas start --background --data-dir ${place}`
        assert.equal(await nextOf(["health", ...named]), start)
        assert.equal(await nextOf(["agent", "list", ...named]), start)
        // Said by the daemon itself.
        rmSync(join(place, "data/waiaas.db"))
        assert.equal(await nextOf(["start", ...named]), listed)
        assert.equal(await nextOf(["start", "--background", ...named]), listed)
      })
    }),
  LIMIT,
)

it.scopedLive(
  "completions are a command of their own, whose scripts the shells take",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false })
      yield* Effect.promise(async () => {
        assert.match(
          (await machine.mustWaiaas(["--help"])).stdout,
          /^ *completions <bash\|zsh\|fish>\s+Print a completion script/m,
        )
        assert.match((await machine.mustWaiaas(["completions", "--help"])).stdout, /<bash\|zsh\|fish>/)
        for (const shell of ["bash", "zsh", "fish"]) {
          const { stdout, stderr } = await machine.mustWaiaas(["completions", shell])
          for (const word of ["waiaas", "upgrade", "rollback", "completions"])
            assert.ok(stdout.includes(word), `${shell}: ${word}`)
          assert.equal(stderr, "")
        }
        const script = join(machine.home, "completions.sh")
        writeFileSync(script, (await machine.mustWaiaas(["completions", "bash"])).stdout)
        const asked = await run("/bin/bash", ["-c", `source ${script} && complete -p waiaas`], {
          env: machine.env(),
        })
        assert.match(asked.stdout, /^complete .* waiaas$/m)
        for (const wrong of [[], ["powershell"], ["bash", "zsh"]])
          assert.equal((await machine.waiaas(["completions", ...wrong])).code, 2, wrong.join())
      })
    }),
  LIMIT,
)

it.scopedLive("wrong usage is reported before what the data directory lacks", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine({ start: false })
    yield* Effect.promise(async () => {
      const none = ["--data-dir", join(machine.home, "none")]
      for (const wrong of [
        ["--rollback", "--to", "2.1.0"],
        ["--to", "2.1.0", "--from", "x.tgz"],
        ["--check", "--status"],
        ["--backup", "b"],
        ["--yes"],
      ])
        assert.equal((await machine.waiaas(["upgrade", ...wrong, ...none])).code, 2, wrong.join(" "))
      for (const wrong of [["upgarde"], ["--quiet", "upgrade", "--forcibly"], ["upgarde", ...none]]) {
        const told = await machine.waiaas(wrong)
        assert.equal(told.code, 2, wrong.join(" "))
        assert.match(
          told.stderr,
          /^error: .*\nnext: waiaas upgrade( --help)?( --data-dir .*)?\n$/,
          wrong.join(" "),
        )
      }
      const { code, stderr } = await machine.waiaas(["upgrade", ...none])
      assert.equal(code, 3)
      assert.match(stderr, /^error: No WAIaaS data in /m)
    })
  }),
)

it.scopedLive.runIf(existsSync("/usr/bin/script"))(
  "a terminal gets no colour that it did not want",
  () =>
    Effect.gen(function* () {
      const registry = yield* countedRegistry(["2.0.0", 4])
      const machine = yield* installedMachine({ registryUrl: registry.url, start: false })
      yield* Effect.promise(async () => {
        const onTerminal = async (command: string, env: Record<string, string>) => {
          const args = ["-qec", `${machine.bin} ${command}`, "/dev/null"]
          return (await run("/usr/bin/script", args, { cwd: machine.home, env: machine.env(env) })).stdout
        }
        const escape = "\u001b["
        const colour = new RegExp(escapes.source)
        for (const command of ["upgrade", "--help", "upgrade --help"]) {
          assert.match(await onTerminal(command, { TERM: "xterm" }), colour, command)
          const bare = await onTerminal(command, { TERM: "xterm", NO_COLOR: "1" })
          assert.doesNotMatch(bare, colour, command)
          // A line that moves is made of escape sequences, too.
          assert.ok(!bare.includes(escape), bare)
          assert.ok(!(await onTerminal(command, { TERM: "dumb" })).includes(escape), command)
        }
      })
    }),
  LIMIT,
)

it.scopedLive(
  "health says how the daemon is, in words and as JSON, and fails where none answers",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const { stdout } = await machine.mustWaiaas(["health"])
        assert.match(stdout, /^ok: WAIaaS 2\.0\.0, schema 4, up \d+ s\n$/)
        const { uptime, timestamp, ...told } = JSON.parse(
          (await machine.mustWaiaas(["health", "--json"])).stdout,
        )
        assert.deepEqual(told, {
          status: "ok",
          version: "2.0.0",
          latestVersion: null,
          updateAvailable: false,
          schemaVersion: 4,
        })
        assert.ok(Number.isInteger(uptime) && Number.isInteger(timestamp))
        await machine.mustWaiaas(["stop"])
        const down = await machine.waiaas(["health"])
        assert.deepEqual([down.code, down.stdout], [1, ""])
        assert.match(down.stderr, /is not running\.\nnext: waiaas start --background\n/)
      })
    }),
  LIMIT,
)

const hasIpv6 = Object.values(networkInterfaces()).some((each) =>
  each?.some(({ address }) => address === "::1"),
)
it.scopedLive.runIf(hasIpv6)("the notice of a daemon on ::1 comes once a day, too", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine({
      start: false,
      daemon: { hostname: "::1", update_check: false },
    })
    yield* Effect.promise(async () => {
      setKeys(databaseOf(machine), { latest_version: "2.1.0" })
      await machine.mustWaiaas(["start", "--background", "--quiet"])
      assert.match((await machine.mustWaiaas(["status"])).stderr, /Update available: 2\.0\.0 -> 2\.1\.0/)
      assert.equal((await machine.mustWaiaas(["status"])).stderr, "")
    })
  }),
)

it.scopedLive("a registry that cannot be reached is reported within seconds, and as that", () =>
  Effect.gen(function* () {
    const port = yield* Effect.promise(freePort)
    const machine = yield* installedMachine({ registryUrl: `http://127.0.0.1:${port}`, start: false })
    yield* Effect.promise(async () => {
      const began = performance.now()
      const { code, stderr } = await machine.waiaas(["upgrade", "--check"])
      assert.notEqual(code, 0)
      assert.match(stderr, /the registry \S+ cannot be reached/)
      const upgrade = await machine.waiaas(["upgrade"])
      // npm's own lines stand once: with the error, not with the step that failed.
      assert.match(
        upgrade.stderr,
        /^\[1\/7\] Check\n +failed: npm view .*\nerror: npm view .*\n( {2}\|.*\n)+next: Check /,
      )
      assert.ok(performance.now() - began < 20_000, `${Math.round(performance.now() - began)} ms`)
    })
  }),
)

it.scopedLive("`waiaas health` and `status` tell that the database cannot be read", () =>
  Effect.gen(function* () {
    const machine = yield* installedMachine({ daemon: { update_check: false } })
    execute(
      databaseOf(machine),
      `ALTER TABLE key_value_store RENAME TO elsewhere;
       CREATE VIEW key_value_store AS SELECT key, abs(-9223372036854775807 - 1) AS value FROM elsewhere;
       INSERT INTO elsewhere (key, value, updated_at) VALUES ('latest_version', '2.1.0', 1)`,
    )
    yield* Effect.promise(async () => {
      await until("it is noticed", async () => (await machine.api("GET", "/health")).status === 503)
      const { code, stderr } = await machine.waiaas(["health"])
      assert.equal(code, 1)
      assert.match(stderr, /The database cannot be read; the daemon's log says why\./)
      const { stdout } = await machine.mustWaiaas(["status"])
      assert.match(stdout, /^daemon: error, version 2\.0\.0/m)
    })
  }),
)

it.scopedLive(
  "`waiaas backup list` says what each backup is, and `verify` which one is damaged",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const empty = await machine.mustWaiaas(["backup", "list"])
        assert.match(empty.stdout, /^No backups yet: waiaas backup create$/m)
        const made: { name: string; path: string } = JSON.parse(
          (await machine.mustWaiaas(["backup", "create", "--json"])).stdout,
        )
        const { stdout } = await machine.mustWaiaas(["backup", "list"])
        assert.match(
          stdout,
          new RegExp(`^${made.name} +2\\.0\\.0 +4 +\\d.*\\n {2}made .*Z; complete, not read$`, "m"),
        )
        for (const line of stdout.split("\n")) assert.ok(line.length <= 80, line)
        await machine.mustWaiaas(["backup", "verify", made.name])
        const copy = join(made.path, "waiaas.db")
        const bytes = readFileSync(copy)
        bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1
        writeFileSync(copy, bytes)
        const damaged = await machine.waiaas(["backup", "verify", made.name])
        assert.notEqual(damaged.code, 0)
        assert.match(damaged.stderr, /waiaas\.db is not what was backed up/)
        rmSync(join(made.path, "manifest.json"))
        const listed = JSON.parse((await machine.mustWaiaas(["backup", "list", "--json"])).stdout)
        assert.deepEqual(
          listed.backups.map(({ name, problem }: { name: string; problem: string }) => [name, problem]),
          [[made.name, "it has no manifest"]],
        )
        assert.equal(listed.rollback, null)
      })
    }),
  LIMIT,
)

it.scopedLive(
  "a package that lost a file is named as that, and an agent that lost its key",
  () =>
    Effect.gen(function* () {
      const registry = yield* countedRegistry(["2.0.0", 4], ["2.1.0", 5])
      const machine = yield* installedMachine({ registryUrl: registry.url })
      yield* Effect.promise(async () => {
        const tool = join(machine.packageDir, "dist/tool.js")
        renameSync(tool, `${tool}.gone`)
        for (const args of [["backup", "create"], ["upgrade"], ["upgrade", "--check"]]) {
          const { code, stderr } = await machine.waiaas(args)
          assert.equal(code, 1, args.join(" "))
          assert.match(stderr, /dist\/tool\.js ended with 1 and said: Error: Cannot find module/)
          assert.match(stderr, /^next: npm install --global @waiaas\/cli@2\.0\.0$/m)
        }
        // Not its code: something from outside that ended it.
        writeFileSync(tool, "process.kill(process.pid, 'SIGBUS')\n")
        const ended = (await machine.waiaas(["backup", "create"])).stderr
        assert.match(
          ended,
          /dist\/tool\.js ended with SIGBUS and said nothing\.\nnext: Make sure that the machine has enough memory/,
        )
        // Another version in the same place, as in the middle of a run: to put the old one over it would be wrong.
        writeFileSync(tool, "process.exit(3)\n")
        const manifest = join(machine.packageDir, "package.json")
        const text = readFileSync(manifest, "utf8")
        writeFileSync(manifest, text.replace('"version": "2.0.0"', '"version": "2.1.0"'))
        const other = (await machine.waiaas(["backup", "create"])).stderr
        assert.match(other, /ended with 3 and said nothing\.\nnext: waiaas backup list$/m)
        writeFileSync(manifest, text)
        renameSync(`${tool}.gone`, tool)
        const agent = JSON.parse((await machine.mustWaiaas(["agent", "create", "alice", "--json"])).stdout)
        const dry = async () => (await machine.mustWaiaas(["upgrade", "--dry-run"])).stderr
        const check = async () => (await machine.mustWaiaas(["upgrade", "--check"])).stdout
        for (const said of [await dry(), await check()]) assert.doesNotMatch(said, /cannot sign/)
        // A key that belongs to no agent, as each rollback leaves some, does not stand in for the lost one.
        const keystore = join(machine.dataDir, "keystore")
        await machine.mustWaiaas(["agent", "create", "bob"])
        await machine.mustWaiaas(["stop"])
        execute(databaseOf(machine), "DELETE FROM agent_events; DELETE FROM agents WHERE name = 'bob'")
        await machine.mustWaiaas(["start", "--background"])
        rmSync(join(keystore, `${agent.id}.json`))
        for (const said of [await dry(), await check()])
          assert.match(
            said,
            /warning: 1 of 1 agent cannot sign, its sealed key is missing or damaged \(alice\): put .*keystore back/,
          )
      })
    }),
  LIMIT,
)

it.scopedLive(
  "a restart is another process on the same data, is refused while the daemon serves where it could not start, and is in the log",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: true })
      yield* Effect.promise(async () => {
        const before = machine.daemonPid()
        const served = (await machine.mustWaiaas(["restart"])).stdout
        const pid = machine.daemonPid()
        assert.notEqual(pid, before)
        assert.match(served, new RegExp(`serves on http://127.0.0.1:\\d+ \\(process ${pid}\\)`))
        const config = join(machine.dataDir, "config.toml")
        const text = readFileSync(config, "utf8")
        writeFileSync(config, "[daemon]\nport = 99999\n")
        const refused = await machine.waiaas(["restart"])
        assert.match(refused.stderr, /daemon\.port = 99999 is not allowed/)
        writeFileSync(config, text)
        const keystore = join(machine.dataDir, "keystore")
        renameSync(keystore, `${keystore}.away`)
        assert.notEqual((await machine.waiaas(["restart"])).code, 0)
        renameSync(`${keystore}.away`, keystore)
        const journal = join(machine.dataDir, "upgrade/journal/000099.jsonl")
        writeFileSync(journal, "{}\n", { mode: 0o600 })
        assert.match((await machine.waiaas(["restart"])).stderr, /000099\.jsonl is damaged/)
        rmSync(journal)
        const token = join(machine.dataDir, "api.token")
        const hex = readFileSync(token, "utf8")
        writeFileSync(token, "cut")
        assert.match((await machine.waiaas(["restart"])).stderr, /it is not 64 hexadecimal digits/)
        writeFileSync(token, hex)
        const taken = createServer().listen(0, "127.0.0.1")
        await once(taken, "listening")
        const { port } = taken.address() as AddressInfo
        writeFileSync(config, `[daemon]\nport = ${port}\n`)
        assert.match((await machine.waiaas(["restart"])).stderr, /port \d+: another program listens there/)
        // Reserved for documentation: no machine has it.
        writeFileSync(config, text.replace("[daemon]\n", '[daemon]\nhostname = "192.0.2.9"\n'))
        const nowhere = (await machine.waiaas(["restart"])).stderr
        assert.match(nowhere, /192\.0\.2\.9 port \d+: this machine has no such address/)
        assert.match(nowhere, /then run `waiaas restart/)
        taken.close()
        writeFileSync(config, text)
        assert.equal(machine.daemonPid(), pid)
        assert.equal((await machine.waiaas(["health"])).code, 0)
        const shown = await machine.mustWaiaas(["logs", "--lines", "1000"])
        assert.match(shown.stdout, /INFO Stopping: asked through the API/)
        assert.match(shown.stderr, /^The log: \/.*\/logs\/daemon\.log$/m)
        // Each line for a script is JSON of its own.
        for (const line of (await machine.mustWaiaas(["logs", "--json"])).stdout.trim().split("\n"))
          assert.equal(typeof JSON.parse(line).message, "string")
        await machine.mustWaiaas(["stop"])
        // One that does not run is started.
        assert.match((await machine.mustWaiaas(["restart"])).stdout, /serves on/)
      })
    }),
  2 * LIMIT,
)

it.scopedLive.runIf(process.platform === "linux")(
  "a home or a cache in which no directory can be made keeps no command from its end",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false })
      yield* Effect.promise(async () => {
        for (const variable of ["HOME", "XDG_CACHE_HOME"]) {
          const args = ["status", "--data-dir", machine.dataDir]
          const options = { env: { ...machine.env, [variable]: "/proc/waiaas" }, timeoutMs: 20_000 }
          const { stdout, code } = await machine.waiaas(args, options)
          assert.match(stdout, /daemon: stopped/, `${variable}: ${code}`)
        }
      })
    }),
  LIMIT,
)
