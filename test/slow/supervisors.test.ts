import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Config } from "@waiaas/domain/Config"
import * as Schema from "effect/Schema"
import { describe, it } from "vitest"
import { readJournal } from "../../scripts/lib/chaos/journal.mts"
import { killCommand } from "../../scripts/lib/chaos/processes.mts"
import { root } from "../../scripts/lib/repo.mts"
import { until } from "../support/net.mts"
import { expectStands, health, newRelease, oldRelease, runsv, slowWorld } from "./support.ts"

const supervisorOf = (dataDir: string): unknown =>
  JSON.parse(readFileSync(join(dataDir, "daemon.json"), "utf8")).supervisor

describe.skipIf(runsv === undefined)("under runit's runsv", () => {
  const world = slowWorld({ upgraded: true })

  it("an upgrade ends with the supervisor's own daemon, of the new version", async () => {
    const place = await world.place()
    const { machine, env } = place
    await world.supervise(place)
    assert.equal(supervisorOf(machine.dataDir), "runit")
    const writers = await world.writers(place)
    await machine.mustWaiaas(["upgrade"], { env, timeoutMs: 120_000 })
    assert.equal(supervisorOf(machine.dataDir), "runit")
    assert.equal((await health(machine)).version, newRelease.version)
    const many = writers.acknowledged.length + 10
    await until("the clients write again", async () => writers.acknowledged.length >= many)
    await expectStands(place, newRelease, await writers.stop())
    assert.deepEqual(writers.unexpected, [])
  })

  it("a rollback ends with the supervisor's own daemon, of the old version", async () => {
    const place = await world.place("upgraded")
    const { machine, env } = place
    await world.supervise(place)
    const writers = await world.writers(place)
    await machine.mustWaiaas(["upgrade", "--rollback", "--yes"], { env, timeoutMs: 120_000 })
    assert.equal(supervisorOf(machine.dataDir), "runit")
    const many = writers.acknowledged.length + 10
    await until("the clients write again", async () => writers.acknowledged.length >= many)
    await expectStands(place, oldRelease, await writers.stop(), { aside: true })
    assert.deepEqual(writers.unexpected, [])
  })

  // A start that began before the swap is the code of a package that is not there any more: it must not migrate
  // what the rollback has just put back.
  it("a rollback that is killed at its restart is ended by the waiting start, which becomes the old version", async () => {
    const place = await world.place("upgraded")
    const { machine, env } = place
    await world.supervise(place)
    const rollback = machine.spawnWaiaas(["upgrade", "--rollback", "--yes"], { env })
    await until(
      "the restart begins",
      async () =>
        readJournal(machine).run > 1 && readJournal(machine).lines.some(({ _tag }) => _tag === "Starting"),
      {
        timeoutMs: 60_000,
        everyMs: 2,
      },
    )
    killCommand(machine, rollback.pid)
    await rollback.exit
    await until(
      "the old version serves",
      async () => (await health(machine).catch(() => undefined))?.status === "ok",
      {
        timeoutMs: 60_000,
      },
    )
    assert.equal((await health(machine)).version, oldRelease.version)
    await machine.mustWaiaas(["start", "--background"], { env })
    await expectStands(place, oldRelease, [], { aside: true })
  })

  it("a daemon that is killed is there again, and one that is killed in the middle of an upgrade does no harm", async () => {
    const place = await world.place()
    const { machine, env } = place
    await world.supervise(place)
    const first = machine.daemonPid()
    assert.ok(first)
    process.kill(first, "SIGKILL")
    await until("another daemon serves", async () => {
      const answer = await health(machine).catch(() => undefined)
      return answer?.status === "ok" && machine.daemonPid() !== first
    })
    const upgrade = machine.spawnWaiaas(["upgrade"], { env })
    // From here on the run knows which daemon it found.
    await upgrade.says(/staging/)
    const second = machine.daemonPid()
    assert.ok(second)
    process.kill(second, "SIGKILL")
    const { code } = await upgrade.exit
    // The upgrade may have known the daemon that died: it succeeds, or gives up before anything was changed.
    const stands = code === 0 ? newRelease : oldRelease
    assert.ok(code === 0 || code === 1 || code === 4 || code === 5 || code === 6, upgrade.stderr())
    await expectStands(place, stands)
  })
})

