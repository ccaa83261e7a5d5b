/** The `waiaas` command: wiring only. */
import { completionsToFlag, helpOfCommand, hoistGlobals } from "./Arguments.ts"
import { runCommand } from "./Commands.ts"
import { runToExit } from "./RunToExit.ts"

const args = completionsToFlag(helpOfCommand(hoistGlobals(process.argv.slice(2))))
const noColor = (process.env.NO_COLOR ?? "") !== ""
const plain = {
  stdout: noColor || process.stdout.isTTY !== true,
  stderr: noColor || process.stderr.isTTY !== true,
}

runToExit(runCommand(args, plain), args.includes("--json"))
