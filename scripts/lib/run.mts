/** Child processes for scripts and tests: output collected, time measured, never a shell. */
import { type ChildProcess, spawn } from "node:child_process"
import { performance } from "node:perf_hooks"
import { cleanEnv } from "./repo.mts"

export interface RunOptions {
  readonly cwd?: string
  /** The whole environment; default: this process's without npm's and WAIaaS's names. */
  readonly env?: Record<string, string>
  readonly input?: string
  /** After it, SIGKILL to the whole process group. Default 120 000. */
  readonly timeoutMs?: number
  /** Pass the child's output through instead of collecting it. */
  readonly show?: boolean
}

export interface RunResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly ms: number
  readonly timedOut: boolean
}

export const killGroup = (child: ChildProcess, signal: NodeJS.Signals = "SIGKILL"): void => {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}

export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options: RunOptions = {},
): Promise<RunResult> =>
  new Promise((resolve, reject) => {
    const started = performance.now()
    const output = options.show === true ? "inherit" : "pipe"
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? cleanEnv(),
      stdio: [options.input === undefined ? "ignore" : "pipe", output, output],
      detached: true,
    })
    let stdout = ""
    let stderr = ""
    let timedOut = false
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
    })
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
    })
    // A child that ends without reading its input is not this function's failure.
    child.stdin?.on("error", () => undefined)
    child.stdin?.end(options.input)
    const timer = setTimeout(() => {
      timedOut = true
      killGroup(child)
    }, options.timeoutMs ?? 120_000)
    const finish = (code: number | null, signal: NodeJS.Signals | null) => {
      clearTimeout(timer)
      resolve({ code, signal, stdout, stderr, ms: performance.now() - started, timedOut })
    }
    child.once("error", (error) => {
      clearTimeout(timer)
      reject(error)
    })
    // A daemon that the child left behind may hold its pipes open: do not wait for it.
    child.once("exit", (code, signal) => {
      const grace = setTimeout(() => {
        child.stdout?.destroy()
        child.stderr?.destroy()
        finish(code, signal)
      }, 500)
      child.once("close", () => {
        clearTimeout(grace)
        finish(code, signal)
      })
    })
  })

/** `run` that throws, with the command and its output, unless the exit code is 0. */
export const mustRun = async (
  command: string,
  args: ReadonlyArray<string>,
  options: RunOptions = {},
): Promise<RunResult> => {
  const result = await run(command, args, options)
  if (result.code === 0) return result
  const how = result.timedOut ? "timed out" : `exit ${result.code ?? result.signal}`
  throw new Error(`${[command, ...args].join(" ")}: ${how}\n${result.stdout}${result.stderr}`)
}
