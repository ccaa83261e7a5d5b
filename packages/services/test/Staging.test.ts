/** What npm installed is made durable and taken for the candidate only where it is what was asked for. */
import { createHash } from "node:crypto"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { buildOf } from "@waiaas/services/BuildDigest"
import { NpmInstaller, type Source } from "@waiaas/services/NpmInstaller"
import type { ProcessResult } from "@waiaas/services/platform/ProcessRunner"
import * as Effect from "effect/Effect"
import { type Call, scenario, tarball } from "./npm.ts"

const code = { "dist/bin.js": "b", "dist/daemon.js": "d", "dist/tool.js": "t" }
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")
const build = buildOf(Object.entries(code).map(([path, text]) => [path, sha256(text)] as const))
const other = "2".repeat(64)
const block = { upgradeProtocol: 1, schema: { minimum: 3, latest: 5 }, stops: [], build }
const manifest = { name: "@waiaas/cli", version: "2.1.0", waiaas: block }
const whole: Readonly<Record<string, string>> = {
  "package.json": JSON.stringify(manifest),
  ...code,
}
const of = (...parts: ReadonlyArray<object>) => ({
  ...whole,
  "package.json": JSON.stringify(Object.assign({}, manifest, ...parts)),
})
/** It names no build, as one that was packed by hand does. */
const unnamed = of({ waiaas: { ...block, build: undefined } })
const without = (name: string) => Object.fromEntries(Object.entries(unnamed).filter(([key]) => key !== name))
const prefixOf = ({ args }: Call) =>
  args.find((arg) => arg.startsWith("--prefix="))?.slice("--prefix=".length) ?? ""

/** npm as it installs these files, under the umask of somebody careful. */
const installing = (files: Readonly<Record<string, string>>) => (call: Call) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const directory = `${prefixOf(call)}/lib/node_modules/@waiaas/cli`
    yield* fs.makeDirectory(`${directory}/dist`, { recursive: true })
    for (const [name, text] of Object.entries(files)) {
      yield* fs.writeFileString(`${directory}/${name}`, text)
      yield* fs.chmod(`${directory}/${name}`, 0o600)
    }
    yield* fs.chmod(`${directory}/dist`, 0o700)
    return {}
  }).pipe(Effect.provide(NodeFileSystem.layer), Effect.orDie)

const fromRegistry: Source = { _tag: "Registry", version: "2.1.0", build }
const staged = (source: Source) =>
  Effect.gen(function* () {
    const npm = yield* NpmInstaller
    return yield* npm.stage(yield* npm.install, 3, source)
  })

