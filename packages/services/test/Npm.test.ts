/** How npm is called, what is made of its failures, and when it is given up. */
import { basename, dirname } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { FileFailed } from "@waiaas/domain/DataErrors"
import type { NpmFailed } from "@waiaas/domain/PackageErrors"
import { NpmInstaller, type Source } from "@waiaas/services/NpmInstaller"
import type { ProcessResult } from "@waiaas/services/platform/ProcessRunner"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Call, release, scenario, tarball } from "./npm.ts"

const newest: Source = { _tag: "Registry", version: "2.1.0" }
const resolve = Effect.gen(function* () {
  const npm = yield* NpmInstaller
  return yield* npm.resolve(yield* npm.install, "latest")
})
const stage = (source: Source = newest) =>
  Effect.gen(function* () {
    const npm = yield* NpmInstaller
    return yield* npm.stage(yield* npm.install, 1, source)
  })
const flagsOf = (call: Call | undefined) => (call?.args ?? []).filter((arg) => arg.startsWith("--")).sort()
const npmFailed = <E extends { readonly _tag: string }>(error: E) => {
  assert.strictEqual(error._tag, "NpmFailed")
  return error as unknown as NpmFailed
}

describe("npm", () => {
  it.live("is the one next to the Node that runs this, with its links resolved, and no other", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const below = "lib/node_modules/npm/bin/npm-cli.js"
      const called = (own: boolean, bundled: boolean) =>
        scenario(
          () => ({ stdout: release }),
          ({ prefix, calls }) =>
            Effect.gen(function* () {
              yield* fs.makeDirectory(`${prefix}/lib/node_modules/npm/bin`, { recursive: true })
              yield* fs.writeFileString(`${prefix}/lib/node_modules/npm/bin/other.js`, "")
              yield* fs.remove(`${prefix}/bin/npm`)
              if (own) yield* fs.symlink(`../lib/node_modules/npm/bin/other.js`, `${prefix}/bin/npm`)
              if (bundled) yield* fs.writeFileString(`${prefix}/${below}`, "")
              const result = yield* Effect.either(resolve)
              const ran = calls.map(({ command, args }) => [command, args[0]])
              return { prefix, ran, kind: result._tag === "Left" ? result.left : null }
            }).pipe(Effect.orDie),
        )
      const both = yield* called(true, true)
      const other = [`${both.prefix}/bin/node`, `${both.prefix}/lib/node_modules/npm/bin/other.js`]
      assert.deepStrictEqual(both.ran, [other, other])
      const bundled = yield* called(false, true)
      const inside = [`${bundled.prefix}/bin/node`, `${bundled.prefix}/${below}`]
      assert.deepStrictEqual(bundled.ran, [inside, inside])
      const none = yield* called(false, false)
      assert.deepStrictEqual(none.ran, [])
      const failed = none.kind === null ? assert.fail("it was found") : npmFailed(none.kind)
      assert.strictEqual(failed.kind, "no-npm")
      assert.include(failed.output, `${none.prefix}/bin/node`)
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )

  it.live("that cannot be looked for is none, with the system's reason", () =>
    scenario(
      () => ({ stdout: release }),
      ({ calls }) =>
        Effect.gen(function* () {
          const failed = npmFailed(yield* Effect.flip(resolve))
          assert.strictEqual(failed.kind, "no-npm")
          assert.include(failed.output, "EIO")
          assert.deepStrictEqual(calls, [])
        }),
      {
        files: (real) => ({
          ...real,
          exists: (path) =>
            path.endsWith("/bin/npm")
              ? new FileFailed({ operation: "look for", path, code: "EIO" })
              : real.exists(path),
        }),
      },
    ),
  )

  it.live("has a directory for temporary files in which one can be made, or its own choice", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const place = yield* fs.makeTempDirectoryScoped()
      yield* fs.writeFileString(`${place}/file`, "")
      const given = (variables: Record<string, string>) =>
        scenario(
          () => ({ stdout: release }),
          ({ calls }) =>
            Effect.map(resolve, () => {
              const { TMPDIR, TMP, TEMP } = calls[0]?.env ?? {}
              return [TMPDIR, TMP, TEMP]
            }),
          { environment: { variables } },
        )
      for (const name of ["/proc", "/nowhere/at/all", `${place}/file`])
        for (const variable of ["TMPDIR", "TMP", "TEMP"])
          assert.deepStrictEqual(yield* given({ [variable]: name }), [undefined, undefined, undefined])
      assert.isFalse(yield* fs.exists("/nowhere"))
      assert.deepStrictEqual(yield* given({ TMPDIR: place }), [place, undefined, undefined])
      assert.deepStrictEqual(yield* fs.readDirectory(place), ["file"])
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )

  it.live("finds its own Node first in PATH, runs in the prefix, and may write to the package", () =>
    Effect.gen(function* () {
      const called = (variables: Record<string, string>) =>
        scenario(
          () => ({ stdout: release }),
          ({ prefix, calls }) =>
            Effect.gen(function* () {
              yield* resolve
              yield* Effect.flip(stage())
              assert.strictEqual(calls.length, 3)
              for (const call of calls) {
                assert.strictEqual(call.cwd, prefix)
                assert.strictEqual(call.asInstaller, true)
                assert.strictEqual(call.env?.HTTPS_PROXY, variables.HTTPS_PROXY)
              }
              const limits = calls.map(({ timeout }) => Duration.toSeconds(Duration.decode(timeout)))
              assert.deepStrictEqual(limits, [60, 60, Number.POSITIVE_INFINITY])
              return calls[0]?.env?.PATH?.replace(prefix, "<prefix>")
            }),
          { environment: { variables } },
        )
      assert.strictEqual(
        yield* called({ PATH: "/opt/bin", HTTPS_PROXY: "http://p.test" }),
        "<prefix>/bin:/opt/bin",
      )
      assert.strictEqual(yield* called({}), "<prefix>/bin:/usr/bin:/bin")
    }),
  )

  it.live("is asked for its settings once, and its answer counts only with exit code 0", () =>
    scenario(
      ({ args }) =>
        args[1] === "config" ? { stdout: '{"registry":"http://a.test/"}' } : { stdout: release },
      ({ calls }) =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const install = yield* npm.install
          assert.strictEqual(yield* npm.registry(install), "http://a.test/")
          yield* npm.resolve(install, "latest")
          const asked = () => calls.filter(({ args }) => args[1] === "config").length
          assert.strictEqual(asked(), 1)
          assert.strictEqual(
            yield* npm.registry({ ...install, prefix: `${install.prefix}/` }),
            "http://a.test/",
          )
          assert.strictEqual(asked(), 2, "another prefix has settings of its own")
        }),
      { settings: "asked" },
    ),
  )

  it.live("that cannot say its settings fails with its own reason, else with its settings", () =>
    Effect.gen(function* () {
      const failing = (result: Partial<ProcessResult>) =>
        scenario(
          () => result,
          () =>
            Effect.gen(function* () {
              const npm = yield* NpmInstaller
              const error = npmFailed(yield* Effect.flip(npm.registry(yield* npm.install)))
              assert.strictEqual(error.asked, "config list")
              return error.kind
            }),
          { settings: "asked" },
        )
      assert.strictEqual(yield* failing({ exitCode: 1, stdout: '{"registry":"http://a.test/"}' }), "settings")
      assert.strictEqual(yield* failing({ exitCode: 0, stdout: "npm WARN odd" }), "settings")
      assert.strictEqual(yield* failing({ exitCode: 1, stderr: "npm error code ENOSPC" }), "no-space")
      assert.strictEqual(yield* failing({ exitCode: null, signal: "SIGKILL" }), "settings")
    }),
  )

  it.live("is given no flag that it does not know, and those of its own that decide", () =>
    scenario(
      () => ({ stdout: release }),
      ({ prefix, calls }) =>
        Effect.gen(function* () {
          yield* resolve
          yield* Effect.flip(stage())
          const essential = [
            "--dry-run=false",
            "--global=true",
            `--globalconfig=${prefix}/etc/npmrc`,
            "--json=true",
            "--loglevel=error",
          ]
          assert.deepStrictEqual(flagsOf(calls[1]), essential)
          assert.deepStrictEqual(
            flagsOf(calls[2]),
            [
              ...essential,
              "--ignore-scripts=true",
              "--offline=false",
              `--prefix=${prefix}/lib/node_modules/.waiaas/staging-1`,
            ].sort(),
          )
          const [, ...words] = (calls[2]?.args ?? []).filter((arg) => !arg.startsWith("--"))
          assert.deepStrictEqual(words, ["install", "@waiaas/cli@2.1.0"])
        }),
      { settings: "asked", environment: {} },
    ),
  )

  it.live("stages for this system and processor; what is in a file without a registry", () =>
    Effect.gen(function* () {
      const given = yield* tarball
      yield* scenario(
        () => ({}),
        ({ prefix, calls }) =>
          Effect.gen(function* () {
            for (const source of [newest, { ...given, file: basename(given.file) }])
              assert.strictEqual((yield* Effect.flip(stage(source)))._tag, "CandidateBroken")
            const [, online, offline] = calls
            const staging = `${prefix}/lib/node_modules/.waiaas/staging-1`
            for (const call of [online, offline])
              assert.includeMembers(flagsOf(call), [
                "--os=linux",
                "--cpu=arm64",
                "--ignore-scripts=true",
                "--dry-run=false",
                "--umask=022",
                `--prefix=${staging}`,
              ])
            assert.includeMembers(flagsOf(online), ["--offline=false", "--prefer-online=true"])
            assert.includeMembers(flagsOf(offline), ["--offline=true", "--prefer-online=false"])
            assert.deepStrictEqual(offline?.args.slice(1, 3), ["install", `${staging}/package.tgz`])
          }),
        { environment: { architecture: "arm64", cwd: dirname(given.file) } },
      )
    }).pipe(Effect.scoped),
  )

  it.live("with offline=true installs a file, and is not sent to a registry", () =>
    Effect.gen(function* () {
      const given = yield* tarball
      yield* scenario(
        () => ({}),
        ({ calls }) =>
          Effect.gen(function* () {
            const refused = npmFailed(yield* Effect.flip(stage()))
            assert.deepStrictEqual([refused.kind, refused.asked], ["offline", "install @waiaas/cli@2.1.0"])
            assert.strictEqual(calls.length, 1)
            yield* Effect.flip(stage(given))
            assert.strictEqual(calls.length, 2)
          }),
        { settings: { offline: true } },
      )
    }).pipe(Effect.scoped),
  )
})

