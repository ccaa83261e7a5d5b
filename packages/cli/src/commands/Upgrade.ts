/** `waiaas upgrade` with all its flags. */
import { isAbsolute, resolve } from "node:path"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { NoWorkingDirectory } from "@waiaas/domain/DataErrors"
import { BadTarget } from "@waiaas/domain/PackageErrors"
import { notesOf } from "@waiaas/domain/Release"
import { shellWord, withOptions } from "@waiaas/domain/Shell"
import { sizeInWords } from "@waiaas/domain/Size"
import { upgradePhases } from "@waiaas/domain/UpgradePhase"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonClient } from "@waiaas/services/DaemonClient"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { recordRegistry } from "@waiaas/services/RegistryRecord"
import { prunedInWords } from "@waiaas/services/Retention"
import { RunLocks } from "@waiaas/services/RunLocks"
import { UpdateNotifier } from "@waiaas/services/UpdateNotifier"
import { Upgrade } from "@waiaas/services/Upgrade"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import { UpgradeObstacle } from "@waiaas/services/UpgradeObstacle"
import { estimated } from "@waiaas/services/UpgradePhases"
import { UpgradeTarget } from "@waiaas/services/UpgradeTarget"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { rememberDone, rememberFailure, rememberOptions } from "../Failure.ts"
import { Output } from "../Output.ts"
import { recoverFirst } from "../RecoverFirst.ts"
import { rollbackRun } from "./Rollback.ts"
import { checkText, exitCodes, inSameDataDir, otherVersionText, when } from "./Text.ts"

const options = {
  check: Options.boolean("check").pipe(
    Options.withDescription(
      "Only say whether an upgrade is possible, to which version and schema, and why not; change nothing",
    ),
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription(
      "Step 1 alone: stage the new version, run it, rehearse the migration on a copy, then clean up; the daemon serves on",
    ),
  ),
  to: Options.text("to").pipe(
    Options.withDescription(
      "An exact version such as 2.1.0, or a dist-tag such as latest (default: the channel of the installed version)",
    ),
    Options.optional,
  ),
  // A text: the library would end with a defect at a file that it may not look at.
  from: Options.text("from").pipe(
    Options.withDescription("A tarball of the new version (npm pack @waiaas/cli): no registry is asked"),
    Options.optional,
  ),
  rollback: Options.boolean("rollback").pipe(
    Options.withDescription(
      "Go back: data and code from before the last upgrade, together; what was written since is kept aside as a backup",
    ),
  ),
  backup: Options.text("backup").pipe(
    Options.withDescription("With --rollback: this backup instead (waiaas backup list)"),
    Options.optional,
  ),
  yes: Options.boolean("yes").pipe(
    Options.withAlias("y"),
    Options.withDescription("With --rollback: do not ask (needed where there is no terminal)"),
  ),
  resumeSuspended: Options.boolean("resume-suspended").pipe(
    Options.withDescription(
      "With --rollback: let agents sign again that were suspended since that backup (default: they stay suspended)",
    ),
  ),
  start: Options.boolean("no-start", { ifPresent: false }).pipe(
    Options.withDescription(
      "Do not start the daemon at the end; nothing starts a daemon that did not run before",
    ),
  ),
  status: Options.boolean("status").pipe(
    Options.withDescription(
      "What became of the last ten runs, with the cause of each failure; change nothing",
    ),
  ),
}

/** The options that name the same release again; a file by its whole path, so that it holds in every directory. */
const sameTarget = ({ to, from }: Pick<Parameters<typeof Upgrade.Service.run>[0], "to" | "from">) => [
  ...Option.match(to, { onNone: () => [], onSome: (version) => [`--to ${shellWord(version)}`] }),
  ...Option.match(from, { onNone: () => [], onSome: (file) => [`--from ${shellWord(resolve(file))}`] }),
]

