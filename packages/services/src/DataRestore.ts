import { basename, dirname, join } from "node:path"
import { CONFIG_FILE, DATABASE_FILE } from "@waiaas/domain/BackupManifest"
import { BackupDamaged, DatabaseFailed, type FileFailed, type NoBackup } from "@waiaas/domain/DataErrors"
import { VerificationFailed } from "@waiaas/domain/RunErrors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backup } from "./Backup.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile, PROBE_FILE } from "./platform/DurableFile.ts"
import { realPlace } from "./platform/RealPlace.ts"

/** SQLite's files of one database: restoring the first beside the others would undo the restore. */
const suffixes = ["", "-wal", "-shm", "-journal"] as const

/**
 * Puts a backup's data in the place of today's, under the data lock and with nobody on the files:
 * today's out by rename, a copy that is already durable in by rename. Cut off anywhere, it is done again.
 */
export class DataRestore extends Context.Tag("@waiaas/services/DataRestore")<
  DataRestore,
  {
    /** Bytes that an undo has to copy, of a database of `bytes`: none where it can rename the backup's own copy. */
    readonly sizeOfUndo: (database: string, bytes: number) => Effect.Effect<number, FileFailed>
    /** Prepares what an undo needs, while there is space: called before anything is touched. */
    readonly prepareUndo: (run: number, database: string, copy: number) => Effect.Effect<void, FileFailed>
    /** Gives the reserved space back: the first act of a recovery. */
    readonly giveBack: (run: number, database: string) => Effect.Effect<void, FileFailed>
    /**
     * Moves the backup's own copy in, which needs no free space, and uses the backup up. It is read before
     * anything is moved and looked at in its place; where it is not what was backed up, all of it is kept.
     */
    readonly undo: (options: {
      readonly run: number
      readonly backup: string
      readonly database: string
      readonly schema: number
      readonly packageDir: string
    }) => Effect.Effect<void, FileFailed | DatabaseFailed | VerificationFailed | BackupDamaged | NoBackup>
    /** Makes verified copies of a backup's files beside their places; nothing is replaced yet. */
    readonly prepareRollback: (
      run: number,
      backup: string,
      database: string,
    ) => Effect.Effect<void, FileFailed | BackupDamaged | NoBackup>
    /** Suspends in the prepared copy the agents that are suspended in `database`; the copy is durable again then. */
    readonly keepSuspended: (
      run: number,
      database: string,
      packageDir: string,
    ) => Effect.Effect<void, DatabaseFailed | FileFailed>
    /** Moves the prepared copies in. */
    readonly rollback: (run: number, database: string) => Effect.Effect<void, FileFailed>
    /** Removes what a run prepared and what it moved out. */
    readonly cleanUp: (run: number, database: string) => Effect.Effect<void, FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const files = yield* DurableFile
      const tool = yield* DatabaseTool
      const backups = yield* Backup
      const { paths } = yield* DataDir

      // Beside the database, not in the data directory: a rename works only inside one file system.
      /** Another installation may have its database in the same directory, and a run of the same number. */
      const named = (what: string, run: number, database: string) =>
        join(
          dirname(database),
          dirname(database) === paths.data ? `.${what}-${run}` : `.${what}-${run}-${basename(database)}`,
        )
      const aside = (run: number, database: string) => named("failed", run, database)
      const prepared = (run: number, path: string) => join(dirname(path), `.restore-${run}-${basename(path)}`)

      /** The number of a run whose journal was moved away is given again: what that one put aside stays, under another name. */
      const makeAside = (run: number, database: string) =>
        Effect.gen(function* () {
          const path = aside(run, database)
          if ((yield* files.list(path)).length > 0) {
            let number = 1
            while (yield* files.exists(`${path}-earlier-${number}`)) number += 1
            yield* files.rename(path, `${path}-earlier-${number}`)
          }
          yield* files.makeDirectory(path)
        })

      // It must be on the file system that the undo's copy goes to.
      const reserve = (run: number, database: string) => named("reserve", run, database)
      /** Moves a file where the system can; false where only a copy gets there. */
      const moves = (from: string, to: string) =>
        Effect.as(files.rename(from, to), true).pipe(
          Effect.catchIf(
            ({ code }) => code === "EXDEV",
            () => Effect.succeed(false),
          ),
        )
      /** Found out by the call itself: two mounts of one device have the same number, and no rename between them works. */
      const canRename = (database: string) =>
        Effect.gen(function* () {
          const [here, there] = [paths.backups, dirname(database)].map((path) => join(path, PROBE_FILE))
          yield* files.append(here as string, "")
          const moved = yield* moves(here as string, there as string)
          yield* files.remove((moved ? there : here) as string)
          return moved
        })

      /** The copy comes in last: with both there, nothing is left to move. */
      const isReplaced = (run: number, database: string) =>
        Effect.gen(function* () {
          const out = join(aside(run, database), basename(database))
          return (yield* files.exists(out)) && (yield* files.exists(database))
        })

      /** Today's files out, `copy` in. Without `copy` it has been done already. */
      const replace = (run: number, database: string, copy: string) =>
        Effect.gen(function* () {
          if (!(yield* files.exists(copy))) return
          const out = aside(run, database)
          yield* files.makeDirectory(out)
          for (const suffix of suffixes) {
            const path = `${database}${suffix}`
            if (yield* files.exists(path)) yield* files.rename(path, join(out, basename(path)))
          }
          yield* files.rename(copy, database)
        })

      return DataRestore.of({
        sizeOfUndo: (database, bytes) =>
          Effect.map(canRename(database), (renames) => (renames ? 0 : Math.ceil(bytes * 1.2))),
        prepareUndo: (run, database, copy) =>
          Effect.gen(function* () {
            if (copy > 0) yield* files.reserve(reserve(run, database), copy)
            yield* makeAside(run, database)
          }),
        giveBack: (run, database) =>
          Effect.zipRight(files.remove(paths.reserve), files.remove(reserve(run, database))),
        undo: Effect.fn("DataRestore.undo")(function* (options) {
          const { run, backup, database, schema, packageDir } = options
          const source = join(paths.backups, backup, DATABASE_FILE)
          // Where it is gone it was verified and moved by an undo that was cut off.
          const isThere = yield* files.exists(source)
          if (isThere) yield* backups.verify(backup, run)
          const copy = prepared(run, database)
          if (isThere && !(yield* isReplaced(run, database))) {
            yield* backups.markUsed(backup, run)
            if (!(yield* moves(source, copy))) {
              yield* backups.unmarkUsed(backup, run)
              // The space for this copy was reserved in step 1 and given back when the recovery began: for one copy.
              yield* files.copy(source, copy)
            }
          }
          yield* replace(run, database, copy)
          const kept = `what was there before it is kept in ${aside(run, database)}`
          // Before SQLite opens it: byte by byte what was backed up, so all of its content is.
          const manifest = (yield* backups.list).find(({ name }) => name === backup)?.manifest
          const expected = manifest?.files.find(({ name }) => name === DATABASE_FILE)?.sha256
          const { sha256 } = yield* files.hash(database)
          if (sha256 !== expected)
            return yield* new VerificationFailed({
              what: "the restored database",
              expected: `the bytes of backup ${backup}`,
              found: `another content; ${kept}`,
            })
          const found = yield* tool
            .examine(packageDir, database, "quick", {})
            .pipe(
              Effect.mapError(
                ({ operation, path, reason }) =>
                  new DatabaseFailed({ operation, path, reason: `${reason}; ${kept}` }),
              ),
            )
          if (found.schema !== schema)
            return yield* new VerificationFailed({
              what: "the schema of the restored database",
              expected: String(schema),
              found: `${found.schema}; ${kept}`,
            })
        }),
        prepareRollback: Effect.fn("DataRestore.prepareRollback")(function* (
          run: number,
          backup: string,
          database: string,
        ) {
          const manifest = yield* backups.verify(backup)
          const config = yield* realPlace(files, paths.config)
          for (const file of manifest.files) {
            const target = file.name === DATABASE_FILE ? database : file.name === CONFIG_FILE ? config : null
            if (target === null) continue
            // One that is the backup's already stays: it may be mounted, or not for this user to replace.
            const isSame =
              target === config && (yield* files.exists(target))
                ? (yield* files.hash(target)).sha256 === file.sha256
                : false
            if (isSame) continue
            const copied = yield* files.copy(join(paths.backups, backup, file.name), prepared(run, target))
            if (copied.sha256 !== file.sha256)
              return yield* new BackupDamaged({
                name: backup,
                problem: `${file.name} changed while it was read`,
              })
            yield* files.syncDirectory(dirname(target))
          }
          yield* makeAside(run, database)
        }),
        keepSuspended: Effect.fn("DataRestore.keepSuspended")(function* (run, database, packageDir) {
          const copy = prepared(run, database)
          yield* tool.keepSuspended(packageDir, copy, database)
          yield* files.sync(copy)
          yield* files.syncDirectory(dirname(copy))
          // The copy alone is moved in: what is still in a log beside it would be lost.
          if (yield* files.exists(`${copy}-wal`))
            return yield* new DatabaseFailed({
              operation: "keep its agents suspended",
              path: copy,
              reason: "its log was not brought in",
            })
        }),
        rollback: Effect.fn("DataRestore.rollback")(function* (run: number, database: string) {
          yield* replace(run, database, prepared(run, database))
          // Where config.toml is a link, the file that it leads to is replaced, not the link.
          const target = yield* realPlace(files, paths.config)
          const config = prepared(run, target)
          if (yield* files.exists(config)) yield* files.rename(config, target)
        }),
        cleanUp: (run, database) =>
          Effect.gen(function* () {
            for (const path of [
              aside(run, database),
              ...suffixes.map((suffix) => `${prepared(run, database)}${suffix}`),
              prepared(run, yield* realPlace(files, paths.config)),
              reserve(run, database),
            ])
              yield* files.remove(path)
          }),
      })
    }),
  )
}
