/** A real npm registry (verdaccio) on loopback: own storage, no uplinks, anyone may publish. */
import { spawn } from "node:child_process"
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { cleanEnv, node, npmCli, root } from "../../scripts/lib/repo.mts"
import { killGroup, run } from "../../scripts/lib/run.mts"
import { freePort, request, until } from "./net.mts"

const configuration = (directory: string) => ({
  storage: join(directory, "storage"),
  auth: { htpasswd: { file: join(directory, "htpasswd"), max_users: -1 } },
  uplinks: {},
  packages: { "**": { access: "$all", publish: "$all", unpublish: "$all" } },
  web: { enable: false },
  middlewares: { audit: { enabled: false } },
  max_body_size: "200mb",
  log: { type: "file", path: join(directory, "registry.log"), format: "json", level: "warn" },
})

export class Registry {
  readonly url: string
  readonly directory: string
  readonly #stop: () => Promise<void>

  private constructor(url: string, directory: string, stop: () => Promise<void>) {
    this.url = url
    this.directory = directory
    this.#stop = stop
  }

  /** `storage`: what another one has stored, of which this one gets a copy. */
  static async start({ storage }: { readonly storage?: string } = {}): Promise<Registry> {
    const directory = await mkdtemp(join(tmpdir(), "waiaas-registry-"))
    const url = `http://127.0.0.1:${await freePort()}`
    if (storage !== undefined) await cp(storage, join(directory, "storage"), { recursive: true })
    // JSON is YAML.
    await writeFile(join(directory, "config.yaml"), JSON.stringify(configuration(directory)))
    // A token that nobody checks: npm refuses to publish without one. In a file, as argv is public.
    await writeFile(join(directory, "npmrc"), `${url.slice("http:".length)}/:_authToken=anyone\n`, {
      mode: 0o600,
    })
    const child = spawn(
      node,
      [
        join(root, "node_modules/verdaccio/bin/verdaccio"),
        "--config",
        join(directory, "config.yaml"),
        "--listen",
        url,
      ],
      {
        cwd: directory,
        env: cleanEnv({ HOME: directory }),
        stdio: ["ignore", "ignore", "pipe"],
        detached: true,
      },
    )
    let stderr = ""
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
    })
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
    const stop = async () => {
      killGroup(child)
      await exited
      await rm(directory, { recursive: true, force: true })
    }
    try {
      await until("registry ready", async () => {
        if (child.exitCode !== null) throw new Error(`the registry ended with ${child.exitCode}: ${stderr}`)
        return request(`${url}/-/ping`).then(
          (answer) => answer.status === 200,
          () => false,
        )
      })
    } catch (error) {
      await stop()
      throw error
    }
    return new Registry(url, directory, stop)
  }

  get storage(): string {
    return join(this.directory, "storage")
  }

  /** `done`: what npm says last. It was seen to say that and then not to end: that is not waited for. */
  async #npm(args: ReadonlyArray<string>, done?: RegExp): Promise<void> {
    const result = await run(node, [npmCli, ...args, "--registry", this.url], {
      timeoutMs: 60_000,
      cwd: this.directory,
      env: cleanEnv({
        HOME: this.directory,
        npm_config_userconfig: join(this.directory, "npmrc"),
        npm_config_cache: join(this.directory, "npm-cache"),
        npm_config_update_notifier: "false",
      }),
    })
    if (result.code === 0 || (result.timedOut && done?.test(result.stdout))) return
    throw new Error(`npm ${args.join(" ")}: exit ${result.code}\n${result.stdout}${result.stderr}`)
  }

  /** `npm publish`. Provenance is off: only a CI that can attest it may publish with it. */
  publish(tarball: string, { tag = "latest" } = {}): Promise<void> {
    return this.#npm(["publish", tarball, "--tag", tag, "--provenance=false"], /^\+ @waiaas\/cli@/m)
  }

  unpublish(spec: string): Promise<void> {
    return this.#npm(["unpublish", spec, "--force"])
  }

  setDistTag(spec: string, tag: string): Promise<void> {
    return this.#npm(["dist-tag", "add", spec, tag])
  }

  /** `npm deprecate`; an empty message takes it back. */
  deprecate(spec: string, message: string): Promise<void> {
    return this.#npm(["deprecate", spec, message])
  }

  stop(): Promise<void> {
    return this.#stop()
  }
}
