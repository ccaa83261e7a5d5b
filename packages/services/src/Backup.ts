import { createHash } from "node:crypto"
import { join } from "node:path"
import {
  type BackupKind,
  BackupManifest,
  backupName,
  CONFIG_FILE,
  DATABASE_FILE,
  expired,
  MANIFEST_FILE,
} from "@waiaas/domain/BackupManifest"
import { BackupDamaged, type DatabaseFailed, type FileFailed, NoBackup } from "@waiaas/domain/DataErrors"
import type { Version } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { databaseEmpty, databaseMissing } from "./Database.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile } from "./platform/DurableFile.ts"
import { Environment, unixSeconds } from "./platform/Environment.ts"
import { type Pruned, type PruneOptions, removeExpired } from "./Retention.ts"

/** A backup as it was found: whole by its manifest, or not. */
export interface BackupEntry {
  readonly name: string
  readonly path: string
  readonly manifest: BackupManifest | null
  /** Why it cannot be restored; `null` where nothing speaks against it, though its content was not read. */
  readonly problem: string | null
}

export interface MadeBackup extends BackupEntry {
  readonly manifest: BackupManifest
}

const decodeManifest = Schema.decodeUnknownOption(Schema.parseJson(BackupManifest))

const PARTIAL = ".partial-"
const DAMAGED = "damaged-"
const usedBy = /^used-by-run-(\d+)$/

/** Whether a run makes it, which knows and keeps the code that goes with the data. Else the data itself says who wrote it. */
const isOfRun: Record<BackupKind, boolean> = {
  "pre-upgrade": true,
  "pre-rollback": true,
  "pre-migrate": false,
  manual: false,
}

/** Made of what was there before another version came: what a rollback from that version restores. */
const precedes: ReadonlyArray<BackupKind> = ["pre-upgrade", "pre-migrate"]

const digestOf = (manifest: Omit<BackupManifest, "digest">): string => {
  const { format, sequence, kind, from, to, schema, createdAt, files } = manifest
  const fields = [
    format,
    sequence,
    kind,
    from,
    to ?? null,
    schema,
    createdAt,
    files.map((file) => [file.name, file.size, file.sha256]),
  ]
  return createHash("sha256").update(JSON.stringify(fields)).digest("hex")
}

/** What the lock of runs says of a process that makes a backup for the operator: no start makes one meanwhile. */
export const BACKUP_CREATE = "backup create"

