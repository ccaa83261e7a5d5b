/** `npm test`: types, rules, then every test of the fast build. Under 3 minutes on two cores, installation included. */
import { check, runSuites, type Suite, vitest } from "./lib/suites.mts"
import { lint } from "./lint.mts"
import { simulate } from "./simulate.mts"
import { typecheck } from "./typecheck.mts"

export const fastSuites: ReadonlyArray<Suite> = [
  check("typecheck", typecheck),
  check("lint", lint),
  // One run of both: the last files of one leave the processors to the first of the other.
  vitest(["layers", "scenarios"], 900_000),
  // All computing, where the others mostly wait for processes.
  { ...check("simulation", simulate), isBackground: true },
]

if (import.meta.main) process.exitCode = await runSuites(fastSuites)
