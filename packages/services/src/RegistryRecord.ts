import { createHash } from "node:crypto"
import { dirname, join } from "node:path"
import type { FileFailed } from "@waiaas/domain/DataErrors"
import type { NotNpmGlobal, NpmFailed } from "@waiaas/domain/PackageErrors"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { RecordedRegistry } from "./CheckReport.ts"
import { NpmInstaller } from "./NpmInstaller.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile, readJsonIfValid } from "./platform/DurableFile.ts"
import { Environment } from "./platform/Environment.ts"

/** What npm has its registry and its age limit from: the variables that name them, and the state of each npmrc. */
const whereNpmIsSet = (prefix: string) =>
  Effect.gen(function* () {
    const files = yield* DurableFile
    const { variables, home, node } = yield* Environment
    const named = Object.entries(variables).filter(
      ([name, value]) =>
        /^npm_config_(.*registry|scope|(user|global)config|before|min[_-]release[_-]age.*)$/i.test(name) &&
        value !== undefined &&
        value !== "",
    )
    const userconfig = named.find(([name]) => /^npm_config_userconfig$/i.test(name))?.[1]
    const digest = createHash("sha256")
    for (const [name, value] of named.sort()) digest.update(`${name}=${value}\n`)
    for (const path of [
      userconfig ?? join(home, ".npmrc"),
      join(prefix, "etc", "npmrc"),
      join(dirname(dirname(node)), "lib/node_modules/npm/npmrc"),
    ]) {
      const info = yield* files.statIfThere(path)
      const state = Option.match(info, {
        onNone: () => "none",
        onSome: ({ ino, mtime, size }) =>
          `${Option.getOrElse(ino, () => 0)} ${size} ${Option.match(mtime, { onNone: () => 0, onSome: Number })}`,
      })
      digest.update(`${path} ${state}\n`)
    }
    return digest.digest("hex")
  })

/**
 * Records which registry npm installs from, and which age limit it keeps, so that the daemon's check and an upgrade
 * agree. npm is asked again only where its settings may have changed since. Says whether the registry is another one now.
 */
export const recordRegistry: Effect.Effect<
  boolean,
  NotNpmGlobal | NpmFailed | FileFailed,
  NpmInstaller | DurableFile | DataDir | Environment
> = Effect.gen(function* () {
  const installer = yield* NpmInstaller
  const files = yield* DurableFile
  const { paths } = yield* DataDir
  const install = yield* installer.install
  const seen = yield* whereNpmIsSet(install.prefix)
  const before = Option.getOrNull(yield* readJsonIfValid(RecordedRegistry, paths.registry))
  if (before?.seen === seen) return false
  const registry = yield* installer.registry(install)
  const ageLimit = yield* installer.ageLimit(install)
  yield* files.write(paths.registry, JSON.stringify({ registry, ageLimit, seen }))
  return before?.registry !== registry
})
