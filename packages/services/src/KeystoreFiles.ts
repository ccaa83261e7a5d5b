import { join } from "node:path"
import { type FileFailed, KeystoreDamaged } from "@waiaas/domain/DataErrors"
import { agentsOfKeyFiles, KeyForm } from "@waiaas/domain/KeyFile"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"

/** Public keys by the ids of their agents; null where the file holds no sealed key. */
export type PublicKeys = ReadonlyMap<string, string | null>

const formOf = Schema.decodeUnknownOption(Schema.parseJson(KeyForm))

/**
 * What every sealed key says of itself, without opening any: that needs what the keystore is sealed under, and time. A
 * file that cannot be read signs as little as one that is damaged.
 */
export const publicKeysOnFile: Effect.Effect<PublicKeys, FileFailed, DataDir | DurableFile> = Effect.gen(
  function* () {
    const files = yield* DurableFile
    const { paths } = yield* DataDir
    const agents = agentsOfKeyFiles(yield* files.list(paths.keystore))
    const entries = yield* Effect.forEach(
      agents,
      (agent) =>
        Effect.map(
          Effect.option(files.readText(join(paths.keystore, `${agent}.json`))),
          (text) => [agent, Option.getOrNull(Option.flatMap(text, formOf))?.publicKey ?? null] as const,
        ),
      { concurrency: 16 },
    )
    return new Map(entries)
  },
)

const KEY = /"source":"key-file"/

/**
 * What is missing of a keystore that was made here, by its files, without opening any; none where all is there, or
 * where none was made yet. A directory that is empty is what a file system leaves that is not mounted.
 */
export const keystoreLoss: Effect.Effect<
  Option.Option<KeystoreDamaged>,
  FileFailed,
  DataDir | DurableFile
> = Effect.gen(function* () {
  const files = yield* DurableFile
  const { paths } = yield* DataDir
  const { keystore } = paths
  const names = yield* files.list(keystore)
  const lost = (path: string, problem: string) =>
    Option.some(new KeystoreDamaged({ path, problem, missing: true }))
  const master = join(keystore, "master.json")
  if (names.includes("master.json")) {
    const text = Option.getOrElse(yield* files.readAnyTextIfThere(master), () => "")
    return KEY.test(text) && !names.includes("key")
      ? lost(join(keystore, "key"), "does not exist")
      : Option.none()
  }
  const keys = agentsOfKeyFiles(names).length
  if (keys > 0)
    return lost(master, `does not exist, though ${keys} sealed key${keys === 1 ? " needs" : "s need"} it`)
  // The token is made after the keystore: without it an init was cut off before that.
  if (!(yield* files.exists(paths.token))) return Option.none()
  if (!(yield* files.isDirectory(keystore))) return lost(keystore, "does not exist")
  return lost(keystore, names.length === 0 ? "is empty" : "holds no master.json")
})