/** Copies of database and configuration: consistent, hashed, checked, durable, and in order of sequence. */
export class Backup extends Context.Tag("@waiaas/services/Backup")<
  Backup,
  {
    /** Every backup, oldest first; the content is not read. */
    readonly list: Effect.Effect<ReadonlyArray<BackupEntry>, FileFailed>
    /**
     * Reads a whole backup and compares it with its manifest. `usedBy`: the run whose undo has marked it,
     * and was perhaps cut off before it moved anything.
     */
    readonly verify: (
      name: string,
      usedBy?: number,
    ) => Effect.Effect<BackupManifest, BackupDamaged | NoBackup | FileFailed>
    /**
     * Makes a backup under the data lock (`closed`: nobody has the database open), or of a database
     * in use (`live`). It appears whole, by one rename, or not at all.
     */
    readonly create: (options: {
      readonly kind: BackupKind
      readonly source: "closed" | "live"
      readonly database: string
      /** The version whose code goes with the data; where no run makes the backup, only if the data does not say it. */
      readonly from: Version
      /** The version that is about to get the data. */
      readonly to?: Version
      /** The code that looks at the database. */
      readonly packageDir: string
    }) => Effect.Effect<MadeBackup, DatabaseFailed | FileFailed>
    /** Finds what a rollback from `installed` would take, and the newer ones that it passes over since they are damaged, with the reason. */
    readonly lookForRollback: (installed: Version) => Effect.Effect<
      {
        readonly chosen: Option.Option<BackupEntry & { readonly manifest: BackupManifest }>
        readonly damaged: ReadonlyArray<{ readonly name: string; readonly problem: string }>
      },
      FileFailed
    >
    /**
     * Keeps the files of a database that cannot be read, as they are, under the data lock. It has no manifest:
     * every version sees that it is none to restore, and no retention removes it.
     */
    readonly keepDamaged: (
      database: string,
      from: Version,
    ) => Effect.Effect<{ readonly name: string; readonly path: string }, FileFailed>
    /** What a rollback from `installed` would take: the newest verified backup that an upgrade or a start made for it. */
    readonly forRollback: (
      installed: Version,
    ) => Effect.Effect<BackupEntry & { readonly manifest: BackupManifest }, NoBackup | FileFailed>
    /**
     * Removes what retention gives up, what is used up and what was cut off while it was made, except for what a rollback
     * from `installed` would take and for the only copy of a write. What stays and what went is to be said.
     */
    readonly prune: (installed: Version, options: PruneOptions) => Effect.Effect<Pruned, FileFailed>
    /** Removes backups that were cut off while they were made. */
    readonly removePartial: Effect.Effect<void, FileFailed>
    /** Marks a backup whose copy an undo is about to move into place. */
    readonly markUsed: (name: string, run: number) => Effect.Effect<void, FileFailed>
    /** Takes that mark away: the copy could not be moved, and stays. */
    readonly unmarkUsed: (name: string, run: number) => Effect.Effect<void, FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const files = yield* DurableFile
      const tool = yield* DatabaseTool
      const { paths } = yield* DataDir
      const environment = yield* Environment
      const now = unixSeconds.pipe(Effect.provideService(Environment, environment))

      const look = (name: string, usedByNow?: number): Effect.Effect<BackupEntry, FileFailed> =>
        Effect.gen(function* () {
          const path = join(paths.backups, name)
          const broken = (problem: string): BackupEntry => ({ name, path, manifest: null, problem })
          if (Option.isSome(yield* files.readLink(path))) return broken("it is a link, not a directory")
          if (!(yield* files.isDirectory(path))) return broken("it is no directory")
          if (Option.isSome(yield* files.readLink(join(path, MANIFEST_FILE))))
            return broken("its manifest is a link")
          const read = yield* Effect.either(files.readTextIfThere(join(path, MANIFEST_FILE)))
          // One that cannot be read does not hide the others.
          if (Either.isLeft(read))
            return broken(
              read.left.code === "EISDIR"
                ? "its manifest is a directory"
                : `its manifest cannot be read (${read.left.code})`,
            )
          const text = read.right
          if (Option.isNone(text))
            return broken(
              name.startsWith(DAMAGED)
                ? "kept by a rollback since it could not be read: not whole"
                : "it has no manifest",
            )
          const decoded = decodeManifest(text.value)
          if (Option.isNone(decoded)) return broken("its manifest is not readable")
          const manifest = decoded.value
          if (manifest.digest !== digestOf(manifest)) return broken("its manifest was changed")
          const names = yield* files.list(path)
          const used = names
            .flatMap((each) => usedBy.exec(each)?.[1] ?? [])
            .filter((run) => Number(run) !== usedByNow)
          if (used.length > 0)
            return { name, path, manifest, problem: `used up: the undo of run ${used[0]} put its data back` }
          for (const file of manifest.files) {
            const target = join(path, file.name)
            if (Option.isSome(yield* files.readLink(target)))
              return { name, path, manifest, problem: `${file.name} is a link` }
            if (!(yield* files.exists(target)))
              return { name, path, manifest, problem: `${file.name} is missing` }
            const info = yield* files.stat(target)
            if (info.type !== "File" || Number(info.size) !== file.size)
              return { name, path, manifest, problem: `${file.name} has not the size that was backed up` }
          }
          if (!manifest.files.some((file) => file.name === DATABASE_FILE))
            return { name, path, manifest, problem: "it holds no database" }
          return { name, path, manifest, problem: null }
        })

      const list = Effect.gen(function* () {
        const names = (yield* files.list(paths.backups)).filter((name) => !name.startsWith("."))
        const entries = yield* Effect.forEach(names, (name) => look(name))
        return [...entries].sort((a, b) => sequenceOf(a) - sequenceOf(b))
      })

      const nextSequence = Effect.map(list, (entries) => Math.max(0, ...entries.map(sequenceOf)) + 1)

      const verify = Effect.fn("Backup.verify")(function* (name: string, run?: number) {
        // The name comes from outside: it must be one of ours, not a path.
        if (!(yield* files.list(paths.backups)).some((each) => each === name && !each.startsWith(".")))
          return yield* new NoBackup({ wanted: `backup named ${name}` })
        const entry = yield* look(name, run)
        if (entry.manifest === null || entry.problem !== null)
          return yield* new BackupDamaged({ name, problem: entry.problem ?? "it has no manifest" })
        for (const file of entry.manifest.files) {
          const found = yield* files.hash(join(entry.path, file.name))
          if (found.sha256 !== file.sha256)
            return yield* new BackupDamaged({ name, problem: `${file.name} is not what was backed up` })
        }
        return entry.manifest
      })

      const create = Effect.fn("Backup.create")(function* (options: {
        readonly kind: BackupKind
        readonly source: "closed" | "live"
        readonly database: string
        readonly from: Version
        readonly to?: Version
        readonly packageDir: string
      }) {
        const { database, packageDir } = options
        if (!(yield* files.exists(database))) return yield* databaseMissing(database)
        yield* files.makeDirectory(paths.backups)
        const sequence = yield* nextSequence
        const createdAt = yield* now
        const partial = join(paths.backups, `${PARTIAL}${options.kind}-${sequence}`)
        yield* files.remove(partial)
        yield* files.makeDirectory(partial)
        return yield* Effect.gen(function* () {
          const copy = join(partial, DATABASE_FILE)
          const examine = (path: string) => tool.examine(packageDir, path, "quick", {})
          const takeClosed = Effect.gen(function* () {
            // A daemon that stopped in order has left no log to bring in.
            // Another program may have left one, or a journal of a change that SQLite undoes when it opens it.
            if ((yield* files.exists(`${database}-wal`)) || (yield* files.exists(`${database}-journal`)))
              yield* tool.checkpoint(packageDir, database)
            // Nobody writes, so what the source holds the copy holds too, whose hash is of the bytes that were read for it.
            // Both at once: the daemon is down. But not where this process is the one that has the source open
            // through SQLite: it must not read it by other means then.
            const [hashed, examined] = yield* tool.isApart
              ? Effect.all([files.copy(database, copy), examine(database)], { concurrency: 2 })
              : Effect.all([files.copy(database, copy), examine(copy)])
            return { hashed, ...examined }
          })
          // A live copy is looked at before it is hashed: the first look turns its header to WAL mode.
          const takeLive = Effect.gen(function* () {
            yield* tool.copyLive(packageDir, database, copy)
            const examined = yield* examine(copy)
            return { hashed: yield* files.hash(copy), ...examined }
          })
          const { hashed, schema, writtenBy } = yield* options.source === "closed" ? takeClosed : takeLive
          // It would look like a backup of the data. What a rollback keeps aside may be anything.
          if (schema === 0 && options.kind !== "pre-rollback") return yield* databaseEmpty(database)
          const from = isOfRun[options.kind] ? options.from : (writtenBy ?? options.from)
          const config = (yield* files.exists(paths.config))
            ? [{ name: CONFIG_FILE, ...(yield* files.copy(paths.config, join(partial, CONFIG_FILE))) }]
            : []
          // SQLite may leave its helpers beside a database that it looked at; they are none of the backup.
          for (const suffix of ["-wal", "-shm", "-journal"]) yield* files.remove(`${copy}${suffix}`)
          const body = {
            format: 1 as const,
            sequence,
            kind: options.kind,
            from,
            ...(options.to ? { to: options.to } : {}),
            schema,
            createdAt,
            files: [{ name: DATABASE_FILE, ...hashed }, ...config],
          }
          const manifest: BackupManifest = { ...body, digest: digestOf(body) }
          if (options.source === "live") yield* files.sync(copy)
          // The last change in the directory, which its write makes durable with all before it.
          yield* files.write(join(partial, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`)
          const name = backupName({ kind: options.kind, from, createdAt, sequence })
          const path = join(paths.backups, name)
          yield* files.rename(partial, path)
          return { name, path, manifest, problem: null }
        }).pipe(Effect.onError(() => Effect.orElseSucceed(files.remove(partial), () => undefined)))
      })

      const keepDamaged = Effect.fn("Backup.keepDamaged")(function* (database: string, from: Version) {
        const sequence = yield* nextSequence
        const name = `${DAMAGED}${from}-${String(sequence).padStart(6, "0")}`
        const partial = join(paths.backups, `${PARTIAL}${name}`)
        const path = join(paths.backups, name)
        yield* files.remove(partial)
        yield* files.makeDirectory(partial)
        yield* Effect.gen(function* () {
          for (const suffix of ["", "-wal", "-shm", "-journal"])
            if (yield* files.exists(`${database}${suffix}`))
              yield* files.copy(`${database}${suffix}`, join(partial, `${DATABASE_FILE}${suffix}`))
          if (yield* files.exists(paths.config)) yield* files.copy(paths.config, join(partial, CONFIG_FILE))
          yield* files.syncDirectory(partial)
          yield* files.rename(partial, path)
        }).pipe(Effect.onError(() => Effect.orElseSucceed(files.remove(partial), () => undefined)))
        return { name, path }
      })

      const lookForRollback = Effect.fn("Backup.lookForRollback")(function* (installed: Version) {
        const damaged: Array<{ readonly name: string; readonly problem: string }> = []
        for (const entry of (yield* list).toReversed()) {
          const { name, manifest, problem } = entry
          if (manifest === null || manifest.to !== installed || !precedes.includes(manifest.kind)) continue
          if (problem !== null) {
            if (!isUsedUp(entry)) damaged.push({ name, problem })
            continue
          }
          const read = yield* verify(name).pipe(
            Effect.as(null),
            Effect.catchTags({
              BackupDamaged: (error) => Effect.succeed(error.problem),
              NoBackup: () => Effect.succeed("it was removed"),
            }),
          )
          if (read === null) return { chosen: Option.some({ ...entry, manifest }), damaged }
          damaged.push({ name, problem: read })
        }
        return { chosen: Option.none(), damaged }
      })

      const forRollback = Effect.fn("Backup.forRollback")(function* (installed: Version) {
        const { chosen } = yield* lookForRollback(installed)
        if (Option.isSome(chosen)) return chosen.value
        return yield* new NoBackup({ wanted: noneFor(installed) })
      })

      const removePartial = Effect.gen(function* () {
        for (const name of yield* files.list(paths.backups))
          if (name.startsWith(PARTIAL)) yield* files.remove(join(paths.backups, name))
      })

      return Backup.of({
        list,
        verify,
        create,
        keepDamaged,
        forRollback,
        lookForRollback,
        removePartial,
        prune: Effect.fn("Backup.prune")(function* (installed: Version, options: PruneOptions) {
          yield* removePartial
          const entries = yield* list
          const usedUp = entries.filter(isUsedUp)
          const whole = entries.flatMap((entry) =>
            entry.manifest !== null && entry.problem === null
              ? [{ ...entry, kind: entry.manifest.kind, sequence: entry.manifest.sequence }]
              : [],
          )
          const keep = yield* forRollback(installed).pipe(
            Effect.map((entry) => entry.manifest.sequence),
            Effect.catchTag("NoBackup", () => Effect.succeed(undefined)),
          )
          const isWhole = (name: string) =>
            Effect.match(verify(name), { onFailure: () => false, onSuccess: () => true })
          const given = [...usedUp, ...expired(whole, keep)]
          return yield* removeExpired(files, tool, entries, given, isWhole, options)
        }),
        markUsed: (name, run) => files.write(join(paths.backups, name, `used-by-run-${run}`), ""),
        unmarkUsed: (name, run) => files.remove(join(paths.backups, name, `used-by-run-${run}`)),
      })
    }),
  )
}

/** What is missing where a rollback from `installed` has nothing to restore. */
export const noneFor = (installed: Version): string =>
  `whole backup from before ${installed} was installed here`

const isUsedUp = (entry: BackupEntry): boolean => entry.problem?.startsWith("used up") === true

/** Where a manifest is damaged the directory's name still has its place in the order. */
const sequenceOf = (entry: BackupEntry): number =>
  entry.manifest?.sequence ?? Number(/-(\d{6,15})$/.exec(entry.name)?.[1] ?? 0)
