import { test } from "vitest"
import { beforeUpgrade } from "./support/simulate.ts"
import { Explorer } from "./support/explore.ts"
import { faultEverywhere } from "./support/faults.ts"
const cpu = () => { const u = process.cpuUsage(); return (u.user + u.system) / 1000 }
test("try2", { timeout: 900000 }, async () => {
  Error.stackTraceLimit = 0
  const state = beforeUpgrade()
  const explorer = new Explorer("upgrade")
  const t = cpu()
  const counts = await faultEverywhere(explorer, state, "upgrade")
  console.log(counts, explorer.counts, explorer.violations, cpu() - t)
})
