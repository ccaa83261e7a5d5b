import { existsSync } from "node:fs"
import { homedir } from "node:os"
import { dirname, isAbsolute, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { VERSION } from "@waiaas/domain/Build"
import type { Version } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { workingDirectory } from "./WorkingDirectory.ts"

/** A user of a container may have no entry among the users, and then no home: the data directory has to be named. */
const homeDirectory = (): string => {
  try {
    return homedir()
  } catch {
    return "/"
  }
}

/** Variables that name a file. Other processes of ours have other working directories. */
const fileVariables = ["WAIAAS_MASTER_PASSWORD_FILE", "NODE_EXTRA_CA_CERTS"]

/** The variables with whole paths: a relative one means the file that it led to where the command was typed. */
export const withWholePaths = (
  variables: Environment["Type"]["variables"],
  cwd: string | null,
): Environment["Type"]["variables"] => {
  const relative = fileVariables.filter((name) => {
    const path = variables[name] ?? ""
    return path.trim() !== "" && !isAbsolute(path)
  })
  return cwd === null || relative.length === 0
    ? variables
    : {
        ...variables,
        ...Object.fromEntries(relative.map((name) => [name, resolve(cwd, variables[name] ?? "")])),
      }
}

/** Facts of this process and its surroundings; the only place that reads `process` for them. */
export class Environment extends Context.Tag("@waiaas/services/Environment")<
  Environment,
  {
    readonly variables: Readonly<Record<string, string | undefined>>
    /** Effective user id; `null` where the system has none. */
    readonly uid: number | null
    readonly home: string
    /** What relative paths are relative to; `null` where the working directory does not exist any more. */
    readonly cwd: string | null
    readonly pid: number
    readonly platform: string
    /** The processor, as Node names it. */
    readonly architecture: string
    /** The Node that runs this code, links resolved. */
    readonly node: string
    readonly nodeVersion: string
    /** Version of this code. */
    readonly version: Version
    /** Directory of the package that this code was loaded from. */
    readonly packageDir: string
    /** Whether this is our container image, whose code is replaced by a new image. */
    readonly container: boolean
    /** Unix milliseconds; the system's clock, which can go back. */
    readonly now: Effect.Effect<number>
  }
>() {
  static readonly layer = Layer.sync(this, () => ({
    variables: withWholePaths(process.env, workingDirectory()),
    uid: process.geteuid?.() ?? null,
    home: homeDirectory(),
    cwd: workingDirectory(),
    pid: process.pid,
    platform: process.platform,
    architecture: process.arch,
    node: process.execPath,
    nodeVersion: process.versions.node,
    version: VERSION as Version,
    // A bundle is in <package>/dist: one directory up is the package.
    packageDir: dirname(dirname(fileURLToPath(import.meta.url))),
    // Our image carries this file; a container that somebody installed npm packages in does not.
    container: existsSync("/etc/waiaas-image"),
    now: Effect.clockWith((clock) => clock.currentTimeMillis),
  }))
}

/** Whether the command was typed with `sudo`. `uid`: the one that the process began with. */
export const isUnderSudo = ({ uid, variables }: Pick<Environment["Type"], "uid" | "variables">): boolean =>
  uid === 0 && (variables.SUDO_USER ?? "") !== ""

/** Unix seconds. */
export const unixSeconds = Effect.flatMap(Environment, (environment) => environment.now).pipe(
  Effect.map((milliseconds) => Math.floor(milliseconds / 1000)),
)
