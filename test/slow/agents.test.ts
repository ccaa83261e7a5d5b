/** `waiaas agent` as an operator types it: names, suspend and resume, and what is said where something is wrong. */
import { strict as assert } from "node:assert"
import { spawnSync } from "node:child_process"
import { renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { installedMachine } from "../support/scoped.mts"

/** Real machines in here take seconds. */
const LIMIT = 120_000

it.scopedLive(
  "agents are named by name or id; what is refused has its exit code and what to type",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      const waiaas = (...args: ReadonlyArray<string>) => machine.waiaas(args)
      const expectError = async (args: ReadonlyArray<string>, code: number, pattern: RegExp) => {
        const ended = await machine.waiaas(args)
        assert.equal(ended.code, code, `${args.join(" ")}: ${ended.stdout}${ended.stderr}`)
        assert.match(ended.stderr, pattern)
      }
      yield* Effect.promise(async () => {
        const made = await waiaas("agent", "create", "trea sury", "--json")
        const { id } = JSON.parse(made.stdout)
        const { stdout: signature } = await machine.mustWaiaas(["agent", "sign", "trea sury", "hello"])
        assert.equal((await waiaas("agent", "sign", id, "hello")).stdout, signature)

        const suspended = await machine.mustWaiaas(["agent", "suspend", "trea sury"])
        assert.match(suspended.stdout, /^To let it sign again: waiaas agent resume 'trea sury'$/m)
        await expectError(
          ["agent", "sign", "trea sury", "hello"],
          4,
          new RegExp(`is suspended: it does not sign\\.\\nnext: waiaas agent resume ${id}$`, "m"),
        )
        assert.match((await machine.mustWaiaas(["agent", "resume", id])).stdout, /signs again/)
        assert.equal((await waiaas("agent", "sign", id, "hello")).stdout, signature)

        await expectError(
          ["agent", "show", "treasury"],
          4,
          /^error: There is no agent treasury\.\nnext: waiaas agent list$/m,
        )
        await expectError(["agent", "create", ""], 2, /A name is 1 to 64 letters/)
        await expectError(["agent", "show", "../x"], 2, /Expected the id or the name of an agent/)
        await expectError(
          ["agent", "create", "trea sury"],
          4,
          /There is an agent trea sury already\.\nnext: waiaas agent list$/m,
        )
        await expectError(
          ["agent", "create", "b", "--chain", "bitcoin", "--network", "nonsense"],
          2,
          /solana.*aptos.*sui/s,
        )
        // Bytes that are not UTF-8, as only a shell can give them.
        const bytes = spawnSync(
          "/bin/sh",
          ["-c", `exec "$0" agent sign "$1" "$(printf 'pay \\377')"`, machine.bin, id],
          {
            env: machine.env(),
            cwd: machine.home,
            encoding: "utf8",
          },
        )
        assert.equal(bytes.status, 2, bytes.stdout)
        assert.match(bytes.stderr, /holds U\+FFFD/)

        const key = join(machine.dataDir, "keystore", `${id}.json`)
        renameSync(key, `${key}.gone`)
        await expectError(
          ["agent", "sign", id, "hello"],
          4,
          /cannot sign: its sealed key .* does not exist\.\nnext: Put .* back from your own copy/m,
        )
        assert.match((await waiaas("agent", "list")).stdout, /active, sealed key missing/)
        assert.match((await waiaas("agent", "show", id)).stdout, /sealed key: missing, so it cannot sign/)
        const lost = /warning: 1 of 1 agent cannot sign, its sealed key is missing or damaged \(trea sury\)/
        assert.match((await machine.mustWaiaas(["status"])).stdout, lost)
        assert.deepEqual(JSON.parse((await machine.mustWaiaas(["status", "--json"])).stdout).missingKeys, [
          { id, name: "trea sury" },
        ])
        writeFileSync(key, "{}", { mode: 0o600 })
        assert.match((await waiaas("agent", "show", id)).stdout, /sealed key: does not open/)
        await expectError(["agent", "sign", id, "hello"], 4, /is not a sealed key\.\nnext: Put /m)
        renameSync(`${key}.gone`, key)
        assert.doesNotMatch((await machine.mustWaiaas(["status"])).stdout, /cannot sign/)

        const token = join(machine.dataDir, "api.token")
        rmSync(token)
        await expectError(
          ["agent", "list"],
          4,
          /API token .* does not exist\.\nnext: waiaas stop && waiaas init && waiaas start --background$/m,
        )
        writeFileSync(token, "not\na token\n", { mode: 0o600 })
        await expectError(["agent", "list"], 4, /is not 64 hexadecimal digits/)
        writeFileSync(token, `${"0".repeat(64)}\n`, { mode: 0o600 })
        await expectError(
          ["agent", "list"],
          4,
          /does not accept the API token.*\nnext: waiaas stop && waiaas start --background$/m,
        )
        assert.equal((await machine.mustWaiaas(["stop"])).code, 0)
        await expectError(
          ["agent", "list"],
          1,
          /^error: The daemon is not running\.\nnext: waiaas start --background$/m,
        )
        assert.match((await machine.mustWaiaas(["agent", "create", "--help"])).stdout, /which\s+blockchain/)
      })
    }),
  LIMIT,
)
