/**
 * The API as its OpenAPI document describes it, tried by schemathesis against a real daemon: every status and
 * every body is a documented one, what does not fit is refused, and nothing is a 500. One suite of `.ci/run`;
 * alone: `node scripts/run.mjs scripts/schemathesis.mts [--seed N]`.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { CountingRegistry } from "../test/support/counting-registry.mts"
import { type Machine, makeMachine } from "../test/support/machine.mts"
import { freePort } from "../test/support/net.mts"
import { installPrepared } from "../test/support/prepared.mts"
import { cached } from "./lib/cache.mts"
import { cleanEnv, rootManifest } from "./lib/repo.mts"
import { type RunResult, run } from "./lib/run.mts"
import { failed, passed, type Report, skipped } from "./lib/suites.mts"

const VERSION = "4.32.5"
/** Test cases for each operation and kind of case. */
const EXAMPLES = 40
/** Seconds that the whole run may take. */
const LIMIT = 240

const lastLine = ({ stdout, stderr }: RunResult): string =>
  `${stdout}\n${stderr}`.trim().split("\n").at(-1)?.slice(0, 200) ?? ""

const python = (command: string, args: ReadonlyArray<string>, timeoutMs: number): Promise<RunResult> =>
  run(command, args, { timeoutMs }).catch((error: Error) => ({
    code: null,
    signal: null,
    stdout: "",
    stderr: error.message,
    ms: 0,
    timedOut: false,
  }))

/** The Python that has it, or why there is none on this machine. */
const install = async (): Promise<{ readonly python: string } | { readonly missing: string }> => {
  const version = await python("python3", ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"], 10_000)
  const [major = 0, minor = 0] = version.stdout.trim().split(".").map(Number)
  if (version.code !== 0 || major < 3 || (major === 3 && minor < 10))
    return {
      missing: `it needs Python 3.10 or newer, and python3 is ${version.stdout.trim() || "not there"}`,
    }
  let missing = ""
  const directory = await cached(
    () => `schemathesis-${VERSION}-python${major}.${minor}`,
    async (place) => {
      const venv = await python("python3", ["-m", "venv", place], 60_000)
      if (venv.code !== 0) missing = `python3 -m venv: ${lastLine(venv)}`
      if (missing !== "") throw new Error(missing)
      const pip = ["-m", "pip", "install", "--quiet", "--no-input", `schemathesis==${VERSION}`]
      const installed = await python(join(place, "bin/python"), pip, 300_000)
      if (installed.code !== 0) missing = `pip install schemathesis: ${lastLine(installed)}`
      if (missing !== "") throw new Error(missing)
    },
  ).catch((error: unknown) => {
    if (missing === "") throw error
    return ""
  })
  return missing === "" ? { python: join(directory, "bin/python") } : { missing }
}

const tryApi = async (machine: Machine, python3: string, seed: string): Promise<RunResult> => {
  const place = await mkdtemp(join(tmpdir(), "waiaas-schemathesis-"))
  try {
    // Through a file and the environment: an argument could be read by anybody.
    const config = join(place, "schemathesis.toml")
    await writeFile(config, `[headers]\nAuthorization = "Bearer \${WAIAAS_API_TOKEN}"\n`)
    const token = (await readFile(join(machine.dataDir, "api.token"), "utf8")).trim()
    const args = [
      `--config-file=${config}`,
      "run",
      `${machine.daemonUrl()}/openapi.json`,
      "--checks=all",
      "--phases=examples,coverage,fuzzing,stateful",
      `--max-examples=${EXAMPLES}`,
      `--seed=${seed}`,
      "--request-timeout=15",
      // It would end the daemon that the rest is tried on.
      "--exclude-path=/v1/daemon/shutdown",
      "--continue-on-failure",
      "--no-color",
    ]
    return await run(python3, ["-m", "schemathesis.cli", ...args], {
      cwd: place,
      env: cleanEnv({ WAIAAS_API_TOKEN: token, PYTHONUTF8: "1" }),
      timeoutMs: LIMIT * 1000,
    })
  } finally {
    await rm(place, { recursive: true, force: true })
  }
}

export const schemathesis = async (
  seed = String(Math.floor(Date.now() / 86_400_000)),
): Promise<ReadonlyArray<Report>> => {
  const name = "schemathesis"
  const installed = await install()
  if ("missing" in installed) return [skipped(name, installed.missing)]
  const registry = await CountingRegistry.start()
  const machine = await makeMachine()
  try {
    await installPrepared(machine, rootManifest.version, LATEST_SCHEMA)
    await machine.mustWaiaas(["init"])
    await machine.configure({
      port: await freePort(),
      update_check: false,
      update_registry: registry.url,
    })
    await machine.mustWaiaas(["start", "--background"])
    const result = await tryApi(machine, installed.python, seed)
    const problem = result.timedOut
      ? `not done within ${LIMIT} s`
      : result.code !== 0
        ? `exit ${result.code}, seed ${seed}`
        : (await machine.waiaas(["health"])).code === 0
          ? undefined
          : "the daemon does not serve any more"
    if (problem === undefined) return [passed(name, `seed ${seed}`)]
    process.stderr.write(`${result.stdout}${result.stderr}\n`)
    return [failed(name, problem)]
  } finally {
    await machine.destroy()
    await registry.stop()
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { seed: { type: "string" } } })
  const [report] = await schemathesis(values.seed)
  console.log(report)
  process.exitCode = report?.failed === 0 ? 0 : 1
}
