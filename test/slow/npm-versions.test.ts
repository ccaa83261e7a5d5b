/** Every npm and every Node that an operator may have: upgrade and rollback from end to end, and npm's settings. */
import { strict as assert } from "node:assert"
import { readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { it } from "@effect/vitest"
import {
  irrelevantSettings,
  obeyedSettings,
  overriddenSettings,
  refusedSettings,
} from "@waiaas/domain/NpmSettings"
import * as Effect from "effect/Effect"
import type { Machine } from "../support/machine.mts"
import { runtimeOf } from "../support/runtimes.mts"
import { installedMachine, realRegistry } from "../support/scoped.mts"

const LIMIT = 300_000
/** Each at least once; the newest with the newest. */
const matrix = [
  { node: 22, npm: 10 },
  { node: 24, npm: 11 },
  { node: 26, npm: 12 },
  { node: 22, npm: 12 },
] as const

/** What an operator may have in an npmrc that would make npm answer or do something else. */
const hostile = (npm: number) =>
  [
    "dry-run=true",
    "force=true",
    "json=false",
    "long=true",
    "parseable=true",
    "color=always",
    "loglevel=silly",
    "usage=true",
    "timing=true",
    "location=project",
    "global=false",
    "prefix=/nowhere",
    "workspaces=true",
    "package-lock-only=true",
    "bin-links=false",
    "install-strategy=linked",
    "omit[]=optional",
    "umask=077",
    "ignore-scripts=false",
    "engine-strict=true",
    "strict-peer-deps=true",
    "install-links=true",
    "prefer-offline=true",
    "os=win32",
    "cpu=mips",
    "tag=next",
    "scope=@other",
    ...(npm >= 11 ? ["strict-allow-scripts=true", "allow-file=none", "allow-remote=none"] : []),
    "",
  ].join("\n")

const health = async (machine: Machine) =>
  (await machine.api("GET", "/health")).json<{ version: string; schemaVersion: number; status: string }>()

for (const { node, npm } of matrix)
  it.scopedLive(
    `npm ${npm} on Node ${node}: upgrade and rollback end to end, with hostile settings too`,
    () =>
      Effect.gen(function* () {
        const runtime = yield* Effect.promise(() => runtimeOf(node, npm))
        const registry = yield* realRegistry(["2.0.0", 4], ["2.1.0", 5])
        const machine = yield* installedMachine({ registryUrl: registry.url, runtime })
        yield* Effect.promise(async () => {
          assert.match((await machine.npm(["--version"])).stdout, new RegExp(`^${npm}\\.`))
          const checked = await machine.mustWaiaas(["upgrade", "--check"])
          assert.match(checked.stdout, /^Upgrade available$/m)
          await machine.mustWaiaas(["upgrade"], { timeoutMs: 120_000 })
          assert.deepEqual((await health(machine)).version, "2.1.0")
          assert.equal((await machine.mustWaiaas(["--version"])).stdout, "2.1.0\n")
          assert.match((await machine.npm(["ls", "--global"])).stdout, /@waiaas\/cli@2\.1\.0/)
          await machine.mustWaiaas(["upgrade", "--rollback", "--yes"])
          const back = await health(machine)
          assert.deepEqual([back.version, back.schemaVersion, back.status], ["2.0.0", 4, "ok"])

          writeFileSync(join(machine.home, ".npmrc"), hostile(npm))
          const again = await machine.mustWaiaas(["upgrade", "--check"])
          assert.match(again.stdout, /^Latest version: {2}2\.1\.0/m)
          const env = { NPM_CONFIG_DRY_RUN: "true", npm_config_package_lock_only: "true" }
          await machine.mustWaiaas(["upgrade"], { timeoutMs: 120_000, env })
          assert.equal((await health(machine)).version, "2.1.0")
          assert.equal((await machine.mustWaiaas(["--version"])).stdout, "2.1.0\n")

          // By name where it cannot be answered truly.
          writeFileSync(join(machine.home, ".npmrc"), "offline=true\n")
          const offline = await machine.waiaas(["upgrade", "--check"])
          assert.equal(offline.code, 4, offline.stderr)
          assert.match(offline.stderr, /offline=true/)
          writeFileSync(join(machine.home, ".npmrc"), "workspace=packages/a\n")
          const workspace = await machine.waiaas(["upgrade", "--check"])
          assert.equal(workspace.code, 4, workspace.stderr)
          assert.match(workspace.stderr, /--workspace/)
          const missing = await machine.waiaas(["upgrade", "--check", "--to", "9.9.9"], {
            env: { npm_config_userconfig: "/dev/null" },
          })
          assert.match(missing.stderr, /has no 9\.9\.9; its newest is 2\.1\.0/)
        })
      }),
    LIMIT,
  )

it.live(
  "every setting of npm 10, 11 and 12 has its place in the table, and only one",
  () =>
    Effect.promise(async () => {
      const places = [
        ...Object.keys(overriddenSettings),
        ...Object.keys(obeyedSettings).filter((key) => !/[@/]/.test(key)),
        ...Object.keys(refusedSettings),
        ...Object.values(irrelevantSettings).flat(),
      ]
      assert.deepEqual(
        places.filter((key, index) => places.indexOf(key) !== index),
        [],
      )
      const seen = new Set<string>()
      for (const major of [10, 11, 12]) {
        const { npmDir } = await runtimeOf(24, major)
        const { definitions } = createRequire(join(npmDir, "package.json"))(
          "@npmcli/config/lib/definitions",
        ) as { readonly definitions: Record<string, unknown> }
        assert.match(
          JSON.parse(readFileSync(join(npmDir, "package.json"), "utf8")).version,
          new RegExp(`^${major}`),
        )
        for (const key of Object.keys(definitions)) seen.add(key)
        assert.deepEqual(
          Object.keys(definitions).filter((key) => !places.includes(key)),
          [],
          `npm ${major}`,
        )
      }
      assert.deepEqual(
        places.filter((key) => !seen.has(key)),
        [],
      )
    }),
  LIMIT,
)
