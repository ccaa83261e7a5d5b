/** Who may do what: the data belongs to one user, the npm prefix to root. */
import assert from "node:assert/strict"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { afterAll, beforeAll, describe, it } from "vitest"
import { type Machine, makeMachine } from "../support/machine.mts"
import { freePort, until } from "../support/net.mts"
import { Registry } from "../support/registry.mts"
import { release } from "../support/releases.mts"

/** A user without rights of its own, on every Debian. */
const operator = 65534
const isRoot = process.getuid?.() === 0

let registry: Registry
let machine: Machine
let data: string

const run = (uid: number, args: ReadonlyArray<string>, env: Record<string, string> = {}) => {
  const command = [machine.bin, ...args]
  const as =
    uid === 0 ? command : ["setpriv", "--reuid", `${uid}`, "--regid", `${uid}`, "--clear-groups", ...command]
  const [program = "", ...rest] = as
  // A home of its own for each: npm refuses a cache that holds another's files.
  const home = join(machine.directory, `home-${uid}`)
  const result = spawnSync(program, rest, {
    env: { ...machine.env(), HOME: home, npm_config_cache: join(home, ".npm"), ...env },
    encoding: "utf8",
    cwd: "/",
    timeout: 120_000,
  })
  return { code: result.status, text: `${result.stdout}${result.stderr}` }
}

const everyFile = async (directory: string) =>
  (await readdir(directory, { recursive: true })).map((name) => join(directory, name))

