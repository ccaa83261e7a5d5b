import { createHash } from "node:crypto"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { npmFailureOf } from "@waiaas/domain/NpmFailure"
import { redactText } from "@waiaas/domain/Redact"
import { NpmInstaller, notGlobal, otherManager } from "@waiaas/services/NpmInstaller"
import type { ProcessResult } from "@waiaas/services/platform/ProcessRunner"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Call, hurried, release, scenario } from "./npm.ts"
import { layerPlatform, temporaryDirectory } from "./support.ts"

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

  it.live("npm is given the very bytes of a tarball that were judged, whatever becomes of the file", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryDirectory
      const file = `${directory}/release.tgz`
      const seen: Array<string> = []
      yield* scenario(
        ({ args }) =>
          Effect.gen(function* () {
            yield* fs.writeFileString(file, "another one")
            seen.push(
              yield* fs.readFileString(args[2] ?? ""),
              String((yield* fs.stat(args[2] ?? "")).mode & 0o777),
            )
            return { exitCode: 1 }
          }).pipe(Effect.orDie),
        ({ calls }) =>
          Effect.gen(function* () {
            const npm = yield* NpmInstaller
            const install = yield* npm.install
            const judged = createHash("sha256").update("judged").digest("hex")
            const stage = npm.stage(install, 1, { _tag: "Tarball", file, sha256: judged })
            yield* Effect.orDie(fs.writeFileString(file, "judged"))
            yield* Effect.flip(stage)
            assert.deepStrictEqual(seen, ["judged", String(0o600)])
            const asked = calls.length
            const changed = yield* Effect.flip(stage)
            assert.match(changed.message, /release\.tgz: it was changed while it was read/)
            assert.strictEqual(calls.length, asked)
            assert.strictEqual(seen.length, 2)
          }),
      )
    }).pipe(Effect.scoped, Effect.provide(layerPlatform())),
  )

  it.live("asks npm globally, from the prefix, with the prefix's own configuration, by argv", () =>
    scenario(
      () => ({ stdout: release }),
      ({ prefix, calls }) =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const found = yield* npm.resolve(yield* npm.install, "latest")
          assert.strictEqual(found.release.version, "2.1.0")
          const [first, call] = calls
          assert.includeMembers(
            [...(first?.args ?? [])],
            ["config", "list", "--json", "--global", `--globalconfig=${prefix}/etc/npmrc`],
          )
          assert.strictEqual(call?.cwd, prefix)
          assert.includeMembers(
            [...(call?.args ?? [])],
            [
              `${prefix}/bin/npm`,
              "@waiaas/cli@latest",
              "--global=true",
              `--globalconfig=${prefix}/etc/npmrc`,
            ],
          )
        }),
    ),
  )

  it.live("an answer that npm 12 wraps in a list is the same answer", () =>
    scenario(
      () => ({ stdout: `[${release}]` }),
      () =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const found = yield* npm.resolve(yield* npm.install, "latest")
          assert.strictEqual(found.release.version, "2.1.0")
        }),
    ),
  )

  it.live("an empty list is no version", () =>
    scenario(
      ({ args }) => ({
        stdout: args.includes("dist-tags") ? '[{"dist-tags":{"latest":"2.0.0"}}]' : "[]",
      }),
      () =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          const error = yield* Effect.flip(npm.resolve(yield* npm.install, "latest"))
          assert.strictEqual(error.kind, "no-such-version")
          assert.include(error.message, "has no latest; its newest is 2.0.0")
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

  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString()
  /** 2.1.0 is two days old, 2.0.5 is ten, 2.1.0-rc.1 eight. */
  const aged = ({ args }: Call) => {
    const spec = args[2] ?? ""
    if (args.includes("time"))
      return {
        stdout: JSON.stringify({
          name: "@waiaas/cli",
          time: { "2.0.0": daysAgo(90), "2.0.5": daysAgo(10), "2.1.0-rc.1": daysAgo(8), "2.1.0": daysAgo(2) },
          versions: ["2.0.0", "2.0.5", "2.1.0-rc.1", "2.1.0"],
        }),
      }
    const version = spec === "@waiaas/cli@latest" ? "2.1.0" : spec.replace("@waiaas/cli@", "")
    return { stdout: JSON.stringify({ name: "@waiaas/cli", version }) }
  }
  const resolved = (settings: Record<string, unknown>, spec: string) =>
    scenario(
      aged,
      () =>
        Effect.gen(function* () {
          const npm = yield* NpmInstaller
          return yield* Effect.either(npm.resolve(yield* npm.install, spec))
        }),
      { settings },
    )
  const versionOf = (found: Effect.Effect.Success<ReturnType<typeof resolved>>) =>
    found._tag === "Right" ? found.right.release.version : found.left.kind

  it.live("npm's age limits decide what is newest, and the limit is named", () =>
    Effect.gen(function* () {
      const age = { "min-release-age": 7 }
      const found = yield* resolved(age, "latest")
      assert.strictEqual(versionOf(found), "2.0.5")
      const held = found._tag === "Right" ? (found.right.heldBack ?? "") : ""
      assert.match(held, /2\.1\.0 was published on .* min-release-age=7 allows it from/)
      const exact = yield* resolved(age, "2.1.0")
      assert.strictEqual(versionOf(exact), "too-young")
      assert.strictEqual(versionOf(yield* resolved(age, "2.0.5")), "2.0.5")
      assert.strictEqual(versionOf(yield* resolved({ before: daysAgo(5) }, "latest")), "2.0.5")
      assert.strictEqual(versionOf(yield* resolved({ before: daysAgo(50), ...age }, "latest")), "2.0.0")
      assert.strictEqual(versionOf(yield* resolved({ before: daysAgo(365) }, "latest")), "too-young")
      assert.strictEqual(versionOf(yield* resolved({ "min-release-age": 1 }, "latest")), "2.1.0")
      // An npm that does not know the setting does nothing with its text.
      assert.strictEqual(versionOf(yield* resolved({ "min-release-age": "7" }, "latest")), "2.1.0")
      for (const pattern of ["@waiaas/cli", "@waiaas/*", "left-pad, @waiaas/c?i", "**"])
        assert.strictEqual(
          versionOf(yield* resolved({ ...age, "min-release-age-exclude": [pattern] }, "latest")),
          "2.1.0",
          pattern,
        )
      for (const pattern of ["*", "@waiaas", "waiaas/cli", "!x"])
        assert.strictEqual(
          versionOf(yield* resolved({ ...age, "min-release-age-exclude": [pattern] }, "latest")),
          "2.0.5",
          pattern,
        )
    }),
  )

  it.live("offline=true is refused by its name", () =>
    Effect.gen(function* () {
      const found = yield* resolved({ offline: true }, "latest")
      assert.strictEqual(versionOf(found), "offline")
      assert.include(found._tag === "Left" ? found.left.message : "", "offline=true")
      assert.include(found._tag === "Left" ? found.left.next : "", "--from")
    }),
  )

  it.live("the registry is the scope's own before the general one, without credentials", () =>
    Effect.gen(function* () {
      const registryWith = (settings: Record<string, unknown>) =>
        scenario(
          () => ({}),
          () =>
            Effect.gen(function* () {
              const npm = yield* NpmInstaller
              return yield* npm.registry(yield* npm.install)
            }),
          { settings },
        )
      assert.strictEqual(yield* registryWith({}), "http://registry.test/")
      assert.strictEqual(yield* registryWith({ "@waiaas:registry": "http://b.test" }), "http://b.test/")
      const corp = { "@corp:registry": "http://corp.test/npm" }
      assert.strictEqual(yield* registryWith(corp), "http://registry.test/")
      assert.strictEqual(yield* registryWith({ ...corp, scope: "corp" }), "http://corp.test/npm")
      assert.strictEqual(yield* registryWith({ registry: "https://me:secret@r.test/" }), "https://r.test/")
    }),
  )

  it.live("a path that npm was refused says whether it is the cache's or the prefix's", () =>
    Effect.gen(function* () {
      const failing = (code: string, path: string) =>
        scenario(
          () => ({
            exitCode: 1,
            stdout: JSON.stringify({ error: { code, summary: "refused", detail: "" } }),
            stderr: `npm error code ${code}\nnpm error path ${path}`,
          }),
          ({ prefix }) =>
            Effect.gen(function* () {
              const npm = yield* NpmInstaller
              const install = yield* npm.install
              const asked = yield* Effect.flip(npm.resolve(install, "latest"))
              const staged = yield* Effect.flip(npm.stage(install, 1, { _tag: "Registry", version: "2.1.0" }))
              const kinds = [asked, staged].map((error) =>
                error._tag === "NpmFailed" ? error.kind : error._tag,
              )
              return { kinds, asked, prefix }
            }),
          { settings: { cache: "/home/op/.npm" } },
        )
      for (const [code, path] of [
        ["EACCES", "/home/op/.npm/_cacache/tmp"],
        ["EACCES", "/home"],
        ["EROFS", "/home/op/.npm"],
        ["ENOTDIR", "/home/op/.npm/_cacache"],
      ] as const) {
        const { kinds, asked } = yield* failing(code, path)
        assert.deepStrictEqual(kinds, ["no-cache", "no-cache"], path)
        assert.include(asked.message, "/home/op/.npm")
        assert.include(asked.next, "npm_config_cache")
      }
      const { kinds, asked } = yield* failing("EACCES", "/home/op/.npmrc")
      assert.deepStrictEqual(kinds, ["no-file", "no-file"])
      assert.include(asked.message, "/home/op/.npmrc")
    }),
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

  it.live(
    "a young release is passed over for the newest old one of its channel, by the order of versions",
    () =>
      Effect.gen(function* () {
        const at = new Date("2026-01-10T12:00:00Z").getTime()
        const time = {
          "1.9.0": "2026-01-01T00:00:00Z",
          "2.0.9": "2026-01-02T00:00:00Z",
          "2.0.10": "2026-01-03T00:00:00Z",
          "2.1.0-rc.1": "2026-01-03T06:00:00Z",
          "2.1.0-beta.1": "2026-01-03T06:00:00Z",
          "2.1.0": "2026-01-09T00:00:00Z",
          "2.1.0-rc.2": "2026-01-09T00:00:00Z",
          "3.0.0": "2026-01-01T00:00:00Z",
          "v2.0.11": "2026-01-01T00:00:00Z",
        }
        const found = (
          settings: Record<string, unknown>,
          spec: string,
          versions: unknown = Object.keys(time),
          times: unknown = time,
        ) =>
          scenario(
            ({ args }) => {
              const asked = (args[2] ?? "").replace("@waiaas/cli@", "")
              const version = { latest: "2.1.0", rc: "2.1.0-rc.2" }[asked] ?? asked
              return {
                stdout: JSON.stringify(
                  args.includes("time")
                    ? { name: "@waiaas/cli", time: times, versions }
                    : { name: "@waiaas/cli", version },
                ),
              }
            },
            () =>
              Effect.gen(function* () {
                const npm = yield* NpmInstaller
                const either = yield* Effect.either(npm.resolve(yield* npm.install, spec))
                return either._tag === "Left"
                  ? [either.left.kind, either.left.message]
                  : [either.right.release.version, either.right.heldBack]
              }),
            { settings, environment: { now: Effect.succeed(at) } },
          )
        const days = (count: number) => ({ "min-release-age": count })
        // A newer release than the tag's is none of the tag's, however old.
        const [version, why] = yield* found(days(3), "latest")
        assert.strictEqual(version, "2.0.10")
        assert.strictEqual(
          why,
          "2.1.0 was published on 2026-01-09, and npm's setting min-release-age=3 allows it from 2026-01-12T00:00Z on",
        )
        assert.strictEqual((yield* found(days(3), "rc"))[0], "2.1.0-rc.1")
        // On the very limit it is old enough.
        assert.deepStrictEqual(yield* found(days(1.5), "latest"), ["2.1.0", null])
        assert.strictEqual((yield* found(days(1.4), "latest"))[0], "2.1.0")
        assert.strictEqual((yield* found(days(1.6), "latest"))[0], "2.0.10")
        const [, before] = yield* found({ before: "2026-01-05" }, "latest")
        assert.strictEqual(
          before,
          "2.1.0 was published on 2026-01-09, and npm's setting before=2026-01-05 does not allow it",
        )
        const [kind, message] = yield* found(days(3), "2.1.0")
        assert.strictEqual(kind, "too-young")
        assert.include(message, "allows it from 2026-01-12")
        // A list of one is written as its element; a registry without times or versions knows no age and no other.
        assert.strictEqual((yield* found(days(3), "latest", "2.0.9"))[0], "2.0.9")
        assert.strictEqual((yield* found(days(3), "latest", null))[0], "unexpected-output")
        assert.strictEqual(
          (yield* found(days(3), "latest", undefined, { "2.1.0": time["2.1.0"] }))[0],
          "2.0.10",
        )
        assert.deepStrictEqual(yield* found(days(3), "latest", [], {}), ["2.1.0", null])
      }),
  )

  it.live("what the registry lacks is named with what it has, and a failure on the way is no lack", () =>
    Effect.gen(function* () {
      const failing = (answer: (call: Call) => Partial<ProcessResult>, spec = "9.9.9") =>
        scenario(answer, ({ calls }) =>
          Effect.gen(function* () {
            const npm = yield* NpmInstaller
            const error = yield* Effect.flip(npm.resolve(yield* npm.install, spec))
            return { error, asked: calls.slice(1).map(({ args }) => args[2]) }
          }),
        )
      const missing = { exitCode: 1, stdout: '{"error":{"code":"E404"}}' }
      const ofPackage = ({ args }: Call) => args[2] === "@waiaas/cli"
      const version = yield* failing((call) =>
        ofPackage(call) ? { stdout: '{"name":"@waiaas/cli","dist-tags":{"latest":"2.1.0"}}' } : missing,
      )
      assert.strictEqual(version.error.kind, "no-such-version")
      assert.include(version.error.message, "http://registry.test/ has no 9.9.9; its newest is 2.1.0.")
      assert.deepStrictEqual(version.asked, ["@waiaas/cli@9.9.9", "@waiaas/cli"])
      const untagged = yield* failing((call) => (ofPackage(call) ? { stdout: "{}" } : missing))
      assert.include(untagged.error.message, "has no 9.9.9.")
      const whole = yield* failing(() => missing)
      assert.strictEqual(whole.error.kind, "no-such-package")
      assert.include(whole.error.message, "http://registry.test/ has no @waiaas/cli")
      const silent = yield* failing(() => ({ stdout: " \n" }))
      assert.strictEqual(silent.error.kind, "no-such-package")
      const broken = yield* failing((call) => (ofPackage(call) ? { exitCode: 1 } : missing))
      assert.strictEqual(broken.error.kind, "no-such-version")
      assert.include(broken.error.message, "has no 9.9.9.")
      const down = yield* failing(() => ({ exitCode: 1, stderr: "npm error code ECONNREFUSED" }))
      assert.strictEqual(down.error.kind, "no-network")
      assert.deepStrictEqual(down.asked, ["@waiaas/cli@9.9.9"])
      const odd = yield* failing(() => ({ stdout: `//me:hunter2@r.test ${"x".repeat(600)}` }))
      assert.strictEqual(odd.error.output, "x".repeat(500))
      const short = yield* failing(() => ({ stdout: "//me:hunter2@r.test " }))
      assert.match(short.error.output, /^\/\/.*r\.test$/)
      assert.notInclude(short.error.output, "hunter2")
    }),
  )

  it.live(
    "a command that leads to the package by other links, or to one that is being exchanged, is npm's",
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const found = (change: (prefix: string) => Effect.Effect<void, unknown>) =>
          scenario(
            () => ({}),
            ({ prefix }) =>
              Effect.zipRight(
                Effect.orDie(change(prefix)),
                Effect.flatMap(NpmInstaller, ({ install }) => install),
              ),
          )
        yield* found((prefix) => fs.writeFileString(`${prefix}/lib/node_modules/@waiaas/cli/dist/bin.js`, ""))
        yield* found((prefix) =>
          Effect.gen(function* () {
            const bin = `${prefix}/lib/node_modules/@waiaas/cli/dist/bin.js`
            yield* fs.writeFileString(bin, "")
            yield* fs.symlink(bin, `${prefix}/other`)
            yield* fs.remove(`${prefix}/bin/waiaas`)
            yield* fs.symlink("../other", `${prefix}/bin/waiaas`)
          }),
        )
        // A run that was cut off leaves it so, with or without the package in its place.
        yield* found((prefix) =>
          Effect.gen(function* () {
            yield* fs.remove(`${prefix}/bin/waiaas`)
            yield* fs.symlink(
              "../lib/node_modules/.waiaas/retained/2.0.0/dist/bin.js",
              `${prefix}/bin/waiaas`,
            )
          }),
        )
      }).pipe(Effect.provide(NodeFileSystem.layer)),
  )

  it.live("a package that is nobody's global install of npm is refused before anything is asked", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const refused = (change: (prefix: string) => Effect.Effect<void, unknown>) =>
        scenario(
          () => ({}),
          ({ prefix, calls }) =>
            Effect.gen(function* () {
              yield* Effect.orDie(change(prefix))
              const error = yield* Effect.flip((yield* NpmInstaller).install)
              assert.deepStrictEqual(calls, [])
              return error
            }),
        )
      const unlinked = yield* refused((prefix) => fs.remove(`${prefix}/bin/waiaas`))
      assert.include(unlinked.message, "something else than npm install --global")
      const file = yield* refused((prefix) =>
        Effect.zipRight(fs.remove(`${prefix}/bin/waiaas`), fs.writeFileString(`${prefix}/bin/waiaas`, "#!")),
      )
      assert.strictEqual(file._tag, "NotNpmGlobal")
      assert.match(file.message, /bin\/waiaas is no link, .* an upgrade does not replace it\.$/)
      const wrapper = yield* refused((prefix) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(`${prefix}/wrapper`, "#!")
          yield* fs.remove(`${prefix}/bin/waiaas`)
          yield* fs.symlink("../wrapper", `${prefix}/bin/waiaas`)
        }),
      )
      assert.match(wrapper.message, /bin\/waiaas leads to \.\.\/wrapper, not to .*dist\/bin\.js/)
      assert.match(wrapper.next, /^mv (\S+) \1\.own && ln -s \S+\/dist\/bin\.js \1$/)
      for (const [place, manager] of [
        ["/.pnpm/x/lib/node_modules/@waiaas/cli", "pnpm"],
        ["/checkout/packages/cli", "a source checkout"],
        ["/lib/node_modules/.waiaas/retained/2.0.0", "is a link to"],
      ] as const) {
        const found = yield* refused((prefix) =>
          Effect.gen(function* () {
            const from = `${prefix}/lib/node_modules/@waiaas/cli`
            yield* fs.makeDirectory(`${prefix}${place}`, { recursive: true })
            yield* fs.remove(from, { recursive: true })
            yield* fs.symlink(`${prefix}${place}`, from)
          }),
        )
        assert.include(found.message, manager)
      }
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )

  it.live("a package in the place of the installed one that cannot be read is none", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      yield* scenario(
        () => ({}),
        ({ prefix }) =>
          Effect.gen(function* () {
            const npm = yield* NpmInstaller
            const install = yield* npm.install
            yield* Effect.orDie(
              fs.writeFileString(`${prefix}/lib/node_modules/@waiaas/cli/package.json`, "{"),
            )
            const error = yield* Effect.flip(npm.expectInstalled(install, "2.0.0"))
            assert.include(error.message, "the installed package is not readable by now")
          }),
      )
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )
})

