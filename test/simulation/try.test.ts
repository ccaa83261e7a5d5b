import { test } from "vitest"
import { writeFileSync } from "node:fs"
import { beforeUpgrade, describeExit, simulate } from "./support/simulate.ts"
import { Explorer } from "./support/explore.ts"
import { verify } from "./support/verify.ts"

const cpu = () => { const u = process.cpuUsage(); return (u.user + u.system) / 1000 }
test("try", { timeout: 600000 }, async () => {
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
  const hist: Record<string, number> = {}
  explorer.debug = ({ path, depth, state }) => {
    const k = depth + " " + path.split(":").at(-1) + " " + path.split("/").slice(1).map((s) => s.split("@")[0]).join("/") + (state.survivors.length ? " alive" : "")
    hist[k] = (hist[k] ?? 0) + 1
  }
  t = cpu()
  explorer.crashEverywhere({ state, path: "", depth: 0 }, "upgrade", "upgrade")
  console.log(explorer.counts, explorer.violations, cpu() - t)
  await explorer.exhaust(Number(process.env.LIMIT ?? 1000))
  console.log(explorer.counts, explorer.violations, cpu() - t)
  console.log(hist)
})
