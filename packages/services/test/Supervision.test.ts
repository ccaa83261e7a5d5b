/** Who starts a daemon again: proven by its parent, and by what that says of itself. */
import { mkdirSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import type { DaemonFacts } from "@waiaas/domain/DaemonFacts"
import { makeVersion } from "@waiaas/domain/Version"
import { ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import type { ProcessAbout } from "@waiaas/services/platform/ProcessTable"
import { Supervision, secondsOf, supervisorOf } from "@waiaas/services/Supervision"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerPlatform, temporaryDirectory } from "./support.ts"

const program = (name: string, ...argv: ReadonlyArray<string>) => ({ name, argv })

describe("the supervisor of a process", () => {
  const pm2 = { pm_id: "0", name: "agent" }
  const unit = { INVOCATION_ID: "a", SYSTEMD_EXEC_PID: "7" }
  const cases = [
    ["runsv is runit", {}, program("runsv"), "runit"],
    ["pm2's daemon, which names itself so", pm2, program("PM2 v7.0.4: God"), "pm2"],
    ["pm2 in the foreground", pm2, program("node", "node", "/usr/bin/pm2-runtime"), "pm2"],
    ["systemd, of the main process of a unit", unit, program("systemd"), "systemd"],
    ["systemd before 248", { INVOCATION_ID: "a" }, program("systemd"), "systemd"],
    ["pm2's variables alone are nobody", pm2, program("systemd"), null],
    ["pm2's variables below a shell are nobody", pm2, program("bash", "bash", "pm2"), null],
    ["systemd's variables alone are nobody", unit, program("node"), null],
    ["what a unit has left behind is nobody's", { ...unit, SYSTEMD_EXEC_PID: "6" }, program("systemd"), null],
    ["a login session's is nobody's", {}, program("systemd"), null],
    ["a parent that is gone is nobody", { ...pm2, ...unit }, null, null],
  ] as const
  for (const [what, variables, parent, expected] of cases)
    it(what, () => assert.strictEqual(supervisorOf(7, false, { variables }, parent), expected))

  it("the first process of our image is the container's", () => {
    assert.strictEqual(supervisorOf(1, true, { variables: {} }, null), "container")
    assert.isNull(supervisorOf(1, false, { variables: {} }, null))
  })
})

const facts = (supervisor: DaemonFacts["supervisor"]): DaemonFacts => ({
  format: 1,
  pid: 7,
  processStart: "7",
  instance: "0".repeat(32),
  version: makeVersion("2.0.0"),
  hostname: "127.0.0.1",
  port: 3100,
  supervisor,
  packageDir: "/p",
  configDigest: "",
  shutdownTimeout: 30,
  startedAt: 0,
})

interface Given {
  readonly variables?: Readonly<Record<string, string>>
  readonly parent: string
  readonly directory?: string
  /** What `systemctl show` answers; where it is not given, systemctl is not there. */
  readonly systemctl?: string
}

const proveWith = (supervisor: DaemonFacts["supervisor"], given: Given) =>
  Effect.gen(function* () {
    const runner = yield* ProcessRunner
    const asked: Array<ReadonlyArray<string>> = []
    const about = (own: Partial<ProcessAbout>): ProcessAbout => ({
      parent: 3,
      name: "",
      argv: [],
      directory: "",
      variables: {},
      group: "",
      ...own,
    })
    const fake = Layer.succeed(ProcessRunner, {
      ...runner,
      about: (pid) =>
        Effect.succeed(
          Option.some(
            pid === 7
              ? about({ variables: given.variables ?? {}, group: "/system.slice/waiaas.service" })
              : about({ name: given.parent, directory: given.directory ?? "" }),
          ),
        ),
      run: ({ command, args }) => {
        asked.push([command, ...args])
        return given.systemctl === undefined
          ? runner.run({ command: "/no/such/program", args: [], timeout: "1 second" })
          : Effect.succeed({ exitCode: 0, signal: null, stdout: given.systemctl, stderr: "" })
      },
    })
    const proof = yield* Effect.flatMap(Supervision, ({ prove }) => prove(facts(supervisor))).pipe(
      Effect.provide(Layer.provide(Supervision.layer, fake)),
    )
    return { ...proof, asked }
  }).pipe(Effect.provide(layerPlatform()))

describe("a supervisor is relied on only where it is proven", () => {
  it.effect("nobody was, nobody is", () =>
    Effect.gen(function* () {
      assert.isNull((yield* proveWith(null, { parent: "runsv" })).supervisor)
    }),
  )

  it.effect("one that has gone since, or that only a variable named", () =>
    Effect.gen(function* () {
      const proof = yield* proveWith("pm2", { parent: "bash", variables: { pm_id: "0" } })
      assert.deepStrictEqual([proof.supervisor, proof.warning], [null, null])
    }),
  )

  const variables = { INVOCATION_ID: "a" }
  const shows = (main: number, policy: string, delay = "1s") =>
    `MainPID=${main}\nRestart=${policy}\nRestartUSec=${delay}\n`
  for (const policy of ["always", "on-success"])
    it.effect(`systemd with Restart=${policy}, which is given its own delay`, () =>
      Effect.gen(function* () {
        const systemctl = shows(7, policy, "1min 30s")
        const proof = yield* proveWith("systemd", { parent: "systemd", variables, systemctl })
        assert.deepStrictEqual([proof.supervisor, proof.patience, proof.warning], ["systemd", 100, null])
        assert.deepStrictEqual(proof.asked[0]?.slice(0, 2), ["systemctl", "show"])
        assert.deepStrictEqual(proof.asked[0]?.slice(-2), ["--", "waiaas.service"])
      }),
    )
  for (const policy of ["no", "on-failure", "on-abnormal"])
    it.effect(
      `not systemd with Restart=${policy}: the operator reads it, and how to hand the daemon back`,
      () =>
        Effect.gen(function* () {
          const systemctl = shows(7, policy)
          const proof = yield* proveWith("systemd", { parent: "systemd", variables, systemctl })
          assert.isNull(proof.supervisor)
          assert.include(proof.warning ?? "", `Restart=${policy}`)
          assert.include(proof.warning ?? "", "systemctl start waiaas.service")
        }),
    )
  it.effect("not the unit whose main process is another one", () =>
    Effect.gen(function* () {
      const systemctl = shows(8, "always")
      const proof = yield* proveWith("systemd", { parent: "systemd", variables, systemctl })
      assert.deepStrictEqual([proof.supervisor, proof.warning], [null, null])
    }),
  )
  it.effect("a systemd that does not answer is still the parent", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        (yield* proveWith("systemd", { parent: "systemd", variables })).supervisor,
        "systemd",
      )
    }),
  )

  it.scoped("runit, unless its service is to stay down", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      mkdirSync(`${directory}/supervise`)
      const expected: ReadonlyArray<readonly [string, string | null]> = [
        ["run\n", "runit"],
        ["run, got TERM\n", "runit"],
        ["run, want down\n", null],
      ]
      assert.strictEqual((yield* proveWith("runit", { parent: "runsv", directory })).supervisor, "runit")
      for (const [stat, supervisor] of expected) {
        writeFileSync(`${directory}/supervise/stat`, stat)
        const proof = yield* proveWith("runit", { parent: "runsv", directory })
        assert.strictEqual(proof.supervisor, supervisor, stat)
        assert.strictEqual(proof.warning === null, supervisor !== null)
      }
    }).pipe(Effect.provide(layerPlatform())),
  )

  const pm2 = [
    ["autorestarts", { autorestart: "true" }, "pm2"],
    ["does not", { autorestart: "false" }, null],
    ["takes an orderly end for its last one", { autorestart: "true", stop_exit_codes: "1,0" }, null],
    ["takes other ends for it", { autorestart: "true", stop_exit_codes: "10" }, "pm2"],
  ] as const
  for (const [what, policy, expected] of pm2)
    it.effect(`pm2 that ${what}: ${expected ?? "nobody"}`, () =>
      Effect.gen(function* () {
        const given = { parent: "PM2 v7.0.4: God", variables: { pm_id: "0", name: "wallet", ...policy } }
        const proof = yield* proveWith("pm2", given)
        assert.strictEqual(proof.supervisor, expected)
        if (expected === null) assert.include(proof.warning ?? "", "pm2 start wallet")
      }),
    )

  it("reads systemd's spans", () => {
    for (const [span, seconds] of [
      ["100ms", 0.1],
      ["1s", 1],
      ["1min 30s", 90],
      ["2h", 7200],
      ["", 0],
      ["infinity", 0],
    ] as const)
      assert.strictEqual(secondsOf(span), seconds)
  })
})