const check = (to: Option.Option<string>) =>
  Effect.gen(function* () {
    const output = yield* Output
    const sameDataDir = yield* inSameDataDir
    const named = sameTarget({ to, from: Option.none() }).join(" ")
    const here = (next: string) => sameDataDir(withOptions(next, named))
    const { databasePath } = yield* (yield* ConfigFile).load
    const target = yield* (yield* UpgradeTarget).find(to, databasePath)
    const registry = yield* (yield* NpmInstaller).registry(target.install)
    const report = Option.getOrNull(yield* (yield* UpdateNotifier).report)
    const { install, installed, release, schemaFrom, schemaTo } = target
    const obstacles = yield* UpgradeObstacle
    const wanted = target.isNewer && target.refusal === null
    const hindered = yield* (
      wanted ? obstacles.expectNone(install, databasePath) : obstacles.expectNoRun
    ).pipe(Effect.match({ onFailure: (error) => error, onSuccess: () => null }))
    const keys = yield* Effect.either(obstacles.agentsWithoutKey(databasePath))
    // Where nothing is to be installed a password that is not here keeps nobody from anything.
    const unopened = Option.filter(Either.getLeft(keys), ({ _tag }) => wanted || _tag === "KeystoreDamaged")
    const obstacle = hindered ?? Option.getOrNull(unopened)
    const refusal = wanted ? obstacle : target.refusal
    const behind = otherVersionText(yield* (yield* DaemonControl).state, yield* Environment, here)
    const warnings = [
      ...target.warnings,
      ...(behind === null ? [] : [behind]),
      ...Option.toArray(Option.flatMapNullable(Either.getRight(keys), (text) => text)),
      ...(report === null || !report.checking || report.registry === null || report.registry === registry
        ? []
        : [
            `npm installs from ${registry}, the daemon looks for new versions at ${report.registry}: an upgrade or the next start corrects that, unless [daemon] update_registry names it`,
          ]),
      ...(obstacle === null || obstacle === refusal
        ? []
        : [`${obstacle.message} next: ${here(obstacle.next)}`]),
    ]
    const possible = target.isNewer && refusal === null
    const command = here("waiaas upgrade")
    yield* output.result(
      {
        event: "Result",
        _tag: "Checked",
        current: installed,
        latest: release.version,
        updateAvailable: target.isNewer,
        possible,
        schema: { from: schemaFrom, to: schemaTo },
        reason: refusal?.message ?? null,
        next: possible ? command : refusal && here(refusal.next),
        notes: target.isNewer ? notesOf(release) : null,
        warnings,
        versionCheck: report,
      },
      [
        `Current version: ${installed} (schema ${schemaFrom})`,
        `${Option.isSome(to) ? "Target version: " : "Latest version: "} ${release.version}${schemaTo === null ? "" : ` (schema ${schemaTo})`}`,
        ...(target.isNewer && notesOf(release) !== null ? [`Release notes:   ${notesOf(release)}`] : []),
        ...(report === null ? [] : [`Daemon's check:  ${checkText(report)}`]),
        ...warnings.map((text) => `warning: ${text}`),
        ...(refusal !== null
          ? ["An upgrade is not possible:", refusal.message, `next: ${here(refusal.next)}`]
          : target.isNewer
            ? [
                "Upgrade available",
                schemaTo === schemaFrom
                  ? "The database stays as it is."
                  : `The database is migrated from schema ${schemaFrom} to ${schemaTo}.`,
                ...(release.dist?.unpackedSize
                  ? [`Unpacked size: ${sizeInWords(release.dist.unpackedSize)}`]
                  : []),
                `next: ${command}`,
              ]
            : ["Already up to date"]),
      ],
    )
    if (refusal !== null) return yield* refusal
  })

/** What the daemon knows from another registry than npm's is asked anew, where no restart does that. */
const checkAgain = Effect.gen(function* () {
  const state = yield* (yield* DaemonControl).state
  if (state._tag === "Running") yield* (yield* DaemonClient).call((client) => client.version.check())
}).pipe(
  Effect.catchAll((error) =>
    Effect.flatMap(Output, (output) =>
      output.note(`warning: the daemon's check for new versions failed: ${error.message.split("\n")[0]}`),
    ),
  ),
)

