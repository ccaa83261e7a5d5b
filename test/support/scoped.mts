/** Machines and registries as scoped Effects: what a test takes ends with the test. */
import { join } from "node:path"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import { CountingRegistry } from "./counting-registry.mts"
import { type Machine, makeMachine } from "./machine.mts"
import { Registry } from "./registry.mts"
import { release } from "./releases.mts"

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
  Effect.tap(
    scoped(
      () => Registry.start(),
      (registry) => registry.stop(),
    ),
    (registry) =>
      Effect.promise(async () => {
        for (const [version, schema] of releases) await registry.publish(await release(version, schema))
      }),
  )

export interface Setup {
  /** Installed from its tarball, so that no registry is asked. Default 2.0.0 with schema 4. */
  readonly version?: string
  readonly schema?: number
  readonly registryUrl?: string
  /** Keys of `[daemon]` beside the port. */
  readonly daemon?: Record<string, string | number | boolean>
  /** Default true. */
  readonly start?: boolean
}

/** A machine with `waiaas` installed, initialised and serving on a port of its own. */
export const installedMachine = ({ version = "2.0.0", schema = 4, ...setup }: Setup = {}) =>
  Effect.tap(
    scoped(
      () => makeMachine(setup.registryUrl === undefined ? {} : { registryUrl: setup.registryUrl }),
      (machine) => machine.destroy(),
    ),
    (machine) =>
      Effect.promise(async () => {
        await machine.installGlobal(await release(version, schema))
        await machine.mustWaiaas(["init"])
        await machine.configure({ port: await machine.freePort(), ...setup.daemon })
        if (setup.start !== false) await machine.mustWaiaas(["start", "--background"])
      }),
  )

export const databaseOf = (machine: Machine): string => join(machine.dataDir, "data/waiaas.db")

/** What a query gives, read from the database of a machine whose daemon may serve. */
export const query = <A,>(path: string, sql: string): ReadonlyArray<A> => {
  const database = new Sqlite(path, { readonly: true, fileMustExist: true })
  try {
    return database.prepare<[], A>(sql).all()
  } finally {
    database.close()
  }
}

/** The key-value store of a machine. */
export const keysOf = (machine: Machine): Readonly<Record<string, string>> =>
  Object.fromEntries(
    query<{ key: string; value: string }>(databaseOf(machine), "SELECT key, value FROM key_value_store").map(
      ({ key, value }) => [key, value],
    ),
  )

/** Writes keys into the store of a machine. */
export const setKeys = (machine: Machine, values: Readonly<Record<string, string>>): void => {
  const database = new Sqlite(databaseOf(machine), { fileMustExist: true, timeout: 5000 })
  try {
    const set = database.prepare("INSERT OR REPLACE INTO key_value_store (key, value, updated_at) VALUES (?, ?, 1)")
    for (const [key, value] of Object.entries(values)) set.run(key, value)
  } finally {
    database.close()
  }
}
