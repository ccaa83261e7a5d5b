import { type Install, installOf } from "@waiaas/domain/Install"
import type { Run } from "@waiaas/domain/JournalRecord"
import { JournalDamaged } from "@waiaas/domain/RunErrors"
import * as Effect from "effect/Effect"
import type { ConfigFile } from "./ConfigFile.ts"
import type { DataPaths } from "./platform/DataDir.ts"
import type { Environment } from "./platform/Environment.ts"

const READ_THE_GUIDE =
  'read "A damaged journal" in docs/operator-guide.md of the package (below `npm root --global`)'

/** Code that npm did not install globally has no place where a run could put anything. */
const noInstall = (packageDir: string, node: string): Install => ({
  prefix: packageDir,
  root: packageDir,
  packageDir,
  binLink: `${packageDir}/bin/waiaas`,
  hidden: `${packageDir}/.waiaas`,
  node,
})

/**
 * Where a run that was read from a journal has its things. The journal belongs to the data's owner, and whoever
 * follows it may be root: no path in it is ever acted on. They are derived from the running code, the data directory
 * and the configuration, and a run that is not over is followed only where the journal says the same.
 */
export const makePlaces = (
  paths: DataPaths,
  { packageDir, node }: Environment["Type"],
  config: ConfigFile["Type"],
) => {
  const own = installOf(packageDir, node)
  const install = own ?? noInstall(packageDir, node)

  /** For what is only shown, or has ended: nothing acts on its paths. */
  const shown = (run: Run): Run => ({
    ...run,
    started: { ...run.started, install, dataDir: paths.root, databasePath: `${paths.data}/waiaas.db` },
  })

  const confirmed = (run: Run, path: string): Effect.Effect<Run, JournalDamaged> =>
    Effect.gen(function* () {
      if (run.ended !== null) return shown(run)
      const { started } = run
      const refuse = (problem: string, instead: string) => new JournalDamaged({ path, problem, instead })
      if (started.dataDir !== paths.root)
        return yield* refuse(
          `its run ${started.run} is of the data directory ${started.dataDir}, and this is ${paths.root}`,
          `Move the data directory back to where it was if you moved it, then run the command again; if you did not, ${READ_THE_GUIDE}.`,
        )
      const places = ["prefix", "root", "packageDir", "binLink", "hidden"] as const
      const other = places.find((place) => started.install[place] !== own?.[place])
      if (other !== undefined)
        return yield* refuse(
          `its run ${started.run} changes an install with ${other} ${started.install[other]}, and ${
            own === null
              ? `this waiaas (${packageDir}) was not installed with npm install --global`
              : `the one of this waiaas is ${own[other]}`
          }`,
          `Run \`waiaas start\` of the install that the run was begun with, if you have more than one; if you have not, ${READ_THE_GUIDE}.`,
        )
      const { databasePath } = yield* config.load.pipe(
        Effect.mapError((error) =>
          refuse(
            `its run ${started.run} is not over, and where the database is cannot be read: ${error.message.replace(/\.$/, "")}`,
            error.next,
          ),
        ),
      )
      if (started.databasePath !== databasePath)
        return yield* refuse(
          `its run ${started.run} is of the database ${started.databasePath}, and the configuration names ${databasePath}`,
          `Set database.path in config.toml (or WAIAAS_DATABASE_PATH) back to what it was when the run began, then run the command again; if it was not changed, ${READ_THE_GUIDE}.`,
        )
      return { ...run, started: { ...started, install } }
    })

  return { shown, confirmed }
}
