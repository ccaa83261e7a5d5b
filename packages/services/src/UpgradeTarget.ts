import type { DatabaseFailed, FileFailed } from "@waiaas/domain/DataErrors"
import type { Install } from "@waiaas/domain/Install"
import { BadTarget, CandidateRefused, type NotNpmGlobal, type NpmFailed } from "@waiaas/domain/PackageErrors"
import { DistTag, type ReleaseDocument } from "@waiaas/domain/Release"
import { channelOf, compare, isNewer, isVersion, type Version } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Compatibility } from "./Compatibility.ts"
import { DatabaseTool } from "./DatabaseTool.ts"
import { NpmInstaller } from "./NpmInstaller.ts"
import { Environment } from "./platform/Environment.ts"

/** A target that was found: newer than what is installed, or not. */
export interface Target {
  readonly install: Install
  readonly installed: Version
  readonly release: ReleaseDocument
  readonly isNewer: boolean
  /** Schema of the database now, and after the upgrade as the release's metadata has it. */
  readonly schemaFrom: number
  readonly schemaTo: number | null
  /** Why it cannot be installed here; `null` where nothing speaks against it. */
  readonly refusal: CandidateRefused | null
  readonly warnings: ReadonlyArray<string>
}

/** Two builds of one version have one name in every backup, journal and message: one never follows the other. */
export const otherBuild = (version: Version, whose: string): CandidateRefused =>
  new CandidateRefused({
    version,
    reason: `${whose} ${version} is another build than the one that is installed, and an upgrade needs a version of its own`,
    command:
      "Give the build that you want a version of its own; or put it in the place of the other without an upgrade: `waiaas backup create && waiaas stop`, then `npm install --global` with it, then `waiaas start --background`.",
  })

/** Resolves through npm what an upgrade would install, and judges it. Changes nothing. */
export class UpgradeTarget extends Context.Tag("@waiaas/services/UpgradeTarget")<
  UpgradeTarget,
  {
    /** `to`: an exact version or a dist-tag; by default the channel of the installed version. */
    readonly find: (
      to: Option.Option<string>,
      database: string,
    ) => Effect.Effect<Target, NotNpmGlobal | NpmFailed | BadTarget | DatabaseFailed | FileFailed>
    /** Judges a release whose metadata is at hand, such as a tarball's. */
    readonly judge: (
      install: Install,
      release: ReleaseDocument,
      database: string,
    ) => Effect.Effect<Target, DatabaseFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const installer = yield* NpmInstaller
      const compatibility = yield* Compatibility
      const tool = yield* DatabaseTool
      const environment = yield* Environment
      const installed = environment.version

      const judge = Effect.fn("UpgradeTarget.judge")(function* (
        install: Install,
        release: ReleaseDocument,
        database: string,
      ) {
        const { schema } = yield* tool.examine(environment.packageDir, database, "none", {})
        const newer = isNewer(release.version, installed)
        const downgrade = new CandidateRefused({
          version: release.version,
          reason: `${installed} is installed and is newer: an upgrade never goes back, data of a newer version is not for an older one`,
          command: "waiaas upgrade --rollback",
        })
        const refusal = yield* compatibility
          .admitCandidate({ candidate: release, installed, schema, nodeVersion: environment.nodeVersion })
          .pipe(
            Effect.as(null),
            Effect.catchTag("CandidateRefused", (error) => Effect.succeed(error)),
          )
        const deprecated =
          typeof release.deprecated === "string"
            ? [`${release.version} is deprecated: ${release.deprecated}`]
            : []
        return {
          install,
          installed,
          release,
          isNewer: newer,
          schemaFrom: schema,
          schemaTo: release.waiaas?.schema.latest ?? null,
          refusal: compare(release.version, installed) < 0 ? downgrade : newer ? refusal : null,
          warnings: deprecated,
        }
      })

      return {
        judge,
        find: Effect.fn("UpgradeTarget.find")(function* (to: Option.Option<string>, database: string) {
          const spec = Option.getOrElse(to, () => channelOf(installed))
          if (!isVersion(spec) && !Schema.is(DistTag)(spec))
            return yield* new BadTarget({ target: spec, problem: "not an exact version or a dist-tag" })
          const install = yield* installer.install
          const { release, heldBack } = yield* installer.resolve(install, spec)
          const judged = yield* judge(install, release, database)
          const warnings = heldBack === null ? judged.warnings : [heldBack, ...judged.warnings]
          const named = release.waiaas?.build
          const isOther =
            release.version === installed &&
            named !== undefined &&
            (yield* installer.build(install)).code !== named
          const target = isOther
            ? {
                ...judged,
                refusal: otherBuild(installed, "the registry's"),
                warnings: [
                  ...warnings,
                  `the registry's ${installed} is another build than the one that is installed`,
                ],
              }
            : { ...judged, warnings }
          // Nobody asked for that version: a registry behind the installed one is no reason to fail.
          return Option.isNone(to) && !target.isNewer ? { ...target, refusal: null } : target
        }),
      }
    }),
  )
}
