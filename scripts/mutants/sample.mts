/** A random share of the mistakes: StrykerJS asks this plugin, its "checker", which of them it is to try. */
import { createHash } from "node:crypto"

interface Position {
  readonly line: number
  readonly column: number
}

/** A planted mistake, as StrykerJS's report and its checkers have it. */
export interface Mutant {
  readonly replacement?: string
  readonly location: { readonly start: Position; readonly end: Position }
}

/** Whether a mistake belongs to the share (0 to 1): decided by the seed and the mistake alone, in no order. */
export const isInSample = (file: string, mutant: Mutant, share: number, seed: string): boolean => {
  const { start, end } = mutant.location
  const name = JSON.stringify([
    seed,
    file,
    start.line,
    start.column,
    end.line,
    end.column,
    mutant.replacement ?? "",
  ])
  return createHash("sha256").update(name).digest().readUInt32BE() < share * 2 ** 32
}

type Checked = Record<
  string,
  { readonly status: "passed" } | { readonly status: "compileError"; readonly reason: string }
>
type Candidate = Mutant & { readonly id: string; readonly fileName: string }

class Sample {
  async init(): Promise<void> {}

  async check(mutants: ReadonlyArray<Candidate>): Promise<Checked> {
    const { MUTANTS_SHARE: share, MUTANTS_SEED: seed } = process.env
    if (share === undefined || seed === undefined)
      throw new Error("MUTANTS_SHARE and MUTANTS_SEED are not set")
    return Object.fromEntries(
      mutants.map((mutant) => {
        const file = mutant.fileName.replace(/^.*?(?=packages\/)/, "")
        const chosen = isInSample(file, mutant, Number(share), seed)
        return [
          mutant.id,
          chosen ? { status: "passed" } : { status: "compileError", reason: "not in the sample" },
        ]
      }),
    )
  }

  async group(mutants: ReadonlyArray<Candidate>): Promise<ReadonlyArray<ReadonlyArray<string>>> {
    return [mutants.map(({ id }) => id)]
  }
}

export const strykerPlugins = [{ kind: "Checker", name: "sample", injectableClass: Sample }]
