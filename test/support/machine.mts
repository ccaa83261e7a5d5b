/** A fresh machine in a temporary directory: its own Node, npm, global prefix, home and temporary directory, as nvm lays them out. */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs"
import {
  copyFile,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { node, npmDir } from "../../scripts/lib/repo.mts"
import { killGroup, mustRun, type RunResult, run } from "../../scripts/lib/run.mts"
import { type Answer, freePort, request, until } from "./net.mts"

/** Hard link where the filesystem is the same, copy where it is not. */
const linkOrCopy = (from: string, to: string): Promise<void> =>
  link(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EXDEV" && error.code !== "EPERM") throw error
    return copyFile(from, to)
  })

/** npm's own dependencies are most of its files, and no test looks at them: `shared` is linked as one. */
const linkTree = async (from: string, to: string, shared?: string): Promise<void> => {
  await mkdir(to, { recursive: true })
  await Promise.all(
    (await readdir(from, { withFileTypes: true })).map(async (entry) => {
      const [source, target] = [join(from, entry.name), join(to, entry.name)]
      if (source === shared) return symlink(source, target)
      if (entry.isDirectory()) return linkTree(source, target, shared)
      if (entry.isSymbolicLink()) return symlink(readlinkSync(source), target)
      return linkOrCopy(source, target)
    }),
  )
}

/** Processes whose executable is inside `directory`. */
export const processesIn = (directory: string): ReadonlyArray<number> =>
  !existsSync("/proc")
    ? []
    : readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .filter((pid) => {
          try {
            return readlinkSync(`/proc/${pid}/exe`).startsWith(`${directory}/`)
          } catch {
            // Gone since the listing, another user's, or the kernel's: none of ours.
            return false
          }
        })
        .map(Number)

export interface WaiaasOptions {
  readonly env?: Record<string, string>
  readonly input?: string
  /** Default 60 000. */
  readonly timeoutMs?: number
  readonly cwd?: string
}

/** A `waiaas` that runs, with what it has said so far. */
export interface LiveWaiaas {
  readonly child: ChildProcess
  readonly pid: number
  readonly stdout: () => string
  readonly stderr: () => string
  readonly exit: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** Waits until stdout and stderr together match. */
  readonly says: (pattern: RegExp, timeoutMs?: number) => Promise<void>
}

export type ApiClient = (method: string, path: string, body?: unknown, timeoutMs?: number) => Promise<Answer>

export interface MachineOptions {
  /** For other users, who may not read this repository: nothing of npm is a link into it. */
  readonly wholeNpm?: boolean
  /** Another Node, and another npm (its package directory), than this repository's. */
  readonly runtime?: { readonly node: string; readonly npmDir: string }
  /** Registry of the machine's npm; without one, npm finds nothing there. */
  readonly registryUrl?: string
}

export class Machine {
  /** Everything of the machine is below it. */
  readonly directory: string
  readonly prefix: string
  readonly home: string
  readonly dataDir: string

  private constructor(directory: string) {
    this.directory = directory
    this.prefix = join(directory, "node")
    this.home = join(directory, "home")
    this.dataDir = join(this.home, ".waiaas")
  }

  /** A machine that was made before, or a copy of one, at its place now (absolute, without links). */
  static at(directory: string): Machine {
    return new Machine(directory)
  }

  static async make({
    registryUrl = "http://127.0.0.1:9",
    wholeNpm = false,
    runtime = { node, npmDir },
  }: MachineOptions = {}): Promise<Machine> {
    const machine = new Machine(await realpath(await mkdtemp(join(tmpdir(), "waiaas-machine-"))))
    const { prefix, home, directory } = machine
    for (const path of [join(prefix, "bin"), join(prefix, "etc"), home, join(directory, "tmp")]) {
      await mkdir(path, { recursive: true })
    }
    await linkOrCopy(runtime.node, join(prefix, "bin/node"))
    const shared = wholeNpm ? undefined : join(runtime.npmDir, "node_modules")
    await linkTree(runtime.npmDir, join(prefix, "lib/node_modules/npm"), shared)
    await symlink("../lib/node_modules/npm/bin/npm-cli.js", join(prefix, "bin/npm"))
    await writeFile(
      join(prefix, "etc/npmrc"),
      `registry=${registryUrl}\nfund=false\naudit=false\nupdate-notifier=false\n`,
    )
    return machine
  }

  /** The whole environment of a process of this machine. */
  env(extra: Record<string, string> = {}): Record<string, string> {
    return {
      PATH: `${join(this.prefix, "bin")}:/usr/bin:/bin`,
      HOME: this.home,
      TMPDIR: join(this.directory, "tmp"),
      LANG: "C.UTF-8",
      ...extra,
    }
  }

  get node(): string {
    return join(this.prefix, "bin/node")
  }

  get bin(): string {
    return join(this.prefix, "bin/waiaas")
  }

