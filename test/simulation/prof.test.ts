import { test } from "vitest"
import { beforeUpgrade, simulate } from "./support/simulate.ts"
const cpu = () => { const u = process.cpuUsage(); return (u.user + u.system) / 1000 }
test("prof", { timeout: 600000 }, async () => {
  Error.stackTraceLimit = 0
  const state = beforeUpgrade()
  for (let j = 0; j < 6; j++) {
    const t = cpu()
    for (let i = 0; i < 50; i++) simulate(state, "upgrade")
    console.log("cpu ms per upgrade", (cpu() - t) / 50)
    await new Promise((r) => setImmediate(r))
  }
})
