/** The `waiaas` command: wiring only. */
import { dataDirOf, hoistGlobals, isRun } from "./Arguments.ts"
import { runCommand } from "./Commands.ts"
import { endOnSignal } from "./EndOnSignal.ts"
import { runToExit } from "./RunToExit.ts"

const args = process.argv.slice(2)
const noColor = (process.env.NO_COLOR ?? "") !== "" || process.env.TERM === "dumb"
const plain = {
  stdout: noColor || process.stdout.isTTY !== true,
  stderr: noColor || process.stderr.isTTY !== true,
}

// A run ends by its own way back, however long that takes.
if (!isRun(args)) endOnSignal()
runToExit(runCommand(args, plain), { json: args.includes("--json"), dataDir: dataDirOf(hoistGlobals(args)) })

/** The last of the file: where it is missing, the file was cut off. */
export const isWhole = true
