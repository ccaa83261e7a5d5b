/** What must hold when a trial is over. */

import { createPublicKey, verify } from "node:crypto"
import { copyFileSync, existsSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { Agent, Status } from "../../../test/support/load.mts"
import type { Machine } from "../../../test/support/machine.mts"
import { request } from "../../../test/support/net.mts"

export interface Standing {
  readonly version: string
  readonly schema: number
}

export const stackTrace = /^\s+at .+:\d+:\d+\)?$/m
const bug = /bug in WAIaaS/i

/** What a command said that no operator should read. */
export const badWords = (what: string, text: string): ReadonlyArray<string> =>
  stackTrace.test(text) || bug.test(text) ? [`${what} showed a stack trace:\n${text.slice(0, 1500)}`] : []

/** An agent as a database has it. */
interface Stored {
  readonly publicKey: string
  readonly status: Status
}

/** Agents in a backup's database, by id. */
const agentsIn = (machine: Machine, database: string): ReadonlyMap<string, Stored> => {
  const copy = join(machine.directory, "tmp/looked-at.db")
  copyFileSync(database, copy)
  try {
    const opened = new DatabaseSync(copy)
    try {
      const rows = opened.prepare("SELECT id, public_key, status FROM agents").all()
      return new Map(
        rows.map((row) => [
          String(row.id),
          { publicKey: String(row.public_key), status: row.status === "active" ? "active" : "suspended" },
        ]),
      )
    } finally {
      opened.close()
    }
  } finally {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(`${copy}${suffix}`, { force: true })
  }
}

/** Whatever stands after the last start; throws where nothing answers. */
export const standing = async (machine: Machine): Promise<Standing> => {
  const answer = await request(`${machine.daemonUrl()}/health`, { timeoutMs: 2000 })
  const { status, version, schemaVersion } = answer.json<{
    status: string
    version: string
    schemaVersion: number
  }>()
  if (answer.status !== 200 || status !== "ok") throw new Error(`health: ${answer.status} ${answer.text}`)
  return { version, schema: schemaVersion }
}

const listAgents = async (machine: Machine): Promise<ReadonlyMap<string, Stored>> => {
  const answer = await machine.api("GET", "/v1/agents", undefined, 30_000)
  if (answer.status !== 200) throw new Error(`agents: ${answer.status} ${answer.text}`)
  return new Map(answer.json<ReadonlyArray<Agent & Stored>>().map((agent) => [agent.id, agent]))
}

/** The agents of today's database and, where `aside` allows it, those that only a `pre-rollback` backup has. */
const findAgents = async (machine: Machine, aside: boolean): Promise<ReadonlyMap<string, Stored>> => {
  const present = await listAgents(machine)
  if (!aside) return present
  const backups = join(machine.dataDir, "backups")
  const kept = readdirSync(backups)
    .filter((name) => name.startsWith("pre-rollback-"))
    .flatMap((name) => [...agentsIn(machine, join(backups, name, "waiaas.db"))])
  return new Map([...kept, ...present])
}

const some = (problems: ReadonlyArray<string>): string =>
  `${problems.slice(0, 5).join(", ")}${problems.length > 5 ? ", ..." : ""}`

/** Every acknowledged write is in the database or, where `aside` allows it, in a `pre-rollback` backup. */
export const checkWrites = async (
  machine: Machine,
  acknowledged: ReadonlyArray<Agent>,
  aside: boolean,
): Promise<ReadonlyArray<string>> => {
  const found = await findAgents(machine, aside)
  const lost = acknowledged.filter((agent) => found.get(agent.id)?.publicKey !== agent.publicKey)
  return lost.length === 0
    ? []
    : [
        `${lost.length} of ${acknowledged.length} acknowledged writes are lost: ${some(lost.map(({ name }) => name))}`,
      ]
}

/**
 * Every acknowledged suspension and resumption is in force. The one exception is a rollback's, which says so:
 * `suspendedAgain` are suspended as they were in its backup. Whoever is suspended does not sign.
 */
export const checkStatuses = async (
  machine: Machine,
  acknowledged: ReadonlyMap<string, Status>,
  aside: boolean,
  suspendedAgain: ReadonlySet<string>,
): Promise<ReadonlyArray<string>> => {
  const found = await findAgents(machine, aside)
  const wanted = [...acknowledged].map(
    ([id, status]) => [id, suspendedAgain.has(id) ? "suspended" : status] as const,
  )
  const wrong = wanted.flatMap(([id, status]) => {
    const is = found.get(id)?.status
    return is === status ? [] : [`${id} is ${is ?? "nowhere"}, not ${status}`]
  })
  const problems =
    wrong.length === 0
      ? []
      : [
          `${wrong.length} of ${wanted.length} acknowledged suspensions and resumptions are not in force: ${some(wrong)}`,
        ]
  const present = await listAgents(machine)
  const silent = wanted.filter(([id, status]) => status === "suspended" && present.has(id)).slice(-3)
  for (const [id] of silent) {
    const answer = await machine.api("POST", `/v1/agents/${id}/sign`, { message: "chaos" }, 30_000)
    if (answer.status !== 409)
      problems.push(`a suspended agent was asked to sign: ${answer.status} ${answer.text}`)
  }
  return problems
}