describe.runIf(isRoot)("sudo", () => {
  beforeAll(async () => {
    registry = await Registry.start()
    for (const [version, schema] of [
      ["2.0.0", 4],
      ["2.1.0", 5],
    ] as const)
      await registry.publish(await release(version, schema))
    machine = await makeMachine({ registryUrl: registry.url, wholeNpm: true })
    chmodSync(machine.directory, 0o755)
    await machine.installGlobal("@waiaas/cli@2.0.0")
    for (const uid of [0, operator]) {
      mkdirSync(join(machine.directory, `home-${uid}`), { mode: 0o700 })
      chownSync(join(machine.directory, `home-${uid}`), uid, uid)
    }
    data = join(machine.directory, `home-${operator}`, "data")
    assert.equal(run(operator, ["init", "--data-dir", data]).code, 0)
    writeFileSync(join(data, "config.toml"), `[daemon]\nport = ${await freePort()}\n`)
    assert.equal(run(operator, ["start", "--background", "--data-dir", data]).code, 0)
  })
  afterAll(async () => {
    await machine.destroy()
    await registry.stop()
  })

  it("without it, the data's owner reads who may write to the prefix, and nothing is stopped", () => {
    const { code, text } = run(operator, ["upgrade", "--data-dir", data])
    assert.equal(code, 4, text)
    assert.match(text, /You may not write to .* \(owner: root\)/)
    assert.ok(text.includes(`\`sudo waiaas upgrade --data-dir ${data}\`, or install Node with nvm`), text)
    const check = run(operator, ["upgrade", "--check", "--data-dir", data])
    assert.equal(check.code, 4, check.text)
    assert.match(check.text, /An upgrade is not possible:\nYou may not write to .* \(owner: root\)/)
    assert.match(run(operator, ["health", "--data-dir", data]).text, /^ok: WAIaaS 2\.0\.0/)
  })

  it("root itself is not the data's owner, and is refused", () => {
    const { code, text } = run(0, ["status", "--data-dir", data])
    assert.equal(code, 4, text)
    assert.match(text, /belongs to user 65534, you are user 0/)
    assert.match(text, /next: Run the command with `sudo` before it/)
  })

  it("needs the name of the data that is meant", () => {
    const { code, text } = run(0, ["upgrade"], { SUDO_USER: "operator" })
    assert.equal(code, 4, text)
    assert.match(text, /--data-dir/)
  })

  it("a cache that npm may not write to is named, and not the prefix", () => {
    const home = join(machine.directory, `home-${operator}`)
    mkdirSync(join(home, "roots/_cacache"), { recursive: true, mode: 0o755 })
    for (const env of [
      { HOME: "/nonexistent", npm_config_cache: "" },
      { npm_config_cache: join(home, "roots") },
      { npm_config_cache: "/dev/null/cache" },
    ]) {
      const { code, text } = run(operator, ["upgrade", "--check", "--data-dir", data], env)
      assert.equal(code, 4, text)
      assert.ok(
        text.includes(`npm may not write to its cache (${env.npm_config_cache || "/nonexistent/.npm"})`),
        text,
      )
      assert.match(text, /next: .*npm_config_cache=.* waiaas upgrade --data-dir/)
      assert.doesNotMatch(text, /prefix|nvm/)
    }
  })

  it("another user than the owner reads whose it is, not that access is denied", () => {
    const { code, text } = run(operator - 1, ["status", "--data-dir", data])
    assert.equal(code, 4, text)
    assert.match(text, /belongs to user 65534, you are user 65533/)
  })

  it("a link of another user's does not choose whose data is worked on", () => {
    const theirs = join(machine.directory, "theirs")
    mkdirSync(theirs, { mode: 0o755 })
    chownSync(theirs, operator - 1, operator - 1)
    symlinkSync(data, join(theirs, "data"))
    lchownSync(join(theirs, "data"), operator - 1, operator - 1)
    const { code, text } = run(0, ["status", "--data-dir", join(theirs, "data")], { SUDO_USER: "operator" })
    assert.equal(code, 4, text)
    assert.match(text, /it is a link of user 65533/)
  })

  it("a link where the compiled command is kept removes nothing behind it", () => {
    const kept = join(machine.directory, "kept")
    mkdirSync(join(kept, "1.0.0"), { recursive: true })
    const cache = join(machine.directory, "cache")
    mkdirSync(cache)
    symlinkSync(kept, join(cache, "waiaas"))
    for (const env of [{ SUDO_USER: "operator" }, {}])
      run(0, ["backup", "list", "--data-dir", data], { ...env, XDG_CACHE_HOME: cache })
    assert.deepEqual(readdirSync(kept), ["1.0.0"])
  })

  it("a daemon.json that names a process of root's ends nothing of root's", async () => {
    assert.equal(run(operator, ["stop", "--data-dir", data]).code, 0)
    const victim = spawn("sleep", ["600"])
    const script = `const { DatabaseSync } = require("node:sqlite"); const lock = new DatabaseSync(process.argv[1]); lock.exec("BEGIN EXCLUSIVE"); console.log("held"); setInterval(() => lock, 1e6)`
    const holder = spawn(
      "setpriv",
      [
        "--reuid",
        `${operator}`,
        "--regid",
        `${operator}`,
        "--clear-groups",
        machine.node,
        "-e",
        script,
        join(data, "upgrade/data.lock"),
      ],
      { stdio: ["ignore", "pipe", "ignore"] },
    )
    try {
      await once(holder.stdout, "data")
      const stat = readFileSync(`/proc/${victim.pid}/stat`, "utf8")
      const facts = {
        format: 1,
        pid: victim.pid,
        processStart: stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19],
        instance: "0".repeat(32),
        version: "2.0.0",
        hostname: "127.0.0.1",
        port: 9,
        supervisor: null,
        packageDir: machine.packageDir,
        configDigest: "",
        shutdownTimeout: 1,
        startedAt: 1,
      }
      const path = join(data, "daemon.json")
      writeFileSync(path, JSON.stringify(facts), { mode: 0o600 })
      chownSync(path, operator, operator)
      const { code, text } = run(0, ["stop", "--data-dir", data], { SUDO_USER: "operator" })
      assert.notEqual(code, 0, text)
      assert.equal(victim.exitCode, null)
      assert.equal(victim.signalCode, null)
      assert.ok(existsSync(`/proc/${victim.pid}`))
    } finally {
      holder.kill("SIGKILL")
      victim.kill("SIGKILL")
      await once(holder, "close")
    }
    assert.equal(run(operator, ["start", "--background", "--data-dir", data]).code, 0)
  })

  it("a daemon in the foreground has no way back to root's rights", async () => {
    assert.equal(run(operator, ["stop", "--data-dir", data]).code, 0)
    const home = join(machine.directory, "home-0")
    const daemon = spawn(machine.bin, ["start", "--data-dir", data], {
      env: { ...machine.env(), HOME: home, SUDO_USER: "operator" },
      cwd: "/",
      stdio: "ignore",
    })
    try {
      await until("it serves", async () => run(operator, ["health", "--data-dir", data]).code === 0)
      const status = readFileSync(`/proc/${daemon.pid}/status`, "utf8")
      const one = `${operator}`
      assert.deepEqual(/^Uid:\s+(.*)$/m.exec(status)?.[1]?.split(/\s+/), [one, one, one, one])
      assert.deepEqual(/^Gid:\s+(.*)$/m.exec(status)?.[1]?.split(/\s+/), [one, one, one, one])
      assert.match(status, new RegExp(`^Groups:\\s+${operator}\\s*$`, "m"))
    } finally {
      daemon.kill("SIGTERM")
      await once(daemon, "close")
    }
    assert.equal(run(operator, ["start", "--background", "--data-dir", data]).code, 0)
  })

  describe("a journal that the data's owner has forged", () => {
    const journals = () => join(data, "upgrade/journal")
    /** Puts a run that was cut off after its commit into the journal, with another place in it. */
    const forge = (place: Record<string, string>, top: Record<string, string> = {}) => {
      const { prefix, packageDir } = machine
      const root = join(prefix, "lib/node_modules")
      const records = [
        {
          _tag: "Started",
          run: 1,
          kind: "upgrade",
          from: "1.9.0",
          to: "2.0.0",
          dataDir: data,
          databasePath: join(data, "data/waiaas.db"),
          install: {
            prefix,
            root,
            packageDir,
            binLink: machine.bin,
            hidden: join(root, ".waiaas"),
            node: machine.node,
            ...place,
          },
          daemon: null,
          restart: false,
          pid: 1,
          ...top,
        },
        { _tag: "Committed" },
      ]
      const lines = records.map((record) => {
        const json = JSON.stringify({ format: 1, at: 1, ...record })
        return `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`
      })
      mkdirSync(journals(), { recursive: true, mode: 0o700 })
      const path = join(journals(), "000001.jsonl")
      writeFileSync(path, lines.join(""), { mode: 0o600 })
      chownSync(path, operator, operator)
    }
    const remove = () => rmSync(join(journals(), "000001.jsonl"), { force: true })

    it("gives nobody root: a link of root's is left alone, and the message has both paths", () => {
      const rootsOwn = join(machine.directory, "roots-bin")
      mkdirSync(rootsOwn, { recursive: true, mode: 0o755 })
      const link = join(rootsOwn, "backup-tool")
      symlinkSync("/bin/true", link)
      const evil = join(machine.directory, `home-${operator}`, "evil")
      forge({ binLink: link, packageDir: evil })
      try {
        for (const args of [["upgrade"], ["upgrade", "--rollback", "--yes"], ["start", "--background"]]) {
          const { code, text } = run(0, [...args, "--data-dir", data], { SUDO_USER: "operator" })
          assert.equal(code, 7, text)
          assert.ok(text.includes(evil) && text.includes(machine.packageDir), text)
          assert.equal(readlinkSync(link), "/bin/true")
        }
      } finally {
        remove()
      }
    })

    it("makes no start remove a directory of another's", () => {
      const foreign = join(machine.directory, "foreign")
      mkdirSync(join(foreign, ".failed-1-waiaas.db"), { recursive: true })
      chownSync(foreign, operator, operator)
      chownSync(join(foreign, ".failed-1-waiaas.db"), operator, operator)
      forge({}, { databasePath: join(foreign, "waiaas.db") })
      try {
        const { code, text } = run(operator, ["start", "--background", "--data-dir", data])
        assert.equal(code, 7, text)
        assert.ok(text.includes(join(foreign, "waiaas.db")), text)
        assert.ok(existsSync(join(foreign, ".failed-1-waiaas.db")))
      } finally {
        remove()
      }
    })
  })

  for (const [name, args, version, umask] of [0o022, 0o027, 0o077].flatMap(
    (mask) =>
      [
        ["upgrade", ["upgrade"], "2.1.0", mask],
        ["rollback", ["upgrade", "--rollback", "--yes"], "2.0.0", mask],
      ] as const,
  ))
    it(`${name}, umask ${umask.toString(8)}: the package as root, the data and the daemon as their owner`, async () => {
      const before = process.umask(umask)
      const { code, text } = run(0, [...args, "--data-dir", data], { SUDO_USER: "operator" })
      process.umask(before)
      assert.equal(code, 0, text)
      if (version === "2.1.0")
        assert.ok(text.includes(`Go back:  sudo waiaas upgrade --rollback --data-dir ${data}\n`), text)
      assert.match(
        run(operator, ["health", "--data-dir", data]).text,
        new RegExp(`^ok: WAIaaS ${version.replaceAll(".", "\\.")}`),
      )
      for (const path of await everyFile(data)) {
        const { uid, mode } = statSync(path)
        assert.equal(uid, operator, path)
        assert.equal(mode & 0o077, 0, path)
      }
      const hidden = join(machine.prefix, "lib/node_modules/.waiaas")
      for (const path of [
        ...(await everyFile(machine.packageDir)),
        ...(await everyFile(join(hidden, "retained"))),
        hidden,
      ]) {
        const { uid, mode } = statSync(path)
        assert.equal(uid, 0, path)
        assert.equal(mode & 0o044, 0o044, path)
      }
      const { pid } = JSON.parse(readFileSync(join(data, "daemon.json"), "utf8")) as { pid: number }
      const ids = /^Uid:\s+(\d+)\s+(\d+)\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))
      assert.deepEqual(ids?.slice(1), [`${operator}`, `${operator}`, `${operator}`])
    })
})
