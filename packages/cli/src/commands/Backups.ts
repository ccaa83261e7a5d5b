/** Backups of database and configuration. */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import { LockBusy } from "@waiaas/domain/DataErrors"
import { sizeInWords } from "@waiaas/domain/Size"
import { makeVersion } from "@waiaas/domain/Version"
import { BACKUP_CREATE, Backup, type BackupEntry } from "@waiaas/services/Backup"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Output } from "../Output.ts"
import { recoverFirst } from "../RecoverFirst.ts"
import { inSameDataDir, keystoreNote, tableRows, when } from "./Text.ts"

/**
 * Who has the data, once that is certain. A daemon answers when its start is over: until then it may migrate the data, and
 * makes a backup of its own for that.
 */
const answering = Effect.gen(function* () {
  const { state } = yield* DaemonControl
  const { paths } = yield* DataDir
  const since = yield* Clock.currentTimeMillis
  for (;;) {
    const now = yield* state
    if (now._tag !== "Running" || Option.isSome(now.health)) return now
    if ((yield* Clock.currentTimeMillis) - since >= ANSWER_LIMIT) {
      const holder = `the daemon, process ${now.facts.pid}, which has not answered yet: its start is at work, or it hangs`
      return yield* new LockBusy({ lock: "data", path: paths.dataLock, holder })
    }
    yield* Effect.sleep("200 millis")
  }
})
/** Milliseconds that a daemon has to answer; one that migrates a lot of data takes longer, and is not waited for. */
const ANSWER_LIMIT = 5000

const create = Command.make("create", {}, () =>
  Effect.scoped(
    Effect.gen(function* () {
      const { paths, check } = yield* DataDir
      const { version, packageDir } = yield* Environment
      yield* check
      const { databasePath } = yield* (yield* ConfigFile).load
      yield* recoverFirst
      const lock = yield* ExclusiveLock
      // One at a time, and never beside an upgrade: the order of backups is made under this lock.
      yield* lock.acquire({ lock: "run", path: paths.runLock, what: BACKUP_CREATE, wait: "2 seconds" })
      const state = yield* answering
      if (state._tag !== "Running")
        yield* lock.acquire({ lock: "data", path: paths.dataLock, what: BACKUP_CREATE, wait: "2 seconds" })
      const made = yield* (yield* Backup).create({
        kind: "manual",
        source: state._tag === "Running" ? "live" : "closed",
        database: databasePath,
        from: makeVersion(version),
        packageDir,
      })
      yield* (yield* Output).result({ name: made.name, path: made.path, ...made.manifest }, [
        `Backup ${made.name}`,
        made.path,
        keystoreNote,
      ])
    }),
  ),
).pipe(
  Command.withDescription(
    "Back up database and config.toml now; the daemon may run. The keystore is not in it; a manual backup is never pruned.",
  ),
)

const list = Command.make("list", {}, () =>
  Effect.gen(function* () {
    const { check } = yield* DataDir
    const { version } = yield* Environment
    yield* check
    const backups = yield* Backup
    const entries = yield* backups.list
    // These were read; of the others only sizes and manifest were looked at.
    const { chosen, damaged } = yield* backups.lookForRollback(makeVersion(version))
    const nextName = Option.match(chosen, { onNone: () => null, onSome: ({ name }) => name })
    const stateOf = ({ name, problem }: BackupEntry) => {
      const found = problem ?? damaged.find((each) => each.name === name)?.problem
      if (found !== undefined) return found
      return name === nextName ? "whole; a rollback takes this one" : "complete, not read"
    }
    const rows = entries.map((entry) => {
      const { name, manifest } = entry
      return [
        name,
        manifest === null ? "?" : `${manifest.from}${manifest.to ? ` -> ${manifest.to}` : ""}`,
        manifest === null ? "?" : String(manifest.schema),
        manifest === null ? "?" : sizeInWords(manifest.files.reduce((sum, file) => sum + file.size, 0)),
      ]
    })
    const output = yield* Output
    const [headings, ...lines] = tableRows(["NAME", "VERSION", "SCHEMA", "SIZE"], rows, output.columns)
    const detailOf = (entry: BackupEntry) =>
      `  ${entry.manifest === null ? "" : `made ${when(entry.manifest.createdAt)}; `}${stateOf(entry)}`
    yield* output.result(
      {
        backups: entries.map((entry) => ({
          name: entry.name,
          path: entry.path,
          problem: entry.problem ?? damaged.find(({ name }) => name === entry.name)?.problem ?? null,
          state: stateOf(entry),
          ...entry.manifest,
        })),
        rollback: nextName,
      },
      [
        ...(rows.length === 0
          ? [`No backups yet: ${(yield* inSameDataDir)("waiaas backup create")}`]
          : // Two lines each: a terminal of 80 columns has no room for one.
            [
              ...headings,
              ...entries.flatMap((entry, index) => [...(lines[index] ?? [entry.name]), detailOf(entry)]),
            ]),
        keystoreNote,
      ],
    )
  }),
).pipe(Command.withDescription("List the backups, oldest first, and which one a rollback would take"))

const verify = Command.make(
  "verify",
  { name: Args.text({ name: "name" }).pipe(Args.withDescription("A backup (waiaas backup list)")) },
  ({ name }) =>
    Effect.gen(function* () {
      const { check } = yield* DataDir
      yield* check
      const manifest = yield* (yield* Backup).verify(name)
      yield* (yield* Output).result({ name, whole: true, ...manifest }, [
        `${name} is whole: every byte is what was backed up.`,
        keystoreNote,
      ])
    }),
).pipe(Command.withDescription("Read a whole backup and compare it with its checksums"))

export const backup = Command.make("backup").pipe(
  Command.withDescription("Make, list and verify backups of database and configuration"),
  Command.withSubcommands([create, list, verify]),
)
