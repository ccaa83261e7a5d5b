/** A release of a simulated installation, as the registry names it and as npm installs it. */
import { join } from "node:path"
import type * as FileSystem from "@effect/platform/FileSystem"
import { PACKAGE_NAME, UPGRADE_PROTOCOL } from "@waiaas/domain/Release"
import { rangeFor } from "@waiaas/domain/SchemaRange"
import * as Effect from "effect/Effect"

export interface SimulatedRelease {
  readonly version: string
  readonly schema: number
  /** The build that the registry names, and the one that npm then installs. */
  readonly build?: { readonly named: string; readonly installed: string } | undefined
  /** A word that its code does not allow in a config.toml. */
  readonly refuses?: string | undefined
  /** What its last migration does without declaring it: everywhere, or on the live data alone. */
  readonly undeclared?:
    | { readonly statements: ReadonlyArray<string>; readonly onlyLive?: boolean }
    | undefined
  /** `npm`: it cannot be installed. `version`: npm installs another one. `migrate` fails everywhere; `migrate-live` on the live data alone, and harms it. */
  readonly fault?: "npm" | "version" | "migrate" | "migrate-live" | "start" | undefined
}

/** Its `package.json`, with the build that is given. */
export const manifestOf = ({ version, schema }: SimulatedRelease, build?: string) => ({
  name: PACKAGE_NAME,
  version,
  bin: { waiaas: "dist/bin.js" },
  waiaas: {
    upgradeProtocol: UPGRADE_PROTOCOL,
    schema: rangeFor(schema),
    stops: [],
    ...(build === undefined ? {} : { build }),
  },
})

/** Writes a package as npm installs it. */
export const writePackage = (fs: FileSystem.FileSystem, directory: string, release: SimulatedRelease) =>
  Effect.gen(function* () {
    yield* fs.makeDirectory(join(directory, "dist"), { recursive: true })
    yield* fs.writeFileString(
      join(directory, "package.json"),
      JSON.stringify(manifestOf(release, release.build?.installed)),
    )
    for (const name of ["bin.js", "daemon.js", "tool.js"])
      yield* fs.writeFileString(join(directory, "dist", name), `// ${release.version}\n`)
  }).pipe(Effect.orDie)
