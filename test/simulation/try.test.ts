import { test } from "vitest"
import { writeFileSync } from "node:fs"
import { beforeUpgrade, describeExit, simulate } from "./support/simulate.ts"
import { Explorer } from "./support/explore.ts"
import { verify } from "./support/verify.ts"

const cpu = () => { const u = process.cpuUsage(); return (u.user + u.system) / 1000 }
test("try", { timeout: 600000 }, () => {
  Error.stackTraceLimit = 0
  const state = beforeUpgrade()
  const ops: string[] = []
  let { world, exit } = simulate(state, "upgrade", { judge: (op) => { ops.push(`${op.number} ${op.process.role} ${op.kind} ${op.what}`); return null } })
  console.log(ops.length, describeExit(exit), world.notes, world.acknowledged)
  console.log(verify(world, "upgrade"))
  writeFileSync("/tmp/ops.txt", ops.join("\n"))
  let t = cpu()
  for (let i = 0; i < 20; i++) simulate(state, "upgrade")
  console.log("cpu ms per upgrade", (cpu() - t) / 20)
  Error.stackTraceLimit = 10
  const explorer = new Explorer("upgrade")
  t = cpu()
  explorer.crashEverywhere({ state, path: "", depth: 0 }, "upgrade", "upgrade")
  console.log(explorer.counts, explorer.violations, cpu() - t)
  explorer.exhaust(Number(process.env.LIMIT ?? 1000))
  console.log(explorer.counts, explorer.violations, cpu() - t)
})
