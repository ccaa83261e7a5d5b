import { LATEST_SCHEMA } from "@waiaas/domain/Build"
import { DatabaseTooNew, DatabaseTooOld } from "@waiaas/domain/DataErrors"
import { CandidateRefused } from "@waiaas/domain/PackageErrors"
import { type ReleaseDocument, UPGRADE_PROTOCOL } from "@waiaas/domain/Release"
import { judge, rangeFor, type SchemaRange, type Verdict } from "@waiaas/domain/SchemaRange"
import { compare, isNewer, type Version } from "@waiaas/domain/Version"
import { satisfies } from "@waiaas/domain/VersionRange"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** Which code goes with which database: at every start, and before an upgrade touches anything. */
export class Compatibility extends Context.Tag("@waiaas/services/Compatibility")<
  Compatibility,
  {
    /** The schemas that this code opens. */
    readonly range: SchemaRange
    /** What this code makes of a database (0: a fresh one), or why it must not open it. */
    readonly admit: (schema: number) => Effect.Effect<Verdict, DatabaseTooNew | DatabaseTooOld>
    /** Whether a candidate may follow `installed` here; judged from registry metadata alone. */
    readonly admitCandidate: (options: {
      readonly candidate: ReleaseDocument
      readonly installed: Version
      /** `null` where there is no database yet. */
      readonly schema: number | null
      readonly nodeVersion: string
    }) => Effect.Effect<void, CandidateRefused>
  }
>() {
  static readonly layerOf = (range: SchemaRange) =>
    Layer.succeed(this, {
      range,
      admit: (schema) => {
        const verdict = judge(range, schema)
        if (verdict._tag === "DatabaseTooNew") return new DatabaseTooNew({ schema, supported: range.latest })
        if (verdict._tag === "DatabaseTooOld")
          return new DatabaseTooOld({ schema, minimum: range.minimum, goThrough: verdict.goThrough })
        return Effect.succeed(verdict)
      },
      admitCandidate: ({ candidate, installed, schema, nodeVersion }) =>
        Effect.gen(function* () {
          const { version, waiaas, engines } = candidate
          const refuse = (reason: string, command: string) =>
            new CandidateRefused({ version, reason, command })
          const through = (stop: string) => `waiaas upgrade --to ${stop}`
          if (waiaas === undefined)
            return yield* refuse(
              "its package has no compatibility block",
              "Choose another version out of `npm view @waiaas/cli versions`.",
            )
          const stop = [...waiaas.stops]
            .sort(compare)
            .find((each) => isNewer(each, installed) && isNewer(version, each))
          if (stop !== undefined) return yield* refuse(`go through ${stop} first`, through(stop))
          if (waiaas.upgradeProtocol !== UPGRADE_PROTOCOL)
            return yield* refuse(
              `it needs upgrade protocol ${waiaas.upgradeProtocol}, this version speaks ${UPGRADE_PROTOCOL}: go through an older release first`,
              "npm view @waiaas/cli versions",
            )
          if (engines?.node !== undefined && !satisfies(nodeVersion, engines.node))
            return yield* refuse(
              `it needs Node ${engines.node}, this is Node ${nodeVersion}`,
              `Install Node ${engines.node}, then run \`waiaas upgrade\` again.`,
            )
          const verdict = judge(waiaas.schema, schema)
          if (verdict._tag === "DatabaseTooNew")
            return yield* refuse(
              `your database has schema ${verdict.schema}, it knows up to ${waiaas.schema.latest}`,
              "waiaas upgrade --rollback",
            )
          if (verdict._tag === "DatabaseTooOld")
            return yield* refuse(
              `your database has schema ${verdict.schema}, it migrates from ${waiaas.schema.minimum}: go through ${verdict.goThrough ?? "an older release"} first`,
              verdict.goThrough ? through(verdict.goThrough) : "npm view @waiaas/cli versions",
            )
        }),
    })

  static readonly layer = Compatibility.layerOf(rangeFor(LATEST_SCHEMA))
}