describe("without a supervisor", () => {
  const world = slowWorld()

  it("a start that comes in the middle of an upgrade waits, and becomes the new daemon or gives way to it", async () => {
    const place = await world.serving()
    const { machine, env } = place
    const upgrade = machine.spawnWaiaas(["upgrade"], { env })
    await upgrade.says(/\[3\/7\]/)
    const start = machine.spawnWaiaas(["start"], { env })
    assert.equal((await upgrade.exit).code, 0, upgrade.stderr())
    await expectStands(place, newRelease)
    const pid = machine.daemonPid()
    const daemons = machine.processes()
    // Whichever took the data, it is one daemon: the other start has ended, or says who holds it.
    if (pid !== start.pid) {
      const { code } = await start.exit
      assert.ok(code === 0 || code === 4, `exit ${code}: ${start.stderr()}`)
    }
    assert.ok(pid !== undefined && daemons.includes(pid))
  })
})

describe("packaging/waiaas.service", () => {
  const path = join(root, "packaging/waiaas.service")
  const unit = readFileSync(path, "utf8")
  const value = (key: string) => [...unit.matchAll(new RegExp(`^${key}=(.*)$`, "gm"))].map(([, text]) => text)

  it("lets an upgrade stop the daemon and become it: one process, always restarted, never given up", () => {
    assert.ok(["simple", "exec"].includes(value("Type")[0] ?? ""))
    assert.deepEqual(value("Restart"), ["always"])
    assert.deepEqual(value("StartLimitIntervalSec"), ["0"])
    assert.match(value("ExecStart")[0] ?? "", /\/bin\/waiaas start$/)
    // Not what a start during an upgrade may end with: it has to come again.
    assert.doesNotMatch(value("RestartPreventExitStatus")[0] ?? "", /\b[014567]\b/)
  })

  it("waits longer for the end than a stop and an upgrade's patience with it take", () => {
    const { daemon } = Schema.decodeUnknownSync(Config)({})
    assert.ok(Number(value("TimeoutStopSec")[0]) > daemon.shutdown_timeout + 5)
  })

  it("is hardened, and leaves what the daemon needs", () => {
    for (const line of [
      "NoNewPrivileges=yes",
      "ProtectSystem=strict",
      "ProtectHome=yes",
      "PrivateTmp=yes",
      "UMask=0077",
    ])
      assert.ok(unit.split("\n").includes(line), line)
    // Node compiles at run time; the parent's name tells the supervisor; recovery writes to the global root.
    assert.deepEqual(value("MemoryDenyWriteExecute"), [])
    assert.deepEqual(value("ProtectProc"), [])
    assert.match(value("ReadWritePaths")[0] ?? "", /lib\/node_modules/)
  })

  const analyze = ["/usr/bin/systemd-analyze", "/bin/systemd-analyze"].find((each) => existsSync(each))
  it.skipIf(analyze === undefined)("passes systemd-analyze verify", async () => {
    const directory = await mkdtemp(join(tmpdir(), "waiaas-unit-"))
    try {
      // The check wants the program and the user to be there.
      const here = unit
        .replace("ExecStart=/usr/local/bin/waiaas", "ExecStart=/bin/true")
        .replace(/^User=.*$/m, "User=root")
      await writeFile(join(directory, "waiaas.service"), here)
      const result = spawnSync(analyze ?? "", ["verify", join(directory, "waiaas.service")], {
        encoding: "utf8",
      })
      assert.equal(`${result.stdout}${result.stderr}`.trim(), "")
      assert.equal(result.status, 0)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
