import { assert, describe, it } from "@effect/vitest"
import { BackupDamaged, FileFailed, LockBusy } from "@waiaas/domain/DataErrors"
import { ExitCode } from "@waiaas/domain/ExitCode"
import { foldRun, gateFor, type JournalRecord, type Run, type Started } from "@waiaas/domain/JournalRecord"
import { planFor, recoveryFor, recoveryTable } from "@waiaas/domain/Recovery"
import { DaemonStartFailed, DaemonStopTimeout, Interrupted, RecoveryPaused } from "@waiaas/domain/RunErrors"
import {
  actionTitle,
  type PhaseName,
  phasesOf,
  RecoveryAction,
  type RunKind,
  undoOf,
} from "@waiaas/domain/UpgradePhase"
import { makeVersion } from "@waiaas/domain/Version"

const [from, to] = [makeVersion("2.0.0"), makeVersion("2.1.0")]

const started = (kind: RunKind = "upgrade"): Started => ({
  _tag: "Started",
  format: 1,
  at: 1,
  run: 7,
  kind,
  from,
  to,
  dataDir: "/d",
  databasePath: "/d/data/waiaas.db",
  install: { prefix: "/p", root: "/r", packageDir: "/r/c", binLink: "/p/b", hidden: "/r/h", node: "/n" },
  daemon: null,
  restart: true,
  pid: 1,
})
const namesOf = (kind: RunKind): ReadonlyArray<PhaseName> => phasesOf[kind].map(({ name }) => name)
const begunTo = (kind: RunKind, count: number): ReadonlyArray<JournalRecord> =>
  namesOf(kind)
    .slice(0, count)
    .map((phase) => ({ _tag: "PhaseBegun", format: 1, at: 2, phase }))
const committed: JournalRecord = { _tag: "Committed", format: 1, at: 3 }
const runOf = (...records: ReadonlyArray<JournalRecord>): Run => {
  const run = foldRun(records)
  if (run === null) throw new Error("no run")
  return run
}
const runs = (["upgrade", "rollback"] as const).flatMap((kind) =>
  [0, 1, 2, 3, 4, 5, 6, 7].flatMap((count) =>
    [[], [committed]].map((end) => ({
      kind,
      count,
      isCommitted: end.length > 0,
      run: runOf(started(kind), ...begunTo(kind, count), ...end),
    })),
  ),
)

describe("planFor", () => {
  it("goes back before the commit, undoing what was begun in reverse, and forward after it", () => {
    for (const { kind, count, isCommitted, run } of runs)
      assert.deepStrictEqual(
        planFor(run),
        isCommitted
          ? { direction: "forward", actions: [kind === "upgrade" ? "finish-commit" : "resume-rollback"] }
          : { direction: "back", actions: undoOf(kind, namesOf(kind).slice(0, count)) },
      )
  })

  it("undoes a whole upgrade in the order of the protocol", () => {
    assert.deepStrictEqual(planFor(runOf(started(), ...begunTo("upgrade", 7))).actions, [
      "stop-new-daemon",
      "restore-data",
      "put-old-package-back",
      "remove-partial-backup",
      "start-old-daemon",
      "remove-staging",
    ])
  })

  it("has a phase or a commit for every action, and a title", () => {
    const reached = new Set(runs.flatMap(({ run }) => planFor(run).actions))
    assert.deepStrictEqual([...reached].sort(), [...RecoveryAction.literals].sort())
    for (const action of RecoveryAction.literals) assert.isNotEmpty(actionTitle[action])
  })

  it("is what the table of the documentation says", () => {
    for (const kind of ["upgrade", "rollback"] as const)
      for (const [index, [phase, actions]] of recoveryTable(kind, namesOf(kind)).entries()) {
        assert.strictEqual(phase, namesOf(kind)[index])
        assert.deepStrictEqual(actions, planFor(runOf(started(kind), ...begunTo(kind, index + 1))).actions)
      }
  })
})

