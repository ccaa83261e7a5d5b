/** Which options of `waiaas upgrade` go together: what would be ignored is refused. */
import * as Command from "@effect/cli/Command"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, it } from "@effect/vitest"
import { BadTarget } from "@waiaas/domain/PackageErrors"
import { DaemonClient } from "@waiaas/services/DaemonClient"
import { layerSimulated } from "@waiaas/services/testing/SimulatedUpgrade"
import { UpdateNotifier } from "@waiaas/services/UpdateNotifier"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { upgrade } from "../src/commands/Upgrade.ts"
import { Output } from "../src/Output.ts"

const nothing = () => Effect.void
/** Refused before anybody is asked. */
const unasked = Layer.mergeAll(
  Layer.succeed(DaemonClient, { call: () => Effect.die("asked") }),
  Layer.succeed(UpdateNotifier, {
    pending: Effect.die("asked"),
    report: Effect.die("asked"),
    shown: () => Effect.die("asked"),
  }),
)
const output = Layer.succeed(Output, {
  mode: "human",
  columns: undefined,
  result: nothing,
  verbatim: nothing,
  note: nothing,
  event: nothing,
})

it.scopedLive("an option that would do nothing is refused, and named", () =>
  Effect.gen(function* () {
    for (const [line, target] of [
      ["--check --no-start", "--no-start"],
      ["--status --no-start", "--no-start"],
      ["--yes", "--yes"],
      ["--resume-suspended", "--resume-suspended"],
      ["--backup b", "--backup"],
      ["--rollback --to 2.1.0", "--rollback"],
      ["--to 2.1.0 --from f.tgz", "--to, --from"],
      ["--check --from f.tgz", "--check"],
    ] as const) {
      const failure = yield* Effect.flip(
        Command.run(upgrade, { name: "waiaas", version: "2.0.0" })([
          "node",
          "waiaas",
          ...line.split(" "),
        ]).pipe(Effect.provide(Layer.mergeAll(output, unasked, NodeContext.layer))),
      )
      assert.instanceOf(failure, BadTarget, line)
      assert.include(String(failure), target, line)
    }
  }).pipe(Effect.provide(layerSimulated().pipe(Layer.provideMerge(NodeContext.layer)))),
)