  get packageDir(): string {
    return join(this.prefix, "lib/node_modules/@waiaas/cli")
  }

  npm(args: ReadonlyArray<string>, options: WaiaasOptions = {}): Promise<RunResult> {
    return run(join(this.prefix, "bin/npm"), args, {
      cwd: options.cwd ?? this.home,
      env: this.env(options.env),
      timeoutMs: options.timeoutMs ?? 120_000,
    })
  }

  /** `npm i -g` of a version or a tarball. */
  async installGlobal(specOrTarball: string): Promise<RunResult> {
    return mustRun(join(this.prefix, "bin/npm"), ["install", "--global", specOrTarball], {
      cwd: this.home,
      env: this.env(),
    })
  }

  waiaas(args: ReadonlyArray<string>, options: WaiaasOptions = {}): Promise<RunResult> {
    return run(this.bin, args, {
      cwd: options.cwd ?? this.home,
      env: this.env(options.env),
      timeoutMs: options.timeoutMs ?? 60_000,
      ...(options.input !== undefined && { input: options.input }),
    })
  }

  /** `waiaas` that has to end with 0. */
  async mustWaiaas(args: ReadonlyArray<string>, options: WaiaasOptions = {}): Promise<RunResult> {
    const result = await this.waiaas(args, options)
    if (result.code === 0) return result
    const how = result.timedOut ? "timed out" : `exit ${result.code ?? result.signal}`
    throw new Error(`waiaas ${args.join(" ")}: ${how}\n${result.stdout}${result.stderr}`)
  }

  spawnWaiaas(args: ReadonlyArray<string>, options: WaiaasOptions = {}): LiveWaiaas {
    const child = spawn(this.bin, args, {
      cwd: options.cwd ?? this.home,
      env: this.env(options.env),
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    })
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
    })
    if (options.input !== undefined) child.stdin.end(options.input)
    const exit = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
      child.once("error", reject)
      child.once("exit", (code, signal) => resolve({ code, signal }))
    })
    return {
      child,
      pid: child.pid ?? -1,
      stdout: () => stdout,
      stderr: () => stderr,
      exit,
      says: async (pattern, timeoutMs = 30_000) => {
        await until(
          `waiaas ${args.join(" ")} says ${pattern}`,
          async () => {
            if (pattern.test(stdout + stderr)) return true
            if (child.exitCode === null && child.signalCode === null) return false
            throw new Error(`waiaas ${args.join(" ")} ended without ${pattern}:\n${stdout}${stderr}`)
          },
          { timeoutMs },
        )
      },
    }
  }

  /** Writes `config.toml`: keys of `[daemon]`, as TOML takes JSON's strings, numbers and booleans. */
  async configure(daemon: Record<string, string | number | boolean>): Promise<void> {
    const lines = Object.entries(daemon).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    await writeFile(join(this.dataDir, "config.toml"), `[daemon]\n${lines.join("")}`, { mode: 0o600 })
  }

  freePort(): Promise<number> {
    return freePort()
  }

  #facts(): { readonly pid: number; readonly port: number } | undefined {
    const path = join(this.dataDir, "daemon.json")
    return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined
  }

  /** The pid in `daemon.json`, alive or not. */
  daemonPid(): number | undefined {
    return this.#facts()?.pid
  }

  /** Address of the daemon that `daemon.json` names. */
  daemonUrl(): string {
    const facts = this.#facts()
    if (facts === undefined) throw new Error(`no daemon.json in ${this.dataDir}`)
    return `http://127.0.0.1:${facts.port}`
  }

  /** A client that keeps address and token, and so outlives restarts of the daemon. */
  async client(): Promise<ApiClient> {
    const url = this.daemonUrl()
    const token = await readFile(join(this.dataDir, "api.token"), "utf8")
    return (method, path, body, timeoutMs) =>
      request(`${url}${path}`, {
        method,
        headers: { authorization: `Bearer ${token.trim()}` },
        body,
        ...(timeoutMs !== undefined && { timeoutMs }),
      })
  }

  /** One request to the daemon that runs now. */
  async api(method: string, path: string, body?: unknown, timeoutMs?: number): Promise<Answer> {
    return (await this.client())(method, path, body, timeoutMs)
  }

  /** Live processes of this machine. */
  processes(): ReadonlyArray<number> {
    return processesIn(this.directory)
  }

  async destroy(): Promise<void> {
    await until("processes of the machine ended", async () => {
      const pids = this.processes()
      for (const pid of pids) {
        try {
          process.kill(pid, "SIGKILL")
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
        }
      }
      return pids.length === 0
    })
    await rm(this.directory, { recursive: true, force: true, maxRetries: 3 })
  }
}

export const makeMachine = (options?: MachineOptions): Promise<Machine> => Machine.make(options)

/** Ends a live command and everything in its process group. */
export const killLive = (live: LiveWaiaas, signal: NodeJS.Signals = "SIGKILL"): void =>
  killGroup(live.child, signal)