/** A rollback names the agents that it keeps suspended. */
export const checkNamed = (said: string, suspended: ReadonlyArray<Agent>): ReadonlyArray<string> => {
  const lines = said.split("\n").filter((line) => /suspended: .* stays? suspended/i.test(line))
  const names = new Set(lines.flatMap((line) => /suspended: (.*?)\. /.exec(line)?.[1]?.split(", ") ?? []))
  const missing = suspended.filter(({ name }) => !names.has(name)).map(({ name }) => name)
  return missing.length === 0 ? [] : [`the rollback does not name ${some(missing)}, which stay suspended`]
}

/** The keys are still there: one signs, and the daemon still stores. */
export const checkServes = async (machine: Machine, agent: Agent): Promise<ReadonlyArray<string>> => {
  const message = "chaos"
  const answer = await machine.api("POST", `/v1/agents/${agent.id}/sign`, { message }, 30_000)
  if (answer.status !== 200) return [`sign: ${answer.status} ${answer.text}`]
  const x = Buffer.from(agent.publicKey, "hex").toString("base64url")
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" })
  const signature = Buffer.from(answer.json<{ signature: string }>().signature, "hex")
  const problems = verify(null, Buffer.from(message), key, signature) ? [] : ["a signature does not verify"]
  const created = await machine.api(
    "POST",
    "/v1/agents",
    { name: `after-the-chaos-${process.hrtime.bigint()}` },
    30_000,
  )
  return created.status === 201 ? problems : [...problems, `create: ${created.status} ${created.text}`]
}

/** Package, command and npm agree on one version. */
export const checkInstall = async (
  machine: Machine,
  version: string,
  env: Record<string, string> = {},
): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  const manifest: { version: string } = JSON.parse(
    readFileSync(join(machine.packageDir, "package.json"), "utf8"),
  )
  if (manifest.version !== version) problems.push(`the package is ${manifest.version}, the daemon ${version}`)
  const target = realpathSync(machine.bin)
  if (target !== join(machine.packageDir, "dist/bin.js")) problems.push(`the command leads to ${target}`)
  const said = await machine.waiaas(["--version"], { env })
  if (said.stdout.trim() !== version) problems.push(`waiaas --version says ${said.stdout}${said.stderr}`)
  const listed = await machine.npm(["ls", "--global", "--json"])
  const tree: { problems?: unknown; dependencies?: Record<string, { version?: string }> } = JSON.parse(
    listed.stdout,
  )
  if (
    listed.code !== 0 ||
    tree.problems !== undefined ||
    tree.dependencies?.["@waiaas/cli"]?.version !== version
  )
    problems.push(`npm ls -g: ${listed.code} ${listed.stdout}${listed.stderr}`)
  return problems
}

/** The names that may be there after a run has ended: the docs name these and no others. */
const allowed: ReadonlyArray<readonly [directory: (machine: Machine) => string, names: RegExp]> = [
  [({ prefix }) => join(prefix, "bin"), /^(node|npm|npx|waiaas)$/],
  [({ prefix }) => join(prefix, "lib/node_modules"), /^(npm|@waiaas|\.waiaas|\.package-lock\.json)$/],
  [({ packageDir }) => join(packageDir, ".."), /^cli$/],
  // The install lock (with what SQLite puts beside it while it is held), who held it last, and the code of versions that a rollback may want.
  [
    ({ prefix }) => join(prefix, "lib/node_modules/.waiaas"),
    /^(install\.lock(-journal)?|install\.holder\.json|retained)$/,
  ],
  [({ prefix }) => join(prefix, "lib/node_modules/.waiaas/retained"), /^\d+\.\d+\.\d+$/],
  [
    ({ dataDir }) => dataDir,
    /^(config\.toml|api\.token|daemon\.json|registry\.json|data|keystore|logs|backups|upgrade)$/,
  ],
  [({ dataDir }) => join(dataDir, "data"), /^waiaas\.db(-wal|-shm)?$/],
  [
    ({ dataDir }) => join(dataDir, "backups"),
    /^(pre-upgrade|pre-rollback|pre-migrate|manual)-\d+\.\d+\.\d+-\d{8}T\d{6}Z-\d{6}$/,
  ],
  [
    ({ dataDir }) => join(dataDir, "upgrade"),
    /^(journal|probation\.json|(run|data)\.(lock(-journal)?|holder\.json)|tool\.lock(-journal)?)$/,
  ],
  [({ dataDir }) => join(dataDir, "upgrade/journal"), /^\d{6}\.(jsonl|committed)$/],
  [({ dataDir }) => join(dataDir, "logs"), /^daemon(\.out)?\.log(\.\d+)?$/],
  // Node's own cache of compiled code.
  [({ directory }) => join(directory, "tmp"), /^node-compile-cache$/],
]

/** `.NAME.tmp`: a file that was being written when its writer was killed; the next write of it takes it over. */
const cutOff = (name: string): string => /^\.(.+)\.tmp$/.exec(name)?.[1] ?? ""

/** Of a killed question for permission; the next one takes it away. */
const probe = ".waiaas-probe"

export const checkDebris = (machine: Machine): ReadonlyArray<string> =>
  allowed.flatMap(([of, names]) => {
    const directory = of(machine)
    if (!existsSync(directory)) return []
    return readdirSync(directory)
      .filter((name) => !names.test(name) && !names.test(cutOff(name)) && name !== probe)
      .map((name) => `debris: ${join(directory, name)}`)
  })
