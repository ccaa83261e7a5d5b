/** Machines and registries as scoped Effects: what a test takes ends with the test. */
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { CountingProxy } from "./counting-proxy.mts"
import { CountingRegistry } from "./counting-registry.mts"
import { type Machine, makeMachine } from "./machine.mts"
import { installPrepared, preparedStorage } from "./prepared.mts"
import { Registry } from "./registry.mts"
import type { Runtime } from "./runtimes.mts"

const scoped = <A,>(make: () => Promise<A>, end: (it: A) => Promise<void>) =>
  Effect.acquireRelease(Effect.promise(make), (it) => Effect.promise(() => end(it)))

/** A registry that counts requests; it serves dist-tags only. */
export const countingRegistry = (tags?: Record<string, string>) =>
  scoped(
    () => CountingRegistry.start(tags),
    (registry) => registry.stop(),
  )

/** A real registry with releases in it: version and schema, oldest first; the last one is `latest`. */
export const realRegistry = (...releases: ReadonlyArray<readonly [version: string, schema: number]>) =>
  scoped(
    async () => Registry.start({ storage: await preparedStorage(releases) }),
    (registry) => registry.stop(),
  )

/** The same behind a proxy that counts what is asked of it. */
export const countedRegistry = (...releases: ReadonlyArray<readonly [version: string, schema: number]>) =>
  Effect.flatMap(realRegistry(...releases), ({ url }) =>
    scoped(
      () => CountingProxy.start(url),
      (proxy) => proxy.stop(),
    ),
  )

export interface Setup {
  /** As npm installs it from its tarball. Default 2.0.0 with schema 4. */
  readonly version?: string
  readonly schema?: number
  readonly registryUrl?: string
  /** Keys of `[daemon]` beside the port. */
  readonly daemon?: Record<string, string | number | boolean>
  /** Environment of `waiaas init`. */
  readonly initEnv?: Record<string, string>
  /** Default true. */
  readonly start?: boolean
  readonly runtime?: Runtime
}

/** A machine with `waiaas` installed, initialised and serving on a port of its own. */
export const installedMachine = ({ version = "2.0.0", schema = 4, ...setup }: Setup = {}) =>
  Effect.tap(
    scoped(
      () =>
        makeMachine({
          ...(setup.registryUrl !== undefined && { registryUrl: setup.registryUrl }),
          ...(setup.runtime !== undefined && { runtime: setup.runtime }),
        }),
      (machine) => machine.destroy(),
    ),
    (machine) =>
      Effect.promise(async () => {
        await installPrepared(machine, version, schema)
        await machine.mustWaiaas(["init"], { env: setup.initEnv ?? {} })
        await machine.configure({ port: await machine.freePort(), ...setup.daemon })
        if (setup.start !== false) await machine.mustWaiaas(["start", "--background"])
      }),
  )

export const databaseOf = (machine: Machine): string => join(machine.dataDir, "data/waiaas.db")
