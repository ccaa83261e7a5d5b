/** Every command, as the library reads and runs it. */
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { VERSION } from "@waiaas/domain/Build"
import { columnsOf } from "@waiaas/domain/TerminalLines"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type CommandNode, commandTree } from "./CommandTree.ts"
import { completionScript, type Shell } from "./CompletionScript.ts"
import { agent } from "./commands/Agent.ts"
import { backup } from "./commands/Backups.ts"
import { makeCompletions } from "./commands/Completions.ts"
import { health, init, restart, start, status, stop } from "./commands/Daemon.ts"
import { logs } from "./commands/Logs.ts"
import { exitCodes } from "./commands/Text.ts"
import { upgrade, upgradeInBrief } from "./commands/Upgrade.ts"
import { escapes } from "./Escapes.ts"
import { WrongUsage } from "./Failure.ts"
import { HELP_WIDTH, helpText } from "./HelpText.ts"
import { layerFor } from "./Layers.ts"
import { layerNoConsole } from "./NoConsole.ts"
import { root } from "./Root.ts"
import { noteStrayVariables } from "./StrayVariables.ts"
import { showUpdateNotice } from "./UpdateNotice.ts"
import { readUsage } from "./Usage.ts"

/** Commands that scripts run over and over, with variables of their own, perhaps. */
const aboutAgents = new Set(["agent", "logs", "health"])

const print = (text: string): void => void process.stdout.write(`${text}\n`)

/** The commands that are always the same, in the order of the help. */
export const commands = [init, start, stop, restart, status, health, logs, agent, backup] as const

/** `plain`: for each output, whether it takes no colours. */
export const runCommand = (
  args: ReadonlyArray<string>,
  plain: { readonly stdout: boolean; readonly stderr: boolean },
) => {
  /** Who is upgrading needs no notice of it; the process that upgraded is the old version still. */
  const isUpgrade = args.includes("upgrade")
  const words = new Set(args)
  /** What a shell reads at its start is no place for a notice either. */
  const isSilent = isUpgrade || args.includes("completions")
  /** Filled below: completions are one of the commands that they complete. */
  const known: { tree: CommandNode } = {
    tree: { name: "", description: "", options: new Map(), args: [], children: [] },
  }
  const scriptFor = (shell: Shell) => Effect.sync(() => completionScript(known.tree, shell))
  const command = root.pipe(
    Command.withDescription(
      `A self-hosted wallet service for AI agents. Begin with: waiaas init, then waiaas start --background. Every command explains itself with --help.\n${exitCodes}`,
    ),
    Command.withSubcommands([...commands, isUpgrade ? upgrade : upgradeInBrief, makeCompletions(scriptFor)]),
    Command.transformHandler((handler) => (isSilent ? handler : Effect.zipLeft(handler, showUpdateNotice))),
    // `init` says it itself.
    Command.transformHandler((handler) =>
      words.has("completions") || words.has("init")
        ? handler
        : Effect.zipRight(noteStrayVariables(!args.some((word) => aboutAgents.has(word))), handler),
    ),
    // Last: a handler that is set later would forget it.
    Command.provide((globals) => layerFor(globals)),
  )
  const tree = commandTree(command)
  known.tree = tree
  const reading = readUsage(tree, args)
  const json = args.includes("--json")
  switch (reading._tag) {
    case "Help": {
      const text = helpText(
        tree,
        VERSION,
        reading.words,
        Math.min(HELP_WIDTH, columnsOf(process.stdout) ?? HELP_WIDTH),
      )
      const bare = text.replace(escapes, "")
      return Effect.sync(() =>
        print(json ? JSON.stringify({ event: "Result", help: bare }) : plain.stdout ? bare : text),
      )
    }
    case "Version":
      return Effect.sync(() => print(json ? JSON.stringify({ event: "Result", version: VERSION }) : VERSION))
    case "Wrong":
      return Effect.fail(reading.usage)
  }
  const run = Command.run(command, { name: "WAIaaS", version: VERSION })
  return run([...process.argv.slice(0, 2), ...reading.args]).pipe(
    Effect.mapError((error) =>
      ValidationError.isValidationError(error)
        ? new WrongUsage({
            kind: error._tag,
            message: HelpDoc.toAnsiText(error.error).replace(escapes, "").trim(),
            next: ["waiaas", ...reading.words, "--help"].join(" "),
          })
        : error,
    ),
    Effect.provide(
      Layer.mergeAll(
        NodeContext.layer,
        layerNoConsole,
        CliConfig.layer({ isCaseSensitive: true, finalCheckBuiltIn: false }),
      ),
    ),
  )
}
