import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, it } from "vitest"
import { cleanEnv, node, npmCli } from "../../scripts/lib/repo.mts"
import { mustRun } from "../../scripts/lib/run.mts"
import { type Machine, makeMachine, processesIn } from "../support/machine.mts"
import { Registry } from "../support/registry.mts"

/** A package of our name whose command tells its environment, or stays. */
const stub = `#!/usr/bin/env node
if (process.argv[2] === "stay") { console.log("here"); setInterval(() => {}, 1000) }
else console.log(JSON.stringify({ env: process.env, node: process.execPath, cwd: process.cwd() }))
`

const packStub = async (directory: string, version: string): Promise<string> => {
  await mkdir(join(directory, "bin"), { recursive: true })
  await writeFile(join(directory, "bin/waiaas.mjs"), stub, { mode: 0o755 })
  const manifest = {
    name: "@waiaas/cli",
    version,
    bin: { waiaas: "bin/waiaas.mjs" },
    publishConfig: { provenance: true },
  }
  await writeFile(join(directory, "package.json"), JSON.stringify(manifest))
  await mustRun(node, [npmCli, "pack"], {
    cwd: directory,
    env: cleanEnv({ npm_config_cache: join(directory, "cache") }),
  })
  return join(directory, `waiaas-cli-${version}.tgz`)
}

describe("a fresh machine and a real registry", () => {
  let directory: string
  let registry: Registry
  let machine: Machine

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "waiaas-stub-"))
    registry = await Registry.start()
    for (const version of ["1.0.0", "1.1.0"]) await registry.publish(await packStub(directory, version))
    machine = await makeMachine({ registryUrl: registry.url })
  })
  afterAll(async () => {
    await machine.destroy()
    await registry.stop()
    await rm(directory, { recursive: true })
    assert.ok(!existsSync(machine.directory))
    assert.ok(!existsSync(registry.directory))
  })

  it("npm's prefix is the machine's own, and a publish is found by tag", async () => {
    assert.equal((await machine.npm(["config", "get", "prefix"])).stdout.trim(), machine.prefix)
    await registry.setDistTag("@waiaas/cli@1.0.0", "old")
    const { stdout } = await machine.npm(["view", "@waiaas/cli", "dist-tags", "--json"])
    assert.deepEqual(JSON.parse(stdout), { latest: "1.1.0", old: "1.0.0" })
  })

  it("the command runs on the machine's Node and inherits nothing of this process", async () => {
    process.env.WAIAAS_DATA_DIR = "/somewhere/else"
    process.env.npm_config_prefix = "/somewhere/else"
    await machine.installGlobal("@waiaas/cli@old")
    const told = JSON.parse((await machine.mustWaiaas([], { env: { WAIAAS_DAEMON_PORT: "4000" } })).stdout)
    assert.deepEqual(Object.keys(told.env).sort(), ["HOME", "LANG", "PATH", "TMPDIR", "WAIAAS_DAEMON_PORT"])
    assert.equal(told.node, machine.node)
    assert.equal(told.cwd, machine.home)
  })

  it("its processes are known, and end with it", async () => {
    const other = await makeMachine({ registryUrl: registry.url })
    await other.installGlobal("@waiaas/cli")
    const live = other.spawnWaiaas(["stay"])
    await live.says(/here/)
    assert.deepEqual(other.processes(), [live.pid])
    await other.destroy()
    assert.deepEqual(await live.exit, { code: null, signal: "SIGKILL" })
    assert.deepEqual(processesIn(other.directory), [])
  })
})