describe("npm's failures are distinguished by the code in its JSON, never by its sentences", () => {
  const cases = [
    ["EACCES", "no-permission"],
    ["E404", "no-such-version"],
    ["ETARGET", "no-such-version"],
    ["ECONNREFUSED", "no-network"],
    ["ENOTCACHED", "no-network"],
    ["E503", "no-network"],
    ["E401", "no-access"],
    ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "no-trust"],
    ["EINTEGRITY", "integrity"],
    ["ENOSPC", "no-space"],
    ["ESTRICTALLOWSCRIPTS", "script-blocked"],
    ["EUNKNOWNCONFIG", "settings"],
    ["ENEW", "other"],
  ] as const
  for (const [code, kind] of cases) {
    const summary = "ENOSPC: aucun espace; E404 EACCES"
    it(`${kind}: ${code}`, () => {
      assert.strictEqual(
        npmFailureOf({
          stdout: JSON.stringify({ error: { code, summary, detail: "" } }, null, 2),
          stderr: summary,
        }).kind,
        kind,
      )
      // An npm that dies before it writes JSON has logged the same code.
      assert.strictEqual(
        npmFailureOf({ stdout: "", stderr: `npm error code ${code}\nnpm error ${summary}` }).kind,
        kind,
      )
    })
  }
  it("words without a code are of no kind", () =>
    assert.strictEqual(npmFailureOf({ stdout: "", stderr: "npm error ENOSPC no space left" }).kind, "other"))
})

describe("other package managers own their directories", () => {
  const cases = [
    ["/home/u/.local/share/pnpm/global/5/.pnpm/@waiaas+cli@2.0.0/node_modules/@waiaas/cli", "pnpm"],
    // Its global store, which several projects share.
    ["/home/u/pn/store/v11/links/@waiaas/cli/2.0.0/fde2ed74c3f7/node_modules/@waiaas/cli", "pnpm"],
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

it("a package outside of npm's global directory is named as what it is: npx, a project's, a source checkout", () => {
  for (const [path, manager, command] of [
    ["/home/op/.npm/_npx/1a2b/node_modules/@waiaas/cli", "npx", "npm install --global @waiaas/cli"],
    [
      "/home/op/my app/node_modules/@waiaas/cli",
      "npm install without --global",
      "npm install --prefix '/home/op/my app' @waiaas/cli@latest",
    ],
    ["/home/op/waiaas/packages/cli", "a source checkout", "git pull && npm ci"],
  ] as const)
    assert.deepStrictEqual(notGlobal(path), { manager, command })
})
