import type { FileFailed } from "@waiaas/domain/DataErrors"
import type { JournalDamaged } from "@waiaas/domain/RunErrors"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { DataDir } from "./platform/DataDir.ts"
import { DurableFile, readJsonIfValid } from "./platform/DurableFile.ts"
import { Environment, unixSeconds } from "./platform/Environment.ts"
import { UpgradeJournal } from "./UpgradeJournal.ts"

/** Seconds after an upgrade in which a crash counts against the new version. */
const PROBATION = 600
/** From how many crashes on they are reported. */
const SUSPICIOUS = 2

const Record = Schema.Struct({
  format: Schema.Literal(1),
  run: Schema.Int,
  crashes: Schema.Int,
  /** Whether a daemon runs, or ended without having said so. */
  running: Schema.Boolean,
})

/** What the operator should know: the new version does not stay up. */
export interface Suspicion {
  readonly version: string
  readonly crashes: number
  /** What happened; `next`: how to go back. */
  readonly message: string
  readonly next: string
}

/**
 * Watches a new version through its first minutes. Nothing goes back by itself after the commit, because
 * acknowledged writes are there: the crashes are reported, with the command of a rollback.
 */
export class Probation extends Context.Tag("@waiaas/services/Probation")<
  Probation,
  {
    /** A daemon starts: one before it that never said goodbye has crashed. */
    readonly started: Effect.Effect<void, FileFailed | JournalDamaged>
    /** It ended before it was ready, with a reason that it gives, such as a port that is taken: that is no crash. */
    readonly refused: Effect.Effect<void, FileFailed>
    /** A daemon that was ready is asked to stop. What crashed before it is over: this version does stay up. */
    readonly stopped: Effect.Effect<void, FileFailed>
    readonly suspicion: Effect.Effect<Option.Option<Suspicion>, FileFailed | JournalDamaged>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const files = yield* DurableFile
      const journal = yield* UpgradeJournal
      const environment = yield* Environment
      const { paths } = yield* DataDir
      const path = paths.probation
      const now = unixSeconds.pipe(Effect.provideService(Environment, environment))
      const read = readJsonIfValid(Record, path).pipe(Effect.provideService(DurableFile, files))
      const write = (record: typeof Record.Type) => files.write(path, JSON.stringify(record))

      /** The upgrade whose probation lasts, if any. */
      const upgrade = Effect.gen(function* () {
        const run = yield* journal.latest
        const at = yield* now
        return Option.filter(
          run,
          ({ started, ended, committed, records }) =>
            started.kind === "upgrade" &&
            committed &&
            at - (ended?.at ?? records.at(-1)?.at ?? at) < PROBATION,
        )
      })

      return {
        started: Effect.gen(function* () {
          const run = yield* upgrade
          if (Option.isNone(run)) return yield* files.remove(path)
          const { run: number } = run.value.started
          const known = Option.filter(yield* read, (record) => record.run === number)
          const crashes = Option.match(known, {
            onNone: () => 0,
            onSome: (record) => record.crashes + (record.running ? 1 : 0),
          })
          yield* write({ format: 1, run: number, crashes, running: true })
        }),
        refused: Effect.gen(function* () {
          const known = yield* read
          if (Option.isSome(known)) yield* write({ ...known.value, running: false })
        }),
        stopped: Effect.gen(function* () {
          const known = yield* read
          if (Option.isSome(known)) yield* write({ ...known.value, running: false, crashes: 0 })
        }),
        suspicion: Effect.gen(function* () {
          const run = yield* upgrade
          if (Option.isNone(run)) return Option.none()
          const known = Option.filter(yield* read, (record) => record.run === run.value.started.run)
          if (Option.isNone(known)) return Option.none()
          const { crashes } = known.value
          const version = run.value.started.to
          return crashes < SUSPICIOUS
            ? Option.none()
            : Option.some({
                version,
                crashes,
                message: `WAIaaS ${version} has ended ${crashes} times without being stopped since the upgrade (it crashed, was killed, or the power went).`,
                next: "waiaas upgrade --rollback",
              })
        }),
      }
    }),
  )
}
