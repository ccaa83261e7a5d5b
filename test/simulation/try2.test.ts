import { writeFileSync } from "node:fs"
import { inspect } from "node:util"
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
  const counts = await faultEverywhere(explorer, state, "upgrade", (n) => n % Number(process.env.STRIDE ?? 1) === Number(process.env.AT ?? 0))
  writeFileSync("/tmp/faults.txt", inspect({ counts, ex: explorer.counts, v: explorer.violations, cpu: cpu() - t }, { maxArrayLength: 200, depth: 5, maxStringLength: 1500 }))
})
