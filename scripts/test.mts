/** `npm test`: types, rules, the package, then every test of the fast build. Under 3 minutes on two cores. */
import { checkPackage } from "./lib/check-package.mts"
import { check, runSuites, type Suite, vitest } from "./lib/suites.mts"
import { lint } from "./lint.mts"
import { typecheck } from "./typecheck.mts"

// Every recovery crashed at each of its own operations takes minutes: CI and `npm test` crash the runs themselves.
process.env.WAIAAS_SIMULATION ??= "quick"

export const fastSuites: ReadonlyArray<Suite> = [
  check("typecheck", typecheck),
  check("lint", lint),
  check("package", checkPackage),
  vitest("vitest", ["layers", "scenarios"], 900_000),
]

if (import.meta.main) process.exitCode = await runSuites(fastSuites)
