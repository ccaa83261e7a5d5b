import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { redactText } from "@waiaas/domain/Redact"
import { kindOf, NpmInstaller, otherManager } from "@waiaas/services/NpmInstaller"
import { ProcessFailed, type ProcessResult, ProcessRunner } from "@waiaas/services/platform/ProcessRunner"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerPlatform, temporaryDirectory } from "./support.ts"

type Call = { readonly args: ReadonlyArray<string>; readonly cwd: string | undefined }

/** A prefix as nvm lays it out, and npm as a process that answers what the test says. */
const scenario = <A, E>(
  answer: (call: Call) => Partial<ProcessResult> | "timeout" | Effect.Effect<Partial<ProcessResult>>,
  test: (context: {
    readonly prefix: string
    readonly calls: Array<Call>
  }) => Effect.Effect<A, E, NpmInstaller>,
  options: { readonly container?: boolean } = {},
) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const prefix = yield* temporaryDirectory
    const packageDir = `${prefix}/lib/node_modules/@waiaas/cli`
    yield* fs.makeDirectory(`${packageDir}/dist`, { recursive: true })
    yield* fs.makeDirectory(`${prefix}/bin`)
    yield* fs.writeFileString(`${prefix}/bin/npm`, "")
    yield* fs.writeFileString(
      `${packageDir}/package.json`,
      JSON.stringify({ name: "@waiaas/cli", version: "2.0.0" }),
    )
    yield* fs.symlink("../lib/node_modules/@waiaas/cli/dist/bin.js", `${prefix}/bin/waiaas`)
    const calls: Array<Call> = []
    const runner = Layer.succeed(
      ProcessRunner,
      ProcessRunner.of({
        run: ({ command, args, cwd }) => {
          const call = { args, cwd }
          calls.push(call)
          const said = answer(call)
          return said === "timeout"
            ? new ProcessFailed({ command, reason: "timeout", output: "npm http fetch" })
            : Effect.map(Effect.isEffect(said) ? said : Effect.succeed(said), (result) => ({
                exitCode: 0,
                signal: null,
                stdout: "",
                stderr: "",
                ...result,
              }))
        },
        detach: () => Effect.die("npm is never detached"),
        identity: () => Effect.die("not asked"),
        signal: () => Effect.die("not asked"),
      }),
    )
    return yield* test({ prefix, calls }).pipe(
      Effect.provide(NpmInstaller.layer),
      Effect.provide(runner),
      Effect.provide(layerPlatform({ node: `${prefix}/bin/node`, packageDir, ...options })),
    )
  }).pipe(Effect.scoped, Effect.provide(layerPlatform()))

const release = JSON.stringify({
  name: "@waiaas/cli",
  version: "2.1.0",
  waiaas: { upgradeProtocol: 1, schema: { minimum: 3, latest: 5 }, stops: [] },
})

describe("NpmInstaller", () => {
  it.live("finds the npm global install that the code belongs to", () =>
    scenario(
      () => ({}),
      ({ prefix }) =>
        Effect.gen(function* () {
          const { install } = yield* NpmInstaller
          const found = yield* install
          assert.deepStrictEqual(found, {
            prefix,
            root: `${prefix}/lib/node_modules`,
            packageDir: `${prefix}/lib/node_modules/@waiaas/cli`,
            binLink: `${prefix}/bin/waiaas`,
            hidden: `${prefix}/lib/node_modules/.waiaas`,
            node: `${prefix}/bin/node`,
          })
        }),
    ),
  )

  it.live("asks npm globally, from the prefix, with the prefix's own configuration, by argv", () =>
    scenario(
      () => ({ stdout: release }),
      ({ prefix, calls }) =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const found = yield* npm.resolve(yield* npm.install, "latest")
          assert.strictEqual(found.version, "2.1.0")
          const [call] = calls
          assert.strictEqual(call?.cwd, prefix)
          assert.includeMembers(
            [...(call?.args ?? [])],
            [`${prefix}/bin/npm`, "@waiaas/cli@latest", "--global", `--globalconfig=${prefix}/etc/npmrc`],
          )
        }),
    ),
  )

  it.live("refuses to act in a container image, with the command that fits there", () =>
    scenario(
      () => ({}),
      () =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const error = yield* Effect.flip(npm.install)
          assert.strictEqual(error._tag, "NotNpmGlobal")
          assert.include(error.message, "container")
        }),
      { container: true },
    ),
  )

  it.live("an answer that is no release document is a typed error", () =>
    scenario(
      () => ({ stdout: "<html>proxy login</html>" }),
      () =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const error = yield* Effect.flip(npm.resolve(yield* npm.install, "latest"))
          assert.strictEqual(error.kind, "unexpected-output")
        }),
    ),
  )

  it.live("a hanging npm is ended, and says so", () =>
    scenario(
      () => "timeout",
      () =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const error = yield* Effect.flip(npm.resolve(yield* npm.install, "2.1.0"))
          assert.strictEqual(error.kind, "timeout")
          assert.include(error.next, "again")
        }),
    ),
  )

  it.live("npm that exits 0 without having installed anything is no success", () =>
    scenario(
      () => ({}),
      () =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const error = yield* Effect.flip(
            npm.stage(yield* npm.install, 1, { _tag: "Registry", version: "2.1.0" }),
          )
          assert.strictEqual(error._tag, "CandidateBroken")
        }),
    ),
  )

  /** A clock on which a minute passes in 40 milliseconds. */
  const hurried = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.clockWith((clock) => {
      const sleep: typeof clock.sleep = (time) => clock.sleep(Duration.times(time, 1 / 1500))
      return Effect.withClock(effect, Object.create(clock, { sleep: { value: sleep } }))
    })
  const minutes = (count: number) => Effect.sleep(Duration.minutes(count))
  const prefixOf = ({ args }: Call) =>
    args.find((arg) => arg.startsWith("--prefix="))?.slice("--prefix=".length) ?? ""

  it.live("an install may take as long as it likes while something of it arrives", () =>
    scenario(
      (call) =>
        Effect.gen(function* () {
          const fs = yield* FileSystem.FileSystem
          const staged = `${prefixOf(call)}/lib/node_modules/@waiaas/cli`
          yield* fs.makeDirectory(`${staged}/dist`, { recursive: true })
          for (const name of ["dist/bin.js", "dist/daemon.js", "dist/tool.js", "package.json"]) {
            yield* minutes(9)
            yield* fs.writeFileString(`${staged}/${name}`, release)
          }
          yield* minutes(9)
          return {}
        }).pipe(Effect.provide(NodeFileSystem.layer), Effect.orDie),
      () =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const staged = yield* npm.stage(yield* npm.install, 1, { _tag: "Registry", version: "2.1.0" })
          assert.strictEqual(staged.version, "2.1.0")
        }),
    ).pipe(hurried),
  )

  it.live("an install of which nothing arrives any more is ended, and says so", () =>
    scenario(
      () => Effect.never,
      () =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const install = yield* npm.install
          const error = yield* Effect.flip(npm.stage(install, 1, { _tag: "Registry", version: "2.1.0" }))
          assert.strictEqual(error._tag === "NpmFailed" ? error.kind : error._tag, "timeout")
          assert.include(error.next, "waiaas upgrade")
          // As inside a run.
        }).pipe(Effect.uninterruptible),
    ).pipe(hurried),
  )

  it.live("another version in the package's place is seen under the lock", () =>
    scenario(
      () => ({}),
      () =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const install = yield* npm.install
          yield* npm.expectInstalled(install, "2.0.0")
          const error = yield* Effect.flip(npm.expectInstalled(install, "1.9.0"))
          assert.include(error.message, "2.0.0")
        }),
    ),
  )
})