const upgradeRun = (options: Parameters<typeof Upgrade.Service.run>[0]) =>
  Effect.gen(function* () {
    const output = yield* Output
    const { paths } = yield* DataDir
    const here = yield* inSameDataDir
    // Before the run, at whose end the daemon asks that registry. Where npm fails, the run says so itself.
    const recorded = yield* Option.isNone(options.from) && !options.dryRun
      ? Effect.orElseSucceed(recordRegistry, () => false)
      : Effect.succeed(false)
    const report = yield* (yield* Upgrade).run(options)
    if (report._tag === "UpToDate") {
      yield* output.result({ event: "Result", ...report }, [`Already up to date (${report.installed})`])
      const behind = otherVersionText(yield* (yield* DaemonControl).state, yield* Environment, here)
      if (behind !== null) yield* output.note(`warning: ${behind}`)
      return yield* recorded ? checkAgain : Effect.void
    }
    if (report._tag === "Rehearsed")
      return yield* output.result({ event: "Result", ...report }, [
        `An upgrade from ${report.from} to ${report.to} would work: schema ${report.schemaFrom} -> ${report.schemaTo} was rehearsed on a copy.`,
        ...(report.estimate === null ? [] : [`An upgrade: ${estimated(report.estimate)}.`]),
        `Nothing was changed. next: ${here(["waiaas upgrade", ...sameTarget(options), ...(options.restart ? [] : ["--no-start"])].join(" "))}`,
      ])
    const backup = `${paths.backups}/${report.backup}`
    yield* output.result({ event: "Result", ...report, path: backup }, [
      `Upgraded WAIaaS from ${report.from} to ${report.to}.`,
      `Schema:   ${report.schemaFrom} -> ${report.schemaTo}`,
      report.downtime === null
        ? "Downtime: not measured, no daemon was started at the end"
        : `Downtime: ${report.downtime.toFixed(2)} s`,
      `Backup:   ${backup}`,
      `Go back:  ${here("waiaas upgrade --rollback")}`,
      ...prunedInWords(report.pruned),
      ...(report.running ? [] : [`The daemon was not started: ${here("waiaas start --background")}`]),
    ])
  })

const showStatus = Effect.gen(function* () {
  const output = yield* Output
  const runs = (yield* (yield* UpgradeJournal).history).slice(-10)
  const live = yield* (yield* RunLocks).live
  const here = yield* inSameDataDir
  const lines = runs.flatMap((run, index) => {
    const { started, failure, ended } = run
    const state =
      ended !== null
        ? {
            new: `${started.to} is in place`,
            old: `undone, ${started.from} is in place`,
            untouched: "nothing was changed",
          }[ended.outcome]
        : live && index === runs.length - 1
          ? `going on: ${run.begun.at(-1) ?? "beginning"}, process ${started.pid}`
          : run.paused !== null
            ? `cut off, and its recovery waits at "${run.paused.action}"`
            : `cut off; ${here("waiaas start --background")} recovers it`
    return [
      `run ${started.run}: ${started.kind} ${started.from} -> ${started.to}, ${when(started.at)}: ${state}`,
      ...(failure === null ? [] : [`  failed in ${failure.phase}: ${failure.message.split("\n")[0]}`]),
      ...(run.paused === null
        ? []
        : [`  because of: ${run.paused.cause.split("\n")[0]}`, `  next: ${here(run.paused.next)}`]),
    ]
  })
  yield* output.result(
    {
      event: "Result",
      _tag: "Runs",
      runs: runs.map((run) => ({
        run: run.started.run,
        kind: run.started.kind,
        from: run.started.from,
        to: run.started.to,
        startedAt: run.started.at,
        begun: run.begun,
        committed: run.committed,
        failure: run.failure,
        paused: run.paused,
        ended: run.ended,
      })),
    },
    lines.length === 0 ? ["No upgrade was run here yet."] : lines,
  )
})

