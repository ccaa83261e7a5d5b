/**
 * A whole upgrade on a simulated machine: every operation is a crash point, every error is tried at
 * every operation, and whatever is left is recovered, with recoveries that are crashed themselves.
 * A failure names its path: `WAIAAS_SIMULATION_PATH=<path>` replays it, operation by operation.
 * `WAIAAS_SIMULATION_DEEP=1` tries every error name and every kill of a recovery (minutes).
 */
import { test } from "vitest"
import { prove } from "./support/prove.ts"
import { beforeUpgrade } from "./support/simulate.ts"

test(
  "a whole upgrade, crashed and failing anywhere, ends in one of the two outcomes",
  { timeout: 900_000 },
  () => prove("upgrade", beforeUpgrade),
)
