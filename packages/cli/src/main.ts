/** The `waiaas` command: wiring only. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { completionsToFlag, helpOfCommand, hoistGlobals, plainStatus } from "./Arguments.ts"
import { tell, toldOf } from "./Failure.ts"

const args = completionsToFlag(helpOfCommand(hoistGlobals(process.argv.slice(2))))
const noColor = (process.env.NO_COLOR ?? "") !== ""
const globals = plainStatus(args)

// Either is in this same file, and evaluated only where it runs.
const program =
  globals === undefined
    ? Effect.flatMap(
        Effect.promise(() => import("./Commands.ts")),
        ({ runCommand }) =>
          runCommand(args, {
            stdout: noColor || process.stdout.isTTY !== true,
            stderr: noColor || process.stderr.isTTY !== true,
          }),
      )
    : Effect.flatMap(
        Effect.promise(() => import("./PlainStatus.ts")),
        ({ runStatus }) => runStatus(globals),
      )

const logger = Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.stringLogger))

NodeRuntime.runMain(Effect.provide(program, logger), {
  disableErrorReporting: true,
  // It would log to stdout beside the logger that was chosen.
  disablePrettyLogger: true,
  teardown: (exit, onExit) => {
    const told = Exit.isFailure(exit) ? toldOf(exit.cause) : Option.none()
    if (Option.isSome(told)) tell(told.value, args.includes("--json"))
    onExit(Option.match(told, { onNone: () => 0, onSome: ({ exitCode }) => exitCode }))
  },
})
