/** The installed command in real pipes and in odd places, as scripts and shells use it. */
import { strict as assert } from "node:assert"
import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { run } from "../../scripts/lib/run.mts"
import type { Machine } from "../support/machine.mts"
import { release } from "../support/releases.mts"
import { databaseOf, installedMachine } from "../support/scoped.mts"
import { execute } from "../support/sqlite.mts"

const LIMIT = 60_000
const AGENTS = 1500

const addAgents = (machine: Machine) =>
  execute(
    databaseOf(machine),
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${AGENTS})
     INSERT INTO agents (id, name, chain, network, public_key, status, created_at, updated_at)
     SELECT printf('00000000-0000-4000-8000-%012d', i), 'agent-' || i, 'solana', 'mainnet',
            printf('%064d', i), 'active', 1700000000, 1700000000 FROM n`,
  )

/** `waiaas ...` in a shell's pipe: what the reader prints, and the command's own code and stderr. */
const piped = async (machine: Machine, command: string, reader: string) => {
  const line = `(${machine.bin} ${command}; echo "code $?" >&2) ${reader}`
  const { stdout, stderr } = await run("/bin/bash", ["-c", line], { cwd: machine.home, env: machine.env() })
  return { stdout, stderr }
}

it.scopedLive(
  "every byte of every command reaches a reader that is slow, as text and as JSON",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      addAgents(machine)
      yield* Effect.promise(async () => {
        const slow = "| (sleep 0.5; cat)"
        const text = await piped(machine, "agent list", slow)
        assert.equal(text.stdout.split("\n").length, AGENTS + 2)
        assert.equal(text.stderr, "code 0\n")
        const json = await piped(machine, "agent list --json", slow)
        assert.equal(JSON.parse(json.stdout).length, AGENTS)
        for (const command of ["completions bash", "completions zsh", "upgrade --help", "--help", "status"]) {
          const whole = (await machine.mustWaiaas(command.split(" "))).stdout
          assert.equal((await piped(machine, command, slow)).stdout, whole, command)
        }
        const failed = await piped(machine, `agent show ${"x".repeat(100_000)} --json`, slow)
        assert.match(failed.stdout, /^\{"event":"Failed".*\}\n$/)
        assert.match(failed.stderr, /^code [12]$/m)
      })
    }),
  LIMIT,
)

it.scopedLive(
  "a reader that has enough is no failure of any command, and a full disk is one",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      addAgents(machine)
      yield* Effect.promise(async () => {
        for (const command of [
          "agent list",
          "agent list --json",
          "--help",
          "--version",
          "upgrade --help",
          "status",
          "status --json",
          "health",
          "backup list",
          "backup create",
          "completions bash",
          "upgrade --status",
        ])
          for (const reader of ["| head -1", "| true"])
            assert.equal((await piped(machine, command, reader)).stderr, "code 0\n", `${command} ${reader}`)
        const failed = await piped(machine, "backup verify none --json", "| true")
        assert.match(failed.stderr, /^error: There is no .*\nnext: waiaas backup list\ncode 4\n$/)
        if (existsSync("/dev/full"))
          for (const command of ["agent list", "--help", "status", "--version"])
            assert.match(
              (await piped(machine, command, ">/dev/full")).stderr,
              /^error: The output could not be written \(ENOSPC\)\. .*\nnext: .*\ncode 1\n$/,
              command,
            )
        const { code } = await machine.waiaas(["stop"])
        assert.equal(code, 0)
      })
    }),
  LIMIT,
)

it.scopedLive(
  "a working directory that does not exist any more keeps no command from its work",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false, daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const gone = join(machine.home, "gone")
        const inGone = async (command: string, env: Record<string, string> = {}) => {
          mkdirSync(gone)
          const line = `cd ${gone} && rmdir ${gone} && exec ${machine.bin} ${command}`
          return run("/bin/bash", ["-c", line], { cwd: machine.home, env: machine.env(env) })
        }
        const other = join(machine.home, "other")
        for (const command of [
          "--version",
          "--help",
          "status",
          `init --data-dir ${other}`,
          "start --background",
          "health",
          "status --json",
          "agent create alice",
          "agent list",
          "backup create",
          "backup list",
          "upgrade --status",
          "stop",
        ]) {
          const { code, stderr } = await inGone(command)
          assert.equal(code, 0, `${command}: ${stderr}`)
        }
        // npm is a child of ours; what keeps the upgrade from going on is the registry alone.
        const upgrade = await inGone("upgrade")
        assert.match(upgrade.stderr, /the registry \S* ?cannot be reached/)
        for (const [command, path] of [
          ["status --data-dir d", "d"],
          ["start --data-dir d", "d"],
          ["init --data-dir ./d", "./d"],
          ["upgrade --from x.tgz", "x.tgz"],
          ["upgrade --dry-run --from x.tgz", "x.tgz"],
        ]) {
          const { code, stderr } = await inGone(command ?? "")
          assert.equal(code, 2, command)
          assert.ok(
            stderr.includes(
              `error: The working directory does not exist any more, so the relative path ${path} `,
            ),
            stderr,
          )
        }
        const sealed = await inGone("start --background", { WAIAAS_MASTER_PASSWORD_FILE: "password" })
        assert.equal(sealed.code, 2)
        rmSync(gone, { force: true })
      })
    }),
  LIMIT,
)

it.scopedLive(
  "a file of the package that is cut off or gone is named, with the command that puts it back",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ start: false, daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const install = "next: npm install --global @waiaas/cli@2.0.0\n"
        for (const [file, commands] of [
          ["daemon.js", ["start", "start --background", `init --data-dir ${join(machine.home, "other")}`]],
          ["cli.js", ["stop", "upgrade --check"]],
          ["status.js", ["status"]],
        ] as const) {
          const path = join(machine.packageDir, "dist", file)
          const whole = readFileSync(path)
          // The first leaves no program; what the second leaves is one, which does nothing.
          const inside = whole.indexOf("(", Math.floor(whole.length / 2)) + 1
          const cuts = [inside, 0].map((size) => () => truncateSync(path, size))
          for (const damage of [...cuts, () => rmSync(path)]) {
            damage()
            for (const command of commands) {
              const { code, stdout, stderr } = await machine.waiaas(command.split(" "))
              assert.deepEqual([code, stdout], [1, ""], `${command}: ${stderr}`)
              assert.match(stderr, new RegExp(`^error: The installed package is damaged: .*${file} `, "m"))
              assert.ok(stderr.endsWith(install), stderr)
            }
          }
          writeFileSync(path, whole)
        }
        await machine.mustWaiaas(["status"])
      })
    }),
  LIMIT,
)

it.scopedLive(
  "what to type after a dry run or an interruption names the same file again",
  () =>
    Effect.gen(function* () {
      const machine = yield* installedMachine({ daemon: { update_check: false } })
      yield* Effect.promise(async () => {
        const file = await release("2.1.0", 5)
        const next = `next: waiaas upgrade --from ${file}\n`
        const dry = await machine.mustWaiaas(["upgrade", "--dry-run", "--from", file])
        assert.ok(dry.stdout.endsWith(next), dry.stdout)
        const live = machine.spawnWaiaas(["upgrade", "--from", file])
        await live.says(/staging 2\.1\.0/)
        live.child.kill("SIGINT")
        assert.equal((await live.exit).code, 130)
        assert.ok(live.stderr().endsWith(next), live.stderr())
        // In order: the step, what became of it, the way back.
        assert.match(live.stderr(), /^\[1\/7\] Check\n[\s\S]*\n +failed: Interrupted\.\n +recovery: /)
      })
    }),
  LIMIT,
)