describe("a candidate", () => {
  it.live("is synced before it counts, in a fresh place, and everybody may read it", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const acts: Array<string> = []
      const note = (act: string) => Effect.sync(() => void acts.push(act))
      yield* scenario(
        installing(whole),
        ({ prefix }) =>
          Effect.gen(function* () {
            const staging = `${prefix}/lib/node_modules/.waiaas/staging-3`
            yield* fs.makeDirectory(`${staging}/lib/node_modules/@waiaas/cli`, { recursive: true })
            yield* fs.writeFileString(`${staging}/lib/node_modules/@waiaas/cli/left`, "of an attempt before")
            assert.strictEqual((yield* staged(fromRegistry)).version, "2.1.0")
            const directory = `${staging}/lib/node_modules/@waiaas/cli`
            assert.isFalse(yield* fs.exists(`${directory}/left`))
            for (const [name, mode] of [
              ["dist/bin.js", 0o755],
              ["dist/daemon.js", 0o644],
              ["dist", 0o755],
            ] as const)
              assert.strictEqual((yield* fs.stat(`${directory}/${name}`)).mode & 0o777, mode, name)
            assert.deepStrictEqual(
              acts,
              ["remove", "publish", "sync"].map((act) => `${act} ${staging}`),
            )
          }).pipe(Effect.orDie),
        {
          files: (real) => ({
            ...real,
            remove: (path) => Effect.zipRight(note(`remove ${path}`), real.remove(path)),
            publishTree: (path) => Effect.zipRight(note(`publish ${path}`), real.publishTree(path)),
            syncTree: (path) => Effect.zipRight(note(`sync ${path}`), real.syncTree(path)),
          }),
        },
      )
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )

  it.live("of another name, version or build, or without one of its programs, is broken", () =>
    Effect.gen(function* () {
      const fromFile = yield* tarball
      const result = (files: Readonly<Record<string, string>>, source: Source) =>
        Effect.map(
          scenario(installing(files), () => Effect.either(staged(source))),
          (found) =>
            found._tag === "Right"
              ? found.right.version
              : found.left._tag === "CandidateBroken"
                ? `${found.left.version}: ${found.left.problem}`
                : found.left.message,
        )
      for (const [files, source, said] of [
        [whole, fromRegistry, /^2\.1\.0$/],
        [whole, fromFile, /^2\.1\.0$/],
        // Only a registry's metadata names a version and a build beforehand.
        [of({ version: "2.2.0" }), fromFile, /^2\.2\.0$/],
        [unnamed, fromFile, /^2\.1\.0$/],
        [unnamed, { ...fromRegistry, build: undefined }, /^2\.1\.0$/],
        // What a package says of itself is compared with its code.
        [of({ waiaas: { ...block, build: other } }), fromFile, /its code is another build/],
        [{ ...whole, "dist/tool.js": "changed" }, fromRegistry, /its code is another build/],
        [of({ name: "left-pad" }), fromRegistry, /^2\.1\.0: its package\.json is not that of @waiaas\/cli/],
        [of({ name: "left-pad" }), fromFile, /release\.tgz: its package\.json is not that of @waiaas\/cli/],
        [{ ...whole, "package.json": "{" }, fromRegistry, /its package\.json is not that of @waiaas\/cli/],
        [of({ version: "2.1.1" }), fromRegistry, /npm installed version 2\.1\.1/],
        [of({ waiaas: { ...block, build: other } }), fromRegistry, /another build than the one/],
        [of({ waiaas: undefined }), fromRegistry, /another build than the one/],
        [without("dist/bin.js"), { ...fromRegistry, build: undefined }, /dist\/bin\.js is missing/],
        [without("dist/daemon.js"), fromFile, /dist\/daemon\.js is missing/],
        [without("dist/tool.js"), fromFile, /dist\/tool\.js is missing/],
      ] as ReadonlyArray<readonly [Readonly<Record<string, string>>, Source, RegExp]>)
        assert.match(yield* result(files, source), said)
      const none = yield* Effect.flip(
        scenario(
          () => ({}),
          () => staged(fromRegistry),
        ),
      )
      assert.match(none.message, /npm installed no @waiaas\/cli/)
    }).pipe(Effect.scoped),
  )
})

it.live("a tarball's own copy is no part of what is installed", () =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const given = yield* tarball
    yield* scenario(
      (call) =>
        Effect.gen(function* () {
          assert.strictEqual(call.args[2], `${prefixOf(call)}/package.tgz`)
          return yield* installing(whole)(call)
        }),
      ({ prefix }) =>
        Effect.gen(function* () {
          yield* staged(given)
          const left = yield* fs.readDirectory(`${prefix}/lib/node_modules/.waiaas/staging-3`)
          assert.deepStrictEqual(left, ["lib"])
        }),
    )
  }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
)

describe("a version that npm does not find", () => {
  const missing = (settings: Record<string, unknown>, source: Source, kind = "ETARGET") =>
    scenario(
      () => ({ exitCode: 1, stderr: `npm error code ${kind}` }) as Partial<ProcessResult>,
      () => Effect.flip(staged(source)),
      { settings },
    )
  it.live("is one that the registry lacks, unless an age limit hides it", () =>
    Effect.gen(function* () {
      const fromFile = yield* tarball
      const lacked = yield* missing({}, fromRegistry)
      assert.include(lacked.message, "http://registry.test/ has no 2.1.0")
      assert.strictEqual(lacked._tag === "NpmFailed" && lacked.kind, "no-such-version")
      const young = yield* missing({ "min-release-age": 3 }, fromRegistry)
      assert.strictEqual(young._tag === "NpmFailed" && young.kind, "too-young")
      assert.match(young.message, /min-release-age=3 does not allow 2\.1\.0, or the registry lacks it/)
      // Of a file npm lacks a dependency: that is no word about the release.
      const file = yield* missing({ "min-release-age": 3 }, fromFile)
      assert.strictEqual(file._tag === "NpmFailed" && file.kind, "no-such-version")
      assert.notInclude(file.message, "min-release-age")
      const full = yield* missing({ "min-release-age": 3 }, fromRegistry, "ENOSPC")
      assert.strictEqual(full._tag === "NpmFailed" && full.kind, "no-space")
      const odd = yield* missing({ registry: "ftp://r.test" }, fromRegistry)
      assert.include(odd.message, "the registry has no 2.1.0")
    }).pipe(Effect.scoped),
  )
})
