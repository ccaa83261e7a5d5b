/** Removes backups that retention gives up, but never the only copy of an acknowledged write. */
import { join } from "node:path"
import type { NamedAgent } from "@waiaas/domain/AgentChanges"
import { DATABASE_FILE } from "@waiaas/domain/BackupManifest"
import type { FileFailed } from "@waiaas/domain/DataErrors"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { BackupEntry } from "./Backup.ts"
import type { DatabaseTool } from "./DatabaseTool.ts"
import type { DurableFile } from "./platform/DurableFile.ts"

export interface PruneOptions {
  /** Today's database: what it holds needs no backup. */
  readonly database: string
  /** The code that compares. */
  readonly packageDir: string
}

/** What a backup itself consists of, with what SQLite leaves where it was read. */
const OWN = /^(?:manifest\.json|config\.toml|waiaas\.db(?:-wal|-shm|-journal)?|used-by-run-\d+)$/

/** What became of the backups that retention gave up. */
export interface Pruned {
  readonly removed: ReadonlyArray<string>
  /** Those that stay, and why. */
  readonly kept: ReadonlyArray<{ readonly name: string; readonly reason: string }>
}

/** How many agents are named in a reason. */
const NAMED = 10

/** Whose writes they are; nothing where only the record of agents that are no more is left. */
const namesOf = (agents: ReadonlyArray<NamedAgent>): string => {
  if (agents.length === 0) return ""
  const names = agents.slice(0, NAMED).map(({ name }) => name)
  const more = agents.length > NAMED ? " and others" : ""
  return ` (${agents.length === 1 ? "agent" : "agents"} ${names.join(", ")}${more})`
}

/**
 * Removes `expired`, oldest first. One that holds a write which neither today's database nor another whole backup has
 * stays; so does one that cannot be compared, and one that somebody put files into. `entries`: every backup there is;
 * `isWhole`: whether the content of one is what was backed up, since a copy that cannot be restored is no copy.
 */
export const removeExpired = (
  files: DurableFile["Type"],
  tool: DatabaseTool["Type"],
  entries: ReadonlyArray<BackupEntry>,
  expired: ReadonlyArray<BackupEntry>,
  isWhole: (name: string) => Effect.Effect<boolean, FileFailed>,
  { database, packageDir }: PruneOptions,
): Effect.Effect<Pruned, FileFailed> =>
  Effect.gen(function* () {
    const removed: Array<string> = []
    const kept: Array<Pruned["kept"][number]> = []
    const databaseIn = ({ path }: BackupEntry) => join(path, DATABASE_FILE)
    const whole = new Map<string, boolean>()
    for (const entry of expired) {
      const strange = (yield* files.list(entry.path)).filter((name) => !OWN.test(name))
      if (strange.length > 0) {
        kept.push({ name: entry.name, reason: `it has a file that is not part of it (${strange[0]})` })
        continue
      }
      // One that an undo has used up holds none any more.
      if (yield* files.exists(databaseIn(entry))) {
        const copies = entries.filter(
          ({ name, problem }) => problem === null && name !== entry.name && !removed.includes(name),
        )
        for (const { name } of copies) if (!whole.has(name)) whole.set(name, yield* isWhole(name))
        const others = copies
          .filter(({ name }) => whole.get(name) === true)
          .map(databaseIn)
          .toReversed()
        const found = yield* Effect.either(
          tool.findUnique(packageDir, databaseIn(entry), [database, ...others]),
        )
        if (Either.isLeft(found) || found.right.writes > 0) {
          const reason = Either.match(found, {
            onLeft: ({ message }) => `it could not be compared: ${message}`,
            onRight: ({ writes, agents }) =>
              `it has the only copy of ${writes === 1 ? "1 write" : `${writes} writes`}${namesOf(agents)}`,
          })
          kept.push({ name: entry.name, reason })
          continue
        }
      }
      yield* files.remove(entry.path)
      removed.push(entry.name)
    }
    return { removed, kept }
  })

/** What an operator reads of it; nothing where there was nothing to give up. */
export const prunedInWords = ({ removed, kept }: Pruned): ReadonlyArray<string> => [
  ...removed.map((name) => `Removed the old backup ${name}.`),
  ...kept.map(({ name, reason }) => `Kept the old backup ${name}: ${reason}.`),
]

/** Where nothing was given up. */
export const nothingPruned: Pruned = { removed: [], kept: [] }