describe("recoveryFor", () => {
  const paused = new RecoveryPaused({ run: 7, action: "a", cause: "c", remedy: "Do it.", dataDir: "/d" })
  const errors = [
    new FileFailed({ operation: "write", path: "/x", code: "ENOSPC" }),
    new BackupDamaged({ name: "b", problem: "p" }),
    new LockBusy({ lock: "run", path: "/l", holder: "h" }),
    new DaemonStopTimeout({ pid: 1, waited: 35, why: "w" }),
    new Interrupted({}),
    paused,
  ]

  it("lets the journal fix what is undone, for every error", () => {
    for (const { run } of runs)
      for (const error of errors) {
        const { direction, actions } = recoveryFor(error, run)
        assert.deepStrictEqual({ direction, actions }, planFor(run))
      }
  })

  it("lets error and place fix the exit code and the words", () => {
    for (const { isCommitted, run } of runs)
      for (const error of errors) {
        const { exitCode, standing, next } = recoveryFor(error, run)
        const stopped = run.begun.includes("stop")
        const again = error._tag === "Interrupted" && run.started.kind === "rollback"
        assert.strictEqual(next, again ? "waiaas upgrade --rollback" : error.next)
        const expected =
          error._tag === "RecoveryPaused" || isCommitted
            ? ExitCode.needsOperator
            : error._tag === "Interrupted"
              ? ExitCode.interrupted
              : error._tag === "DaemonStopTimeout"
                ? ExitCode.stopTimeout
                : stopped
                  ? ExitCode.rolledBack
                  : error.exitCode
        assert.strictEqual(exitCode, expected)
        assert.match(
          standing,
          error._tag === "RecoveryPaused"
            ? /paused; nothing is lost/
            : isCommitted
              ? /2\.1\.0 is committed/
              : stopped
                ? /put back: WAIaaS 2\.0\.0/
                : /^Nothing was changed\.$/,
        )
      }
  })

  it("names the file that holds what a daemon said that did not start, where an undo moved it aside", () => {
    const logFile = "/d/logs/daemon.out.log"
    const failed = new DaemonStartFailed({ version: to, problem: "it ended", logFile })
    const nextOf = (starting: typeof from, supervisor: "systemd" | null = null, error = failed) => {
      const run = runOf(
        started(),
        ...begunTo("upgrade", 7),
        { _tag: "Recovering", format: 1, at: 4, direction: "back", pid: 1 },
        { _tag: "Starting", format: 1, at: 5, version: starting },
      )
      return recoveryFor(error, { ...run, daemon: { supervisor } }).next
    }
    assert.strictEqual(nextOf(from), `Read the end of ${logFile}.1.`)
    // Nothing was started since, or not by us.
    assert.strictEqual(nextOf(to), `Read the end of ${logFile}, then run \`waiaas start --background\`.`)
    assert.strictEqual(nextOf(from, "systemd"), `Read the end of ${logFile}.`)
    const instead = "Read the end of /l, then run `waiaas start --background --data-dir /d`."
    assert.strictEqual(
      nextOf(from, null, new DaemonStartFailed({ ...failed, instead })),
      "Read the end of /l.",
    )
  })

  it("says of the daemon what became of it: served all along, serves again, or does not run", () => {
    const standing = (count: number, daemon?: "same" | "another" | "none") =>
      recoveryFor(
        new Interrupted({}),
        runOf(started(), ...begunTo("upgrade", count), {
          _tag: "Ended",
          format: 1,
          at: 4,
          outcome: "untouched",
          ...(daemon ? { daemon } : {}),
        }),
      ).standing
    assert.strictEqual(standing(1), "Nothing was changed.")
    assert.match(standing(1, "same"), /^Nothing was changed: WAIaaS 2\.0\.0 served all along\.$/)
    assert.match(
      standing(1, "another"),
      /ended meanwhile, not by this command; WAIaaS 2\.0\.0 serves again\.$/,
    )
    for (const count of [1, 3])
      assert.match(standing(count, "none"), /No daemon runs: `waiaas start --background` starts it\.$/)
    assert.notMatch(standing(3, "same"), /all along|No daemon/)
  })

  it("keeps of two daemons the one that step 2 found, and of one that had ended who it was", () => {
    const daemon = (pid: number) => ({ pid }) as NonNullable<Started["daemon"]>
    const at = { format: 1, at: 2 } as const
    const first: Started = { ...started(), daemon: daemon(1), patience: 11 }
    const found = runOf(first, { _tag: "Stopping", ...at, daemon: daemon(2), patience: 12 })
    assert.deepStrictEqual([found.daemon?.pid, found.patience, found.stopping], [2, 12, true])
    const gone = runOf(first, { _tag: "Stopping", ...at, daemon: null })
    assert.deepStrictEqual([gone.daemon?.pid, gone.patience], [1, 11])
    assert.strictEqual(runOf(started(), { _tag: "Stopping", ...at, daemon: daemon(2) }).daemon?.pid, 2)
    assert.isFalse(runOf(first).stopping)
  })
})

