import { oneLine } from "@waiaas/domain/Printable"
import { columnsOf, fitLines } from "@waiaas/domain/TerminalLines"
import { heldBackText } from "@waiaas/services/CheckReport"
import { Environment } from "@waiaas/services/platform/Environment"
import { UpdateNotifier } from "@waiaas/services/UpdateNotifier"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { inSameDataDir, when } from "./commands/Text.ts"
import { Output } from "./Output.ts"

/** The box of a pending update on stderr, after a command; at most once a day, and never in a script's way. */
export const showUpdateNotice = Effect.gen(function* () {
  const { mode } = yield* Output
  const { variables } = yield* Environment
  const silenced = !["", "0", "false"].includes(variables.WAIAAS_NO_UPDATE_NOTIFY ?? "")
  if (mode === "quiet" || silenced) return
  const notifier = yield* UpdateNotifier
  const pending = yield* notifier.pending
  if (Option.isNone(pending)) return
  const { installed, latest, check, ageLimit } = pending.value
  const here = yield* inSameDataDir
  const lines = [
    `Update available: ${installed} -> ${latest}`,
    `Run: ${oneLine(here("waiaas upgrade"), 4096)}`,
    ...(ageLimit === null ? [] : [oneLine(heldBackText(ageLimit, here("waiaas upgrade --check")), 4096)]),
    ...(check.failure === null
      ? []
      : [
          `Known since ${check.checkedAt === null ? "an earlier check" : when(check.checkedAt)}; the last check failed (waiaas status)`,
        ]),
  ]
  const width = Math.max(...lines.map((line) => line.length))
  const edge = `+${"-".repeat(width + 2)}+`
  const columns = columnsOf(process.stderr)
  // A frame that does not fit would be broken into pieces.
  const box =
    columns !== undefined && edge.length > columns
      ? fitLines(lines.join("\n"), columns)
      : [edge, ...lines.map((line) => `| ${line.padEnd(width)} |`), edge].join("\n")
  yield* Effect.sync(() => void process.stderr.write(`\n${box}\n`))
  yield* notifier.shown(pending.value)
})