describe("npm's failures are told apart", () => {
  const cases = [
    ["npm error code EACCES\nnpm error syscall mkdir", "no-permission"],
    ["npm error code E404\nnpm error 404 Not Found", "no-such-version"],
    [
      "npm error code ETARGET\nnpm error notarget No matching version found for @waiaas/cli@9.9.9.",
      "no-such-version",
    ],
    [
      "npm error code ETARGET\nnpm error notarget No matching version found for @waiaas/cli@2.1.0 with a date before 11/1/2026",
      "too-young",
    ],
    ["npm error code ECONNREFUSED\nnpm error network request failed", "no-network"],
    ["npm error code ENOTCACHED", "no-network"],
    ["npm error code E503\nnpm error 503 Service Unavailable", "no-network"],
    ["npm error code EINTEGRITY\nnpm error sha512-... integrity checksum failed", "integrity"],
    ["npm error code ENOSPC\nnpm error nospc ENOSPC: no space left on device, write", "no-space"],
    ["npm error code ESTRICTALLOWSCRIPTS", "script-blocked"],
    ["something new", "other"],
  ] as const
  for (const [stderr, kind] of cases)
    it(`${kind}: ${stderr.split("\n")[0]}`, () => assert.strictEqual(kindOf({ stderr, stdout: "" }), kind))
})

describe("other package managers own their directories", () => {
  const cases = [
    ["/home/u/.local/share/pnpm/global/5/.pnpm/@waiaas+cli@2.0.0/node_modules/@waiaas/cli", "pnpm"],
    ["/home/u/.config/yarn/global/node_modules/@waiaas/cli", "yarn"],
    ["/home/u/.bun/install/global/node_modules/@waiaas/cli", "bun"],
    ["/opt/homebrew/Cellar/waiaas/2.0.0/libexec/lib/node_modules/@waiaas/cli", "Homebrew"],
    ["/home/u/.volta/tools/image/packages/@waiaas/cli/lib/node_modules/@waiaas/cli", "Volta"],
  ] as const
  for (const [path, manager] of cases)
    it(manager, () => {
      assert.strictEqual(otherManager(path)?.manager, manager)
      assert.include(otherManager(path)?.command, "waiaas backup create")
    })
  for (const root of [
    "/home/u/.nvm/versions/node/v24.1.0",
    // Homebrew's Node: the formula is node's, the global packages are npm's.
    "/opt/homebrew",
    "/home/linuxbrew/.linuxbrew",
    "/opt/homebrew/Cellar/node/24.1.0",
  ])
    it(`npm's global root in ${root} is nobody else's`, () =>
      assert.strictEqual(otherManager(`${root}/lib/node_modules/@waiaas/cli`), null))
})

it("npm's words carry no secret", () => {
  for (const [text, secret] of [
    ["npm error //user:hunter2@registry/", "hunter2"],
    ["npm error https://s3cr3ttoken@registry.example/x", "s3cr3ttoken"],
    ["npm error GET https://registry.example/x?access_key=s3cr3t&b=1", "s3cr3t"],
    ["//registry/:_authToken=npm_abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz"],
    ["//registry/:_password = aHVudGVyMg==", "aHVudGVyMg"],
    ['"authorization": "Bearer abc.def"', "abc.def"],
  ] as const)
    assert.notInclude(redactText(text), secret)
  const harmless = "npm error 404 Not Found - GET https://registry.example/@waiaas%2fcli - Not found"
  assert.strictEqual(redactText(harmless), harmless)
})