describe("a failure of npm", () => {
  const failing = (
    result: Partial<ProcessResult> | ((prefix: string) => Partial<ProcessResult>),
    settings: Record<string, unknown> = { cache: "/home/op/.npm" },
  ) =>
    scenario(
      ({ cwd = "" }) => ({ exitCode: 1, ...(typeof result === "function" ? result(cwd) : result) }),
      ({ prefix }) =>
        Effect.gen(function* () {
          const asked = npmFailed(yield* Effect.flip(resolve))
          const staged = npmFailed(yield* Effect.flip(stage()))
          const short = ({ kind, subject }: NpmFailed) => [kind, subject?.replace(prefix, "<prefix>")]
          return { asked, staged, short: [short(asked), short(staged)] }
        }),
      { settings },
    )
  const code = (name: string, path?: string) => ({
    stderr: `npm error code ${name}${path === undefined ? "" : `\nnpm error path ${path}`}`,
  })

  it.live("names the registry that it is about, and nothing where it is about none", () =>
    Effect.gen(function* () {
      const registry = "http://registry.test/"
      for (const [name, kind] of [
        ["ECONNREFUSED", "no-network"],
        ["E403", "no-access"],
        ["CERT_HAS_EXPIRED", "no-trust"],
      ] as const)
        assert.deepStrictEqual((yield* failing(code(name))).short, [
          [kind, registry],
          [kind, registry],
        ])
      for (const [name, kind] of [
        ["EINTEGRITY", "integrity"],
        ["ENOSPC", "no-space"],
      ] as const)
        assert.deepStrictEqual((yield* failing(code(name, "/x"))).short, [
          [kind, undefined],
          [kind, undefined],
        ])
    }),
  )

  it.live("names the path that the system refused: a staged file's, the cache's, another's", () =>
    Effect.gen(function* () {
      const inRoot = (below: string) => (prefix: string) =>
        code("EACCES", `${prefix}/lib/node_modules${below}`)
      for (const below of ["", "/.waiaas/staging-1/lib"])
        assert.deepStrictEqual((yield* failing(inRoot(below))).short, [
          ["no-file", `<prefix>/lib/node_modules${below}`],
          ["no-permission", `<prefix>/lib/node_modules${below}`],
        ])
      // A name that only begins like it lies elsewhere.
      assert.deepStrictEqual((yield* failing(inRoot("-old/x"))).short[1], [
        "no-file",
        "<prefix>/lib/node_modules-old/x",
      ])
      const cache = ["no-cache", "/home/op/.npm"]
      for (const path of ["/home/op/.npm", "/home/op/.npm/_cacache", "/home/op", "/"])
        assert.deepStrictEqual((yield* failing(code("EPERM", path))).short, [cache, cache], path)
      for (const path of ["/home/op/.npmrc", "/home/o", "/home/op/.np"])
        assert.deepStrictEqual((yield* failing(code("EPERM", path))).short[0], ["no-file", path], path)
      // What npm names no path of is its cache where nothing else is written, else the place of the package.
      assert.deepStrictEqual((yield* failing(code("EACCES"))).short, [cache, ["no-permission", undefined]])
      // npm's own word for another failure is not changed by where it happened; one that it has no word for is.
      for (const [name, kind] of [
        ["ENOSPC", ["no-space", undefined]],
        ["ENOTDIR", cache],
      ] as const)
        assert.deepStrictEqual<unknown>((yield* failing(code(name, "/home/op/.npm/_cacache"))).short[0], kind)
      assert.deepStrictEqual((yield* failing(code("EACCES"), { cache: 7 })).short[0], ["no-cache", undefined])
      assert.deepStrictEqual((yield* failing(code("EACCES"), { cache: null })).short[0], [
        "no-cache",
        undefined,
      ])
      assert.deepStrictEqual((yield* failing(code("EACCES", "/x"), { cache: 7 })).short[0], ["no-file", "/x"])
      assert.deepStrictEqual((yield* failing(code("ENOTDIR", "/x"))).short[0], ["other", undefined])
      assert.deepStrictEqual((yield* failing(code("ENOTDIR"))).short[0], ["other", undefined])
    }),
  )

  it.live("keeps npm's summary, else its last eight lines that say something, without secrets", () =>
    Effect.gen(function* () {
      const lines = Array.from({ length: 10 }, (_, index) => `npm error line ${index}`)
      const noise = [
        "",
        "  ",
        "npm error A complete log of this run can be found in: /x",
        "npm error     /home/op/.npm/_logs/1-debug-0.log",
        "npm error     at async run (file.js:1:1)",
      ]
      const both = yield* failing({ stdout: "of stdout", stderr: [...lines, ...noise].join("\n") })
      assert.strictEqual(both.asked.output, lines.slice(2).join("\n"))
      assert.strictEqual(both.staged.output, lines.slice(2).join("\n"))
      assert.strictEqual((yield* failing({ stdout: "of stdout" })).asked.output, "of stdout")
      const summary = JSON.stringify({ error: { code: "E1", summary: "at //me:hunter2@r.test" } })
      const { asked } = yield* failing({ stdout: summary, stderr: "npm error code E1" })
      assert.match(asked.output, /^at .*r\.test$/)
      assert.notInclude(asked.output, "hunter2")
      assert.notInclude((yield* failing({ stderr: "//me:hunter2@r.test" })).asked.output, "hunter2")
    }),
  )

  it.live("that could not be run at all is none of a time limit", () =>
    scenario(
      () => "not-found",
      () =>
        Effect.gen(function* () {
          const error = npmFailed(yield* Effect.flip(resolve))
          assert.strictEqual(error.kind, "other")
          assert.match(error.asked, /^view @waiaas\/cli@latest( |$)/)
        }),
    ),
  )
})

