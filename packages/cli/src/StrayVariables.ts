/** Variables of the environment that look like settings and are not obeyed. */
import { ignoredEnvironment, isNearMiss, strayInWords } from "@waiaas/domain/Config"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import * as Effect from "effect/Effect"
import { Output } from "./Output.ts"

/**
 * Says which are ignored, before a command acts on something else than its operator means. `all`: where it matters
 * most; elsewhere only those that are a few letters from a setting, as scripts may have variables of their own.
 */
export const noteStrayVariables = (all: boolean) =>
  Effect.gen(function* () {
    const { variables } = yield* Environment
    const { note } = yield* Output
    for (const name of ignoredEnvironment(variables))
      if (all || isNearMiss(name)) yield* note(`warning: ${strayInWords(name)}`)
  })

/** Says that a master password is not used, which its operator may rely on. */
export const noteUnusedPassword = Effect.gen(function* () {
  const { variables } = yield* Environment
  const { paths } = yield* DataDir
  const name = ["WAIAAS_MASTER_PASSWORD", "WAIAAS_MASTER_PASSWORD_FILE"].find((each) => variables[each])
  const keyFile = `${paths.keystore}/key`
  if (name !== undefined && (yield* (yield* DurableFile).exists(keyFile)))
    yield* (yield* Output).note(
      `warning: ${name} is set, but not used: the keystore was sealed under its key file ${keyFile} when it was made`,
    )
})
