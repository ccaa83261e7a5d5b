/**
 * A whole upgrade on a simulated machine: every operation is a crash point, every error is tried at
 * every operation, and whatever is left is recovered, with recoveries that are crashed themselves.
 * A failure names its path: `WAIAAS_SIMULATION_PATH=<path>` replays it, operation by operation.
 * `WAIAAS_SIMULATION_DEEP=1` tries every error name and every kill of a recovery (minutes).
 */
import { test } from "vitest"
import { prove } from "./support/prove.ts"
import { beforeUpgrade } from "./support/simulate.ts"

const timeout = 900_000

test("a upgrade that is crashed anywhere ends in one of the two outcomes", { timeout }, () =>
  prove("upgrade", beforeUpgrade, "crashes"))

test("a upgrade that fails anywhere ends in one of the two outcomes", { timeout }, () =>
  prove("upgrade", beforeUpgrade, "errors"))