describe("gateFor", () => {
  const starting = (version: typeof from): JournalRecord => ({ _tag: "Starting", format: 1, at: 3, version })
  const ended: JournalRecord = { _tag: "Ended", format: 1, at: 4, outcome: "new" }
  const back: JournalRecord = { _tag: "Recovering", format: 1, at: 4, direction: "back", pid: 1 }
  const stages: ReadonlyArray<
    readonly [what: string, records: ReadonlyArray<JournalRecord>, old: string, young: string]
  > = [
    ["in step 1: nothing is touched", begunTo("upgrade", 1), "Open", "Open"],
    ["going back from step 1", [...begunTo("upgrade", 1), back], "Open", "Open"],
    ["going on", begunTo("upgrade", 2), "Wait", "Wait"],
    ["the new one may start", [...begunTo("upgrade", 7), starting(to)], "Wait", "Held"],
    ["committed", [...begunTo("upgrade", 7), starting(to), committed], "Wait", "Open"],
    ["committed without a start", [...begunTo("upgrade", 7), committed], "Wait", "Wait"],
    [
      "going back, the old one not yet in place",
      [...begunTo("upgrade", 7), starting(to), back],
      "Wait",
      "Wait",
    ],
    ["going back", [...begunTo("upgrade", 7), starting(to), back, starting(from)], "Open", "Wait"],
    ["ended", [...begunTo("upgrade", 7), starting(to), committed, ended], "Open", "Open"],
  ]
  for (const [what, records, old, young] of stages)
    it(what, () => {
      const run = runOf(started(), ...records)
      assert.strictEqual(gateFor(run, true, from)._tag, old)
      assert.strictEqual(gateFor(run, true, to)._tag, young)
      const left = run.ended === null ? "Recover" : "Open"
      assert.strictEqual(gateFor(run, false, from)._tag, left)
      assert.strictEqual(gateFor(run, false, to)._tag, left)
    })

  it("is open where there never was a run", () => {
    for (const live of [true, false]) assert.strictEqual(gateFor(null, live, from)._tag, "Open")
  })
})

describe("foldRun", () => {
  it("knows no run without its beginning", () => {
    assert.isNull(foldRun([]))
    assert.isNull(foldRun([committed]))
  })

  it("gathers phases, facts and actions, and keeps the last word of each kind", () => {
    const failed = (message: string): JournalRecord => ({
      _tag: "Failed",
      format: 1,
      at: 5,
      phase: "verify",
      error: "E",
      message,
      next: "n",
    })
    const run = runOf(
      started(),
      { _tag: "PhaseBegun", format: 1, at: 2, phase: "check" },
      { _tag: "PhaseDone", format: 1, at: 2, phase: "check", facts: { schemaFrom: 4, schemaTo: 5 } },
      { _tag: "PhaseBegun", format: 1, at: 2, phase: "backup" },
      { _tag: "PhaseDone", format: 1, at: 2, phase: "backup", facts: { backup: "b" } },
      { _tag: "Starting", format: 1, at: 3, version: to },
      failed("first"),
      failed("second"),
      { _tag: "Recovering", format: 1, at: 6, direction: "back", pid: 1 },
      { _tag: "ActionDone", format: 1, at: 6, action: "stop-new-daemon" },
      { _tag: "Starting", format: 1, at: 6, version: from },
      { _tag: "Ended", format: 1, at: 7, outcome: "old" },
    )
    assert.deepStrictEqual(run.begun, ["check", "backup"])
    assert.deepStrictEqual(run.done, ["check", "backup"])
    assert.deepStrictEqual(run.facts, { schemaFrom: 4, schemaTo: 5, backup: "b" })
    assert.deepStrictEqual(run.undone, ["stop-new-daemon"])
    assert.strictEqual(run.starting, from)
    assert.strictEqual(run.failure?.message, "second")
    assert.strictEqual(run.ended?.outcome, "old")
    assert.isFalse(run.committed)
    assert.isTrue(runOf(started(), committed, committed).committed)
  })
})