const toItsEnd = <A, E, R>(run: Effect.Effect<A, E, R>) =>
  Effect.uninterruptible(
    run.pipe(
      Effect.tapError((error) => Effect.sync(() => rememberFailure(error))),
      Effect.tap(() => Effect.sync(rememberDone)),
    ),
  )

const help = [
  "Upgrade to the newest version, in seven steps:",
  ...upgradePhases.map((phase, index) => `${index + 1}. ${phase.title}: ${phase.description}.`),
  "A failure before the commit puts everything back; one after it goes forward.",
  exitCodes,
].join("\n")

type Given = Command.Command.ParseConfig<typeof options>

/** What makes of `waiaas upgrade` the same act again; `--check` is to be followed by the upgrade. */
export const optionsToRepeat = (given: Given): ReadonlyArray<string> => [
  ...(given.rollback ? ["--rollback"] : []),
  ...Option.match(given.backup, { onNone: () => [], onSome: (name) => [`--backup ${shellWord(name)}`] }),
  ...(given.resumeSuspended ? ["--resume-suspended"] : []),
  ...(given.dryRun ? ["--dry-run"] : []),
  ...sameTarget(given),
  ...(given.start || given.check ? [] : ["--no-start"]),
  ...(given.yes ? ["--yes"] : []),
]

export const upgrade = Command.make("upgrade", options, (given) =>
  Effect.gen(function* () {
    // How a line is written comes before what it finds.
    const modes = [given.check, given.dryRun, given.rollback, given.status].filter(Boolean).length
    const usage = (target: string, problem: string) =>
      new BadTarget({ target, problem, instead: "waiaas upgrade --help" })
    if (modes > 1)
      return yield* usage("--check, --dry-run, --rollback, --status", "only one of them can be given")
    if (given.rollback && (Option.isSome(given.to) || Option.isSome(given.from)))
      return yield* usage(
        "--rollback",
        "it takes no --to and no --from; choose a backup with --backup <name>",
      )
    if (given.check && Option.isSome(given.from))
      return yield* usage("--check", "with a tarball, --dry-run says whether it can be installed")
    if (Option.isSome(given.to) && Option.isSome(given.from))
      return yield* usage("--to, --from", "only one of them can be given")
    if (!given.rollback && Option.isSome(given.backup))
      return yield* usage("--backup", "it can only be given together with --rollback")
    if (!given.rollback && given.yes)
      return yield* usage("--yes", "only --rollback asks before it acts, so only there is it of use")
    if (!given.start && (given.check || given.status))
      return yield* usage("--no-start", "neither --check nor --status starts anything, with or without it")
    if (!given.rollback && given.resumeSuspended)
      return yield* usage("--resume-suspended", "it can only be given together with --rollback")
    const { cwd } = yield* Environment
    if (cwd === null && Option.isSome(given.from) && !isAbsolute(given.from.value))
      return yield* new NoWorkingDirectory({ path: given.from.value })
    const { check: checkDirectory, checkAll } = yield* DataDir
    yield* checkDirectory
    if (given.status) return yield* showStatus
    rememberOptions(optionsToRepeat(given))
    yield* checkAll(yield* (yield* ConfigFile).load)
    if (given.check) return yield* check(given.to)
    // An interruption is a request that the run itself obeys: the fiber must live to undo and to report.
    if (given.rollback)
      return yield* toItsEnd(
        Effect.zipRight(recoverFirst, rollbackRun({ ...given, repeated: optionsToRepeat(given) })),
      )
    return yield* toItsEnd(
      Effect.zipRight(
        recoverFirst,
        upgradeRun({ to: given.to, from: given.from, restart: given.start, dryRun: given.dryRun }),
      ),
    )
  }),
).pipe(Command.withDescription(help))

/** `upgrade` in few words, for the list of all commands, where the seven steps would drown the rest. */
export const upgradeInBrief = upgrade.pipe(
  Command.withDescription(
    "Upgrade to the newest version, or go back (waiaas upgrade --help has the steps and the exit codes)",
  ),
)
