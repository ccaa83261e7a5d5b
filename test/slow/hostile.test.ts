/** Files that somebody or something has damaged, under real commands: a clear error, nothing lost, never a stack trace. */
import assert from "node:assert/strict"
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs"
import { lstat, mkdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { describe, it } from "vitest"
import type { Machine } from "../support/machine.mts"
import { expectNoTrace, expectStands, health, newRelease, type Place, slowWorld } from "./support.ts"

const world = slowWorld({ upgraded: true })

type Damage = (path: string, whole: Buffer) => Promise<void>

const replace =
  (make: (path: string) => Promise<unknown>): Damage =>
  async (path) => {
    await rm(path)
    await make(path)
  }

/** A byte of `whole` at a fraction of its length, with one bit changed. */
const flipped =
  (fraction: number): Damage =>
  async (path, whole) => {
    const bytes = Buffer.from(whole)
    const at = Math.min(bytes.length - 1, Math.floor(bytes.length * fraction))
    bytes[at] = (bytes[at] ?? 0) ^ 0x04
    await writeFile(path, bytes)
  }

const damages: Readonly<Record<string, Damage>> = {
  empty: (path) => writeFile(path, ""),
  "cut off": (path, whole) => writeFile(path, whole.subarray(0, Math.floor(whole.length / 2))),
  "one bit at its begin": flipped(0.02),
  "one bit in its middle": flipped(0.51),
  "one bit at its end": flipped(0.97),
  garbage: (path) =>
    writeFile(path, Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * 7919) % 251))),
  "another format": async (path, whole) =>
    writeFile(
      path,
      whole
        .toString("latin1")
        .replaceAll('"format":1', '"format":2')
        .replaceAll('"format": 1', '"format": 2'),
      "latin1",
    ),
  "a directory": replace((path) => mkdir(path)),
  "a link to nowhere": replace((path) => symlink("/nowhere/at/all", path)),
  "a link to a file of others": replace((path) => symlink("/etc/passwd", path)),
}

const codes = [0, 1, 2, 3, 4, 5, 6, 7]

/** Runs a command on damaged files: whatever comes, an operator can read it. */
const tell = async ({ machine, env }: Place, args: ReadonlyArray<string>): Promise<number> => {
  const result = await machine.waiaas(args, { env, timeoutMs: 150_000 })
  expectNoTrace(result)
  assert.ok(!result.timedOut, `waiaas ${args.join(" ")} did not end`)
  assert.ok(
    result.code !== null && codes.includes(result.code),
    `waiaas ${args.join(" ")}: ${result.code ?? result.signal}`,
  )
  if (result.code !== 0) {
    assert.match(result.stderr, /^error: \S/m)
    assert.match(result.stderr, /^next: \S/m)
  }
  return result.code
}

/** Damages a file, runs the commands, puts the file back. */
const under = async (
  place: Place,
  path: string,
  damage: Damage,
  commands: ReadonlyArray<ReadonlyArray<string>>,
) => {
  const { machine, env } = place
  const kept = `${path}.kept-by-the-test`
  const whole = await readFile(path)
  await rename(path, kept)
  await writeFile(path, whole, { mode: 0o600 })
  await damage(path, whole)
  try {
    for (const command of commands) await tell(place, command)
  } finally {
    // A start may have been good all the same.
    await machine.waiaas(["stop"], { env })
    await rm(path, { recursive: true, force: true })
    await rename(kept, path)
  }
}

const newestJournal = ({ dataDir }: Machine): string => {
  const found = globSync(join(dataDir, "upgrade/journal/*.jsonl")).sort().at(-1)
  assert.ok(found)
  return found
}

const start = ["start", "--background"]
const files: ReadonlyArray<
  readonly [name: string, of: (machine: Machine) => string, commands: ReadonlyArray<ReadonlyArray<string>>]
> = [
  ["the journal", newestJournal, [["status"], ["upgrade", "--status"], start]],
  ["the run lock", ({ dataDir }) => join(dataDir, "upgrade/run.lock"), [["status"], start]],
  ["the data lock", ({ dataDir }) => join(dataDir, "upgrade/data.lock"), [["status"], start]],
  [
    "the install lock",
    ({ prefix }) => join(prefix, "lib/node_modules/.waiaas/install.lock"),
    [["upgrade", "--rollback", "--yes", "--backup", "none"], start],
  ],
  [
    "the facts of a holder that was killed",
    ({ dataDir }) => {
      const path = join(dataDir, "upgrade/data.holder.json")
      // One that ends in order takes them along.
      writeFileSync(path, JSON.stringify({ pid: 2 ** 22 + 1, what: "the daemon", since: 1 }), { mode: 0o600 })
      return path
    },
    [["status"], start],
  ],
  ["config.toml", ({ dataDir }) => join(dataDir, "config.toml"), [["status"], start]],
  ["registry.json", ({ dataDir }) => join(dataDir, "registry.json"), [["status"], start]],
  ["the API token", ({ dataDir }) => join(dataDir, "api.token"), [start, ["agent", "list"]]],
  [
    "the keystore's master file",
    ({ dataDir }) => join(dataDir, "keystore/master.json"),
    [start, ["upgrade", "--check"]],
  ],
]

