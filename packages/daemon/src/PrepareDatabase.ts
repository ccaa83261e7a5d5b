import { join } from "node:path"
import { DATABASE_FILE } from "@waiaas/domain/BackupManifest"
import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import {
  type BackupDamaged,
  type DatabaseFailed,
  DatabaseTooNew,
  type FileFailed,
  LockBusy,
} from "@waiaas/domain/DataErrors"
import { releaseFor } from "@waiaas/domain/SchemaRange"
import type { Version } from "@waiaas/domain/Version"
import { BACKUP_CREATE, Backup } from "@waiaas/services/Backup"
import { Compatibility } from "@waiaas/services/Compatibility"
import { databaseEmpty, databaseMissing, layerDatabase } from "@waiaas/services/Database"
import { DatabaseTool } from "@waiaas/services/DatabaseTool"
import { migrate } from "@waiaas/services/Migrator"
import { newerReleaseFor } from "@waiaas/services/NewerRelease"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { prunedInWords } from "@waiaas/services/Retention"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import { recordWrittenBy } from "@waiaas/services/WrittenBy"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** Creates the database of a new data directory. What has a schema already is left alone. */
export const createDatabase = (path: string) =>
  Effect.gen(function* () {
    const files = yield* DurableFile
    const tool = yield* DatabaseTool
    const { packageDir } = yield* Environment
    // An init that was cut off can have left an empty file.
    if ((yield* files.exists(path)) && (yield* tool.examine(packageDir, path, "none", {})).schema > 0) return
    yield* Effect.zipRight(migrate(path), recordWrittenBy(path)).pipe(
      Effect.provide(layerDatabase({ path, create: true })),
    )
    yield* Effect.logInfo(`A new database was created with schema ${LATEST_SCHEMA}: ${path}`)
  })

/** A disk that is not mounted looks like this: an empty database in its place would hide the agents. */
export const expectDatabase = (path: string) =>
  Effect.gen(function* () {
    const files = yield* DurableFile
    if (yield* files.exists(path)) return
    return yield* databaseMissing(path)
  })

/** No command leaves such a database behind an init: agents were in it, or it is another one. */
const expectFilled = (path: string, schema: number) => (schema > 0 ? Effect.void : databaseEmpty(path))

/**
 * Brings the database to this code's schema before it is opened for good, under the data lock:
 * compatibility, then a verified backup, then the migration in one transaction (MIG-04), which keeps nothing that
 * differs from the backup by more than the migration declares.
 */
export const prepareDatabase = (path: string) =>
  Effect.gen(function* () {
    const tool = yield* DatabaseTool
    const compatibility = yield* Compatibility
    const { packageDir } = yield* Environment
    const { paths } = yield* DataDir
    yield* expectDatabase(path)
    const { schema, writtenBy } = yield* tool.examine(packageDir, path, "none", {})
    yield* expectFilled(path, schema)
    const verdict = yield* compatibility
      .admit(schema)
      .pipe(
        Effect.catchTag("DatabaseTooNew", (error) =>
          Effect.flatMap(newerReleaseFor(path, schema), (release) =>
            Effect.fail(new DatabaseTooNew({ ...error, release: Option.getOrUndefined(release) })),
          ),
        ),
      )
    if (verdict._tag === "Current") return
    let before: string | undefined
    if (verdict._tag === "NeedsMigration") {
      yield* awaitBackup
      const name = yield* backUp(path, writtenBy ?? (yield* assumedWriter(schema)))
      yield* Effect.logInfo(
        `Migrating from schema ${schema} to ${LATEST_SCHEMA}; backup ${name} holds the data as it was`,
      )
      before = join(paths.backups, name, DATABASE_FILE)
    }
    const { to } = yield* tool.migrate(packageDir, path, before)
    yield* recordWrittenBy(path).pipe(Effect.provide(layerDatabase({ path, create: false })))
    yield* Effect.logInfo(`The database is at schema ${to} now`)
  })

/**
 * Waits while the operator's own backup is made: its copy of the data is not to be migrated, nor removed as one that was
 * cut off. It was begun before this start had the data; one that comes later finds a daemon that does not answer yet.
 */
const awaitBackup = Effect.gen(function* () {
  const lock = yield* ExclusiveLock
  const { paths } = yield* DataDir
  const since = yield* Clock.currentTimeMillis
  let isSaid = false
  while (yield* lock.isHeld(paths.runLock)) {
    const holder = Option.getOrNull(yield* lock.holder(paths.runLock))
    // An upgrade or a rollback waits for this start, and takes no copy of data that it has not.
    if (holder?.what !== BACKUP_CREATE) return
    const who = `${holder.what}, process ${holder.pid}`
    if (!isSaid) yield* Effect.logInfo(`Waiting for ${who}: the data is migrated after that`)
    isSaid = true
    if ((yield* Clock.currentTimeMillis) - since >= BACKUP_LIMIT)
      return yield* new LockBusy({ lock: "run", path: paths.runLock, holder: who })
    yield* Effect.sleep("100 millis")
  }
})
/** Milliseconds that a start waits for that. */
const BACKUP_LIMIT = 60_000

/**
 * The version that wrote data which do not say it: the one that a run or a start migrated them for, and that never came
 * to serve; else the first release of the schema.
 */
const assumedWriter = (schema: number) =>
  Effect.gen(function* () {
    const run = Option.getOrNull(yield* (yield* UpgradeJournal).latest)
    if (run?.ended?.outcome === "new" && run.facts.schemaTo === schema) return run.started.to
    const migrated = (yield* (yield* Backup).list).findLast(
      ({ manifest }) => manifest?.kind === "pre-migrate",
    )
    if (migrated?.manifest?.to !== undefined && migrated.manifest.schema < schema) return migrated.manifest.to
    return releaseFor(schema) ?? (yield* Environment).version
  })

/**
 * Backs up the data for the migration to come. A backup that an earlier start of this version made of this very data,
 * by this very writer, serves again: a crash loop must not push out the history. Any other one is not taken, whatever it
 * holds: a rollback from this version would not find it.
 */
const backUp = (
  path: string,
  from: Version,
): Effect.Effect<
  string,
  BackupDamaged | DatabaseFailed | FileFailed,
  Backup | DatabaseTool | DurableFile | Environment
> =>
  Effect.gen(function* () {
    const files = yield* DurableFile
    const tool = yield* DatabaseTool
    const backups = yield* Backup
    const { packageDir, version } = yield* Environment
    yield* tool.checkpoint(packageDir, path)
    const now = yield* files.hash(path)
    for (const { name, manifest, problem } of (yield* backups.list).toReversed()) {
      if (manifest === null || problem !== null) continue
      if (manifest.kind !== "pre-migrate" || manifest.to !== version || manifest.from !== from) continue
      const same = manifest.files.some((file) => file.name === DATABASE_FILE && file.sha256 === now.sha256)
      const whole = same && (yield* Effect.either(backups.verify(name)))._tag === "Right"
      if (whole) return name
    }
    yield* backups.removePartial
    const made = yield* backups.create({
      kind: "pre-migrate",
      source: "closed",
      database: path,
      from,
      to: version,
      packageDir,
    })
    const pruned = yield* backups.prune(version, { database: path, packageDir })
    for (const line of prunedInWords(pruned)) yield* Effect.logInfo(line)
    return made.name
  })
