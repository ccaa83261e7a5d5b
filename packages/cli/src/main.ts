/** The `waiaas` command: wiring only. */
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { VERSION } from "@waiaas/domain/Build"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { agent } from "./commands/Agent.ts"
import { backup } from "./commands/Backups.ts"
import { health, init, start, status, stop } from "./commands/Daemon.ts"
import { upgrade, upgradeInBrief } from "./commands/Upgrade.ts"
import { tell, toldOf } from "./Failure.ts"
import { layerFor } from "./Layers.ts"
import { layerPlainConsole } from "./PlainConsole.ts"
import { completionsToFlag, helpOfCommand, hoistGlobals, root } from "./Root.ts"
import { showUpdateNotice } from "./UpdateNotice.ts"

const args = completionsToFlag(helpOfCommand(hoistGlobals(process.argv.slice(2))))
/** Who is upgrading needs no notice of it; the process that upgraded is the old version still. */
const isUpgrade = args.includes("upgrade")
const noColor = (process.env.NO_COLOR ?? "") !== ""

const command = root.pipe(
  Command.withDescription(
    "A self-hosted wallet service for AI agents. Begin with: waiaas init, then waiaas start --background. Every command explains itself with --help; shell completions: waiaas completions bash|zsh|fish.",
  ),
  Command.withSubcommands([
    init,
    start,
    stop,
    status,
    health,
    agent,
    backup,
    isUpgrade ? upgrade : upgradeInBrief,
  ]),
  Command.transformHandler((handler) => (isUpgrade ? handler : Effect.zipLeft(handler, showUpdateNotice))),
  // Last: a handler that is set later would forget it.
  Command.provide((globals) => layerFor(globals)),
)

const run = Command.run(command, { name: "WAIaaS", version: VERSION })
const program = run([...process.argv.slice(0, 2), ...args]).pipe(
  Effect.provide(
    Layer.mergeAll(
      NodeContext.layer,
      layerPlainConsole({
        stdout: noColor || process.stdout.isTTY !== true,
        stderr: noColor || process.stderr.isTTY !== true,
      }),
      CliConfig.layer({ isCaseSensitive: true, finalCheckBuiltIn: false }),
      Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.stringLogger)),
    ),
  ),
)

NodeRuntime.runMain(program, {
  disableErrorReporting: true,
  // It would log to stdout beside the logger that was chosen.
  disablePrettyLogger: true,
  teardown: (exit, onExit) => {
    const told = Exit.isFailure(exit) ? toldOf(exit.cause) : Option.none()
    if (Option.isSome(told)) tell(told.value, args.includes("--json"))
    onExit(Option.match(told, { onNone: () => 0, onSome: ({ exitCode }) => exitCode }))
  },
})
