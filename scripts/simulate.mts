/**
 * `npm run simulate [-- --deep] [-- --write]`: a whole upgrade and a whole rollback on a simulated machine. Operations are
 * crash points, errors and failed syncs are tried at them, others act meanwhile, and whatever is left is recovered, with
 * recoveries that are crashed in their turn. Counted, not sampled at random; the same each time.
 *
 * `-- --path P` replays one path, as a violation prints it, operation by operation. `-- --deep` looks at every instant. `-- --write` puts the table into docs/reliability.md.
 */
import { constants, setPriority } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import type { RunKind } from "@waiaas/domain/UpgradePhase"
import { type ActorFigures, proveActors } from "../test/simulation/actors.ts"
import { type Figures, type FullFigures, prove, proveFull, replay } from "../test/simulation/prove.ts"
import { machineLine, writePart } from "./lib/document.mts"
import { node, root } from "./lib/repo.mts"
import { run } from "./lib/run.mts"

const script = join(root, "scripts/simulate.mts")

type Full = Readonly<Record<RunKind, FullFigures>>
type Acted = Readonly<Record<RunKind, ReturnType<typeof proveActors>>>
interface Parts {
  readonly upgrade: Figures
  readonly rollback: Figures
  readonly full: Full
  readonly actors: Acted
}

/** What a process of its own works out: it is all computing, so there are as many as help on two processors. */
const parts: { readonly [P in keyof Parts]: (isDeep: boolean) => Parts[P] } = {
  upgrade: (isDeep) => prove("upgrade", isDeep),
  rollback: (isDeep) => prove("rollback", isDeep),
  full: (isDeep) => ({ upgrade: proveFull("upgrade", isDeep), rollback: proveFull("rollback", isDeep) }),
  actors: (isDeep) => ({
    upgrade: proveActors("upgrade", isDeep),
    rollback: proveActors("rollback", isDeep),
  }),
}
const isPart = (text: string | undefined): text is keyof Parts => text !== undefined && text in parts

const proveApart = async <P extends keyof Parts>(part: P, isDeep: boolean): Promise<Parts[P]> => {
  const result = await run(node, [script, "--only", part, ...(isDeep ? ["--deep"] : [])], {
    cwd: root,
    timeoutMs: isDeep ? 3_600_000 : 900_000,
  })
  if (result.code !== 0)
    throw new Error(`the simulation of ${part} ended with ${result.code}: ${result.stderr}`)
  return JSON.parse(result.stdout)
}

type All = Figures & FullFigures & ActorFigures

const together = (figures: Figures, full: FullFigures, acted: Acted[RunKind]): All => ({
  ...figures,
  ...full,
  ...acted,
  violations: [...figures.violations, ...full.violations, ...acted.violations],
})

const count = (figures: Figures, how: string, outcome: string) =>
  (figures.outcomes[`${how}: ${outcome}`] ?? 0).toLocaleString("en")

const rows: ReadonlyArray<readonly [string, (figures: All) => string | number]> = [
  ["operations of the undisturbed run", ({ errors }) => errors.operations],
  ["runs with one error", ({ errors }) => errors.single],
  ["runs with a cause that stays", ({ errors }) => errors.lasting],
  ["runs in which the disk gets full", ({ full }) => full],
  ["runs in which a sync fails and the power goes later", ({ failedSyncs }) => failedSyncs],
  ["runs with Ctrl-C at an operation", ({ interrupted }) => interrupted],
  ["runs with another upgrade or rollback typed meanwhile", ({ second }) => second],
  ["runs in which the daemon dies", ({ dying }) => dying],
  ["crashes recovered under a supervisor", ({ supervised }) => supervised],
  ["crashes recovered with backups on another device", ({ apart }) => apart],
  ["points at which a crash was looked at", ({ points }) => points],
  ["crashes (a point and what was lost)", ({ crashes }) => crashes],
  ["distinct states recovered", ({ states }) => states],
  ["recoveries", ({ recoveries }) => recoveries],
  ["most crashes in a row", ({ deepest }) => deepest],
  [
    "undone at once, to the old / the new version",
    (figures) => `${count(figures, "undone at once", "old")} / ${count(figures, "undone at once", "new")}`,
  ],
  [
    "recovered, to the old / the new version",
    (figures) => `${count(figures, "recovered", "old")} / ${count(figures, "recovered", "new")}`,
  ],
  ["anything else", ({ violations }) => violations.length],
  ["seconds", ({ seconds }) => seconds.toFixed(1)],
]

const table = (upgrade: All, rollback: All): string => {
  const cell = (value: string | number) => (typeof value === "number" ? value.toLocaleString("en") : value)
  return [
    ["", "upgrade", "rollback"],
    ["---", "---", "---"],
    ...rows.map(([name, of]) => [name, cell(of(upgrade)), cell(of(rollback))]),
  ]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n")
}

/** Exit code: 0 where every path ends in one of the two outcomes. */
export const simulate = async ({ deep = false, write = false } = {}): Promise<number> => {
  const first = async () => [await proveApart("upgrade", deep), await proveApart("full", deep)] as const
  const rest = async () => [await proveApart("rollback", deep), await proveApart("actors", deep)] as const
  const [[upgrade, full], [rollback, actors]] = await Promise.all([first(), rest()])
  const both = [
    together(upgrade, full.upgrade, actors.upgrade),
    together(rollback, full.rollback, actors.rollback),
  ] as const
  const text = table(...both)
  console.log(text)
  const violations = both.flatMap((figures) => figures.violations)
  for (const violation of violations) console.error(`the promise is broken: ${violation}`)
  if (violations.length > 0) console.error("replay one with: npm run simulate -- --path <its path>")
  if (write)
    writePart(
      "docs/reliability.md",
      "simulation",
      `\`npm run simulate${deep ? " -- --deep" : ""}\` on ${machineLine()}:\n\n${text}`,
    )
  return violations.length === 0 ? 0 : 1
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      deep: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
      path: { type: "string" },
      only: { type: "string" },
    },
  })
  // The fibers of killed processes wait for ever, and a process with a fiber that waits does not end by itself.
  const end = () => process.exit(0)
  // Whatever else the machine does goes first: there it is about time, here only about the result.
  if (values.only !== undefined) setPriority(constants.priority.PRIORITY_LOW)
  if (values.path !== undefined) {
    replay(values.path)
    process.stdout.write("", end)
  } else if (isPart(values.only)) process.stdout.write(JSON.stringify(parts[values.only](values.deep)), end)
  else process.exitCode = await simulate(values)
}
