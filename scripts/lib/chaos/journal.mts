/** What a machine's journal says, read from outside while it is written. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { Machine } from "../../../test/support/machine.mts"

interface Line {
  readonly _tag: string
  readonly phase?: string
  readonly kind?: "upgrade" | "rollback"
  readonly from?: string
  readonly to?: string
  readonly action?: string
  readonly outcome?: string
}

export interface JournalView {
  readonly run: number
  readonly lines: ReadonlyArray<Line>
}

const parse = (text: string): ReadonlyArray<Line> =>
  text.split("\n").flatMap((line) => {
    try {
      return [JSON.parse(line.slice(9)) as Line]
    } catch {
      // The last line may be half written.
      return []
    }
  })

/** The records of a run, or of the newest; run 0 where there is none. */
export const readJournal = (machine: Machine, wanted?: number): JournalView => {
  const directory = join(machine.dataDir, "upgrade/journal")
  try {
    const name = readdirSync(directory)
      .filter(
        (each) =>
          /^\d{6}\.jsonl$/.test(each) && (wanted === undefined || Number(each.slice(0, 6)) === wanted),
      )
      .sort()
      .at(-1)
    if (name === undefined) return { run: 0, lines: [] }
    return { run: Number(name.slice(0, 6)), lines: parse(readFileSync(join(directory, name), "utf8")) }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { run: 0, lines: [] }
    throw error
  }
}

/** Where a run stands, in one word for a table. */
export const placeOf = ({ run, lines }: JournalView, before: number): string => {
  if (run <= before || lines.length === 0) return "before the run"
  const has = (tag: string) => lines.some((line) => line._tag === tag)
  if (has("Ended")) return "after the end"
  // The second half of a rollback is its recovery, whoever carries it out.
  const recoveries = lines.filter((line) => line._tag === "Recovering").length
  const own = lines[0]?.kind === "rollback" && has("Committed") ? 1 : 0
  if (recoveries > own) return has("Committed") ? "recovery forward" : "recovery back"
  const phase = lines.findLast((line) => line._tag === "PhaseBegun")?.phase ?? "begin"
  return has("Committed") && phase !== "restore" && lines[0]?.kind === "upgrade" ? "committed" : phase
}

export const isCommitted = ({ lines }: JournalView): boolean =>
  lines.some((line) => line._tag === "Committed")
export const isEnded = ({ lines }: JournalView): boolean =>
  lines.length === 0 || lines.some((line) => line._tag === "Ended")