describe("an install", () => {
  /** What is in the staging directory at each inspection: bytes, or the code that it cannot be inspected with. */
  const inspected = (contentAt: (inspection: number) => number | string) =>
    Effect.gen(function* () {
      const waits: Array<number> = []
      let inspections = 0
      const clock = yield* Effect.clock
      const sleep = (time: Duration.Duration) => {
        waits.push(Duration.toSeconds(time))
        return Effect.yieldNow()
      }
      const error = yield* scenario(
        () => Effect.never,
        () =>
          Effect.gen(function* () {
            const npm = yield* NpmInstaller
            const install = yield* npm.install
            return yield* Effect.flip(npm.stage(install, 1, newest)).pipe(
              Effect.withClock(Object.create(clock, { sleep: { value: sleep } })),
            )
          }),
        {
          files: (real) => ({
            ...real,
            sizeOfTree: (path) => {
              const content = contentAt(++inspections)
              return typeof content === "number"
                ? Effect.succeed(content)
                : new FileFailed({ operation: "read", path, code: content })
            },
          }),
        },
      )
      return { error: npmFailed(error), inspections, waits }
    })

  it.live("is ended after 15 minutes in which nothing of it arrived, counted from the last change", () =>
    Effect.gen(function* () {
      const none = yield* inspected(() => 0)
      assert.strictEqual(none.error.kind, "timeout")
      assert.deepStrictEqual(none.waits, new Array(30).fill(30))
      const some = yield* inspected((count) => (count < 21 ? count : 7))
      assert.strictEqual(some.error.kind, "timeout")
      assert.strictEqual(some.inspections, 21 + 30)
      // What was moved away while it was listed is a change, too.
      const moved = yield* inspected((count) => (count < 41 ? "ENOENT" : 0))
      assert.strictEqual(moved.inspections, 41 + 30)
    }),
  )

  it.live("whose directory cannot be inspected ends with the system's reason", () =>
    Effect.gen(function* () {
      const { error, inspections } = yield* inspected(() => "EIO")
      assert.deepStrictEqual([error.kind, inspections], ["other", 1])
      assert.include(error.output, "EIO")
    }),
  )
})
