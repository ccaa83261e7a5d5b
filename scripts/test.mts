/** `npm test`: types, rules, then every test of the fast build. Under 3 minutes on two cores, installation included. */
import { check, runSuites, type Suite, vitest } from "./lib/suites.mts"
import { lint } from "./lint.mts"
import { simulate } from "./simulate.mts"
import { typecheck } from "./typecheck.mts"

export const fastSuites: ReadonlyArray<Suite> = [
  check("typecheck", typecheck),
  check("lint", lint),
  vitest("layers", 900_000),
  vitest("scenarios", 900_000),
  // All computing, where the others mostly wait for processes.
  { ...check("simulation", simulate), isBackground: true },
]

if (import.meta.main) process.exitCode = await runSuites(fastSuites)