describe("a file that was damaged while nothing ran", () => {
  for (const [name, of, commands] of files)
    it(name, async () => {
      const place = await world.place("upgraded")
      for (const damage of Object.values(damages)) await under(place, of(place.machine), damage, commands)
      await place.machine.mustWaiaas(start, { env: place.env })
      await expectStands(place, newRelease)
    })

  it("facts of a daemon that are not a daemon's: nobody is signalled", async () => {
    const place = await world.place("upgraded")
    const { machine, env } = place
    const facts = join(machine.dataDir, "daemon.json")
    for (const content of [
      "",
      "{",
      "null",
      '{"format":2}',
      `{"format":1,"pid":${process.pid},"processStart":"1"}`,
      "[]",
      "\0".repeat(100),
    ]) {
      await writeFile(facts, content, { mode: 0o600 })
      await tell(place, ["status"])
      await tell(place, ["stop"])
    }
    await rm(facts)
    await machine.mustWaiaas(start, { env })
    await expectStands(place, newRelease)
  })

  it("values of the version check that are no versions: the daemon serves, no notice is made of them", async () => {
    const place = await world.place("upgraded")
    const { machine, env } = place
    const database = join(machine.dataDir, "data/waiaas.db")
    for (const value of [
      "",
      "not a version",
      "99.0.0\u001b[31m",
      "9".repeat(100_000),
      "1.0.0\n2.0.0",
      "\0",
      "null",
    ]) {
      const opened = new DatabaseSync(database)
      try {
        const put = opened.prepare(
          "INSERT INTO key_value_store (key, value, updated_at) VALUES (?, ?, 1) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        for (const key of ["latest_version", "version_checked_at", "version_notified_at"]) put.run(key, value)
      } finally {
        opened.close()
      }
      await machine.mustWaiaas(start, { env: { ...env, WAIAAS_DAEMON_UPDATE_CHECK: "false" } })
      assert.equal((await health(machine)).status, "ok")
      const result = await machine.waiaas(["status"], { env })
      expectNoTrace(result)
      assert.equal(result.code, 0, result.stderr)
      assert.ok(!`${result.stdout}${result.stderr}`.includes("\u001b[31m"))
      assert.doesNotMatch(result.stderr, /Update available/)
      await machine.mustWaiaas(["stop"], { env })
    }
    await machine.mustWaiaas(start, { env })
    await expectStands(place, newRelease)
  })
})

describe("a backup that was damaged", () => {
  it("is shown as that, and no rollback takes it; the daemon is not stopped", async () => {
    const place = await world.serving("upgraded")
    const { machine, env } = place
    const pid = machine.daemonPid()
    const [backup] = globSync(join(machine.dataDir, "backups/pre-upgrade-*"))
    assert.ok(backup)
    for (const file of ["manifest.json", "waiaas.db"])
      for (const [name, damage] of Object.entries(damages)) {
        // A database has no format line: that damage leaves it whole.
        if (file === "waiaas.db" && name === "another format") continue
        const path = join(backup, file)
        const whole = await readFile(path)
        const { mode } = await lstat(path)
        await damage(path, whole)
        try {
          await tell(place, ["backup", "list"])
          const code = await tell(place, ["upgrade", "--rollback", "--yes"])
          assert.notEqual(code, 0, `a rollback took a backup whose ${file} was: ${name}`)
          assert.equal(machine.daemonPid(), pid)
        } finally {
          await rm(path, { recursive: true, force: true })
          await writeFile(path, whole, { mode })
        }
      }
    assert.equal((await health(machine)).version, newRelease.version)
    await machine.mustWaiaas(["backup", "verify", backup.split("/").at(-1) ?? ""], { env })
    await expectStands(place, newRelease)
    await machine.mustWaiaas(["upgrade", "--rollback", "--yes"], { env, timeoutMs: 120_000 })
  })

  it("by a link in the place of its directory is none", async () => {
    const place = await world.serving("upgraded")
    const { machine } = place
    const [backup] = globSync(join(machine.dataDir, "backups/pre-upgrade-*"))
    assert.ok(backup)
    const elsewhere = join(machine.home, "elsewhere")
    await rename(backup, elsewhere)
    await symlink(elsewhere, backup)
    assert.notEqual(await tell(place, ["upgrade", "--rollback", "--yes"]), 0)
    assert.ok(existsSync(join(elsewhere, "waiaas.db")))
    await expectStands(place, newRelease)
  })
})

describe("a live database that was damaged", () => {
  it("is not upgraded, not backed up as whole, and not made worse", async () => {
    const place = await world.place("installed")
    const { machine, env } = place
    const database = join(machine.dataDir, "data/waiaas.db")
    const whole = readFileSync(database)
    for (const fraction of [0, 0.001, 0.3, 0.6]) {
      await flipped(fraction)(database, whole)
      const before = readFileSync(database)
      const code = await tell(place, ["upgrade"])
      // A bit in a free page or in a value is none that a check can see.
      if (code !== 0) {
        await machine.waiaas(["stop"], { env })
        assert.equal(readFileSync(database).length, before.length)
        await writeFile(database, whole)
        for (const suffix of ["-wal", "-shm"]) await rm(`${database}${suffix}`, { force: true })
      } else break
    }
    const version = (await machine.mustWaiaas(["--version"])).stdout.trim()
    assert.ok(["2.0.0", "2.1.0"].includes(version))
    await machine.mustWaiaas(start, { env })
    assert.equal((await health(machine)).status, "ok")
  })
})
