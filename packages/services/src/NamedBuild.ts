import { packagePaths } from "@waiaas/domain/Install"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { readJsonIfValid } from "./platform/DurableFile.ts"

/** No more of a `package.json` than this: a plain `waiaas status` reads it. */
const Manifest = Schema.Struct({ waiaas: Schema.Struct({ build: Schema.String }) })

/** The build that an installed package says it is; none where it does not say, or is not there. */
export const namedBuild = (packageDir: string) =>
  readJsonIfValid(Manifest, packagePaths(packageDir).manifest).pipe(
    Effect.map(Option.map(({ waiaas }) => waiaas.build)),
  )
