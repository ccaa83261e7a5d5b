/** What `waiaas status` does, apart from the command: it must load little. */
import { isServing, urlOf } from "@waiaas/domain/Health"
import { agentsWithoutKey } from "@waiaas/domain/KeyFile"
import { isUpdate, isVersion } from "@waiaas/domain/Version"
import { heldBackText } from "@waiaas/services/CheckReport"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { DaemonControl } from "@waiaas/services/DaemonControl"
import { keystoreLoss } from "@waiaas/services/KeystoreFiles"
import { missingKeys } from "@waiaas/services/MissingKeys"
import { namedBuild } from "@waiaas/services/NamedBuild"
import { Probation } from "@waiaas/services/Probation"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { ExclusiveLock } from "@waiaas/services/platform/ExclusiveLock"
import { UpdateNotifier } from "@waiaas/services/UpdateNotifier"
import { UpgradeJournal } from "@waiaas/services/UpgradeJournal"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { Output } from "../Output.ts"
import { checkText, inSameDataDir, otherVersionText, when } from "./Text.ts"

export const showStatus = Effect.gen(function* () {
  const output = yield* Output
  const { paths, check } = yield* DataDir
  const { version, packageDir } = yield* Environment
  const here = yield* inSameDataDir
  yield* check
  // A wrong value, too, is said after the rest: what runs took its configuration when it started.
  const config = yield* Effect.either((yield* ConfigFile).load)
  const state = yield* (yield* DaemonControl).state
  const live = yield* (yield* ExclusiveLock).isHeld(paths.runLock)
  // Who asks for the status may well have a damaged journal: the rest is said all the same, the failure after it.
  const journal = yield* Effect.either((yield* UpgradeJournal).latest)
  const run = Either.getOrElse(journal, () => Option.none())
  const open = Option.filter(run, ({ ended }) => ended === null)
  const health = state._tag === "Running" ? Option.getOrNull(state.health) : null
  const latest = health?.latestVersion ?? null
  const ours = Option.getOrNull(yield* namedBuild(packageDir))
  const theirs =
    state._tag === "Running" && state.facts.version === version ? (state.facts.build ?? null) : null
  const isOtherBuild = ours !== null && theirs !== null && ours !== theirs
  const report = Option.getOrNull(yield* (yield* UpdateNotifier).report)
  const keys = Option.getOrNull(yield* missingKeys)
  const loss = Option.getOrNull(yield* keystoreLoss)
  const suspicion = Either.isRight(journal) ? Option.getOrNull(yield* (yield* Probation).suspicion) : null
  const running = state._tag === "Running" ? state.facts.version : version
  // While a run is not over, the command can be the one of the version before it.
  const behind = Option.isNone(open) ? otherVersionText(state, { version, packageDir }, here) : null
  // An orderly end removes it.
  const fell = state._tag === "Stopped" && (yield* (yield* DurableFile).exists(paths.facts))
  const lines = [
    `WAIaaS ${version}, data in ${paths.root}`,
    state._tag === "Stopped"
      ? fell
        ? `daemon: stopped, but not in order (a crash, a kill or a power cut): ${here("waiaas logs")} shows its last lines (${here("waiaas start --background")})`
        : `daemon: stopped (${here("waiaas start --background")})`
      : state._tag === "Busy"
        ? `daemon: not running, but the data is in use by ${state.holder}`
        : `daemon: ${health === null ? "does not answer" : health.status}, version ${state.facts.version}, process ${state.facts.pid}, ${urlOf(state.facts.hostname, state.facts.port)}, since ${when(state.facts.startedAt)}`,
    ...(health === null || !isServing(health) ? [] : [`schema: ${health.schemaVersion}`]),
    ...(isVersion(latest) && [version, running].every((each) => isVersion(each) && isUpdate(latest, each))
      ? [
          `update: ${latest} is available (${here("waiaas upgrade")})`,
          ...(report === null || report.ageLimit === null
            ? []
            : [`  ${heldBackText(report.ageLimit, here("waiaas upgrade --check"))}`]),
        ]
      : []),
    ...(report === null ? [] : [`version check: ${checkText(report)}`]),
    ...(loss === null ? [] : [`warning: ${loss.message} ${loss.next}`]),
    ...(loss !== null || keys === null || keys.missing.length === 0
      ? []
      : [
          `warning: ${agentsWithoutKey({
            agents: keys.agents,
            missing: keys.missing.length,
            names: keys.missing.slice(0, 5).map(({ name }) => name),
          })}: put ${paths.keystore} back from your own copy`,
        ]),
    ...(behind === null ? [] : [`warning: ${behind}`]),
    ...(isOtherBuild
      ? [
          `warning: the daemon runs another build of ${version} than the one that is installed (${here("waiaas stop && waiaas start --background")})`,
        ]
      : []),
    ...(suspicion === null ? [] : [`warning: ${suspicion.message} To go back: ${here(suspicion.next)}`]),
    ...Option.match(open, {
      onNone: () => [],
      onSome: ({ started }) => [
        live
          ? `${started.kind}: run ${started.run} to ${started.to} is going on (${here("waiaas upgrade --status")})`
          : `${started.kind}: run ${started.run} to ${started.to} was cut off; ${here("waiaas start --background")} recovers it`,
      ],
    }),
  ]
  yield* output.result(
    {
      version,
      dataDir: paths.root,
      build: ours,
      daemon: state._tag,
      unclean: fell,
      ...(state._tag === "Running" ? { facts: state.facts } : {}),
      health,
      versionCheck: report,
      missingKeys: keys === null ? null : keys.missing,
      suspicion,
      run: Option.match(open, {
        onNone: () => null,
        onSome: ({ started }) => ({
          run: started.run,
          kind: started.kind,
          from: started.from,
          to: started.to,
          live,
        }),
      }),
    },
    lines,
  )
  if (Either.isLeft(journal)) return yield* journal.left
  if (Either.isLeft(config)) return yield* config.left
})
