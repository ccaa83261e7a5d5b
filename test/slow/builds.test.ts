/** Two builds of one version on a real machine: in the registry, in a tarball, and under a running daemon. */
import { strict as assert } from "node:assert"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { release } from "../support/releases.mts"
import { installedMachine, realRegistry } from "../support/scoped.mts"

it.scopedLive(
  "another build of the installed version is named by check, upgrade, dry run and status, and never installed",
  () =>
    Effect.gen(function* () {
      const registry = yield* realRegistry(["2.0.0", 4])
      const machine = yield* installedMachine({ registryUrl: registry.url, daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const same = await release("2.0.0", 4)
        const other = await release("2.0.0", 4, "crash-loop")
        const installed = await machine.waiaas(["upgrade", "--from", same])
        assert.equal(installed.code, 0, installed.stderr)
        assert.match(installed.stdout, /^Already up to date/m)
        assert.match((await machine.mustWaiaas(["upgrade", "--check"])).stdout, /^Already up to date$/m)
        for (const args of [[], ["--dry-run"]]) {
          const { code, stderr } = await machine.waiaas(["upgrade", "--from", other, ...args])
          assert.equal(code, 4, stderr)
          assert.match(stderr, /the tarball's 2\.0\.0 is another build than the one that is installed/)
        }
        const before = await registry.unpublish("@waiaas/cli@2.0.0")
        assert.equal(before, undefined)
        await registry.publish(other)
        const check = await machine.mustWaiaas(["upgrade", "--check"])
        assert.match(check.stdout, /warning: the registry's 2\.0\.0 is another build/)
        const upgrade = await machine.mustWaiaas(["upgrade"])
        assert.match(`${upgrade.stdout}${upgrade.stderr}`, /the registry's 2\.0\.0 is another build/)
        const asked = await machine.waiaas(["upgrade", "--to", "2.0.0"])
        assert.equal(asked.code, 4, asked.stderr)
        assert.match(asked.stderr, /next: Give the build that you want a version of its own/)
        // Exchanged the plain way under a daemon that goes on.
        assert.doesNotMatch((await machine.mustWaiaas(["status"])).stdout, /another build/)
        await machine.installGlobal(other)
        assert.match(
          (await machine.mustWaiaas(["status"])).stdout,
          /warning: the daemon runs another build of 2\.0\.0 than the one that is installed/,
        )
      })
    }),
  120_000,
)
