import { resolve } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { tell, toldOf } from "./Failure.ts"

const logger = Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.stringLogger))

/** Absolute, so that what is told holds in every directory. */
const named = (flag: string | undefined): string | undefined => {
  const path = flag || process.env.WAIAAS_DATA_DIR
  return path ? resolve(path) : undefined
}

/** Runs a command as this process: what failed is told, and becomes the exit code. */
export const runToExit = <E>(
  program: Effect.Effect<void, E>,
  { json, dataDir }: { readonly json: boolean; readonly dataDir: string | undefined },
): void =>
  NodeRuntime.runMain(Effect.provide(program, logger), {
    disableErrorReporting: true,
    // It would log to stdout beside the logger that was chosen.
    disablePrettyLogger: true,
    teardown: (exit) => {
      const told = Exit.isFailure(exit) ? toldOf(exit.cause) : Option.none()
      if (Option.isSome(told)) tell(told.value, json, named(dataDir))
      // At once: what a library still holds open keeps nobody waiting.
      process.exit(Option.match(told, { onNone: () => 0, onSome: ({ exitCode }) => exitCode }))
    },
  })
