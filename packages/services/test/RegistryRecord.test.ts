/** The registry that npm uses is recorded once, and asked for again only where npm's settings may have changed. */
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, it } from "@effect/vitest"
import type { Install } from "@waiaas/domain/Install"
import { makeVersion } from "@waiaas/domain/Version"
import { checkSettings } from "@waiaas/services/CheckReport"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { versionKeys } from "@waiaas/services/KeyValueStore"
import { NpmInstaller } from "@waiaas/services/NpmInstaller"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { Environment } from "@waiaas/services/platform/Environment"
import { recordRegistry } from "@waiaas/services/RegistryRecord"
import { noticeFor } from "@waiaas/services/UpdateNotifier"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerDataDir, temporaryDirectory } from "./support.ts"

const fixture = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const root = yield* temporaryDirectory
  const [prefix, home] = [`${root}/node`, `${root}/home`]
  for (const directory of [`${prefix}/etc`, `${prefix}/lib/node_modules/npm`, home])
    yield* fs.makeDirectory(directory, { recursive: true })
  const state = { registry: "http://a.test/", ageLimit: null as string | null, asked: 0 }
  const installer = Layer.succeed(NpmInstaller, {
    install: Effect.succeed({ prefix } as Install),
    registry: () =>
      Effect.sync(() => {
        state.asked++
        return state.registry
      }),
    ageLimit: () => Effect.sync(() => state.ageLimit),
  } as unknown as NpmInstaller["Type"])
  const environment = yield* Environment
  /** Whether the record is another one now, and whether npm was asked. */
  const record = (variables: Record<string, string> = {}) =>
    Effect.gen(function* () {
      const before = state.asked
      const isOther = yield* recordRegistry
      return [isOther, state.asked > before]
    }).pipe(
      Effect.provide(installer),
      Effect.provideService(Environment, { ...environment, home, node: `${prefix}/bin/node`, variables }),
    )
  const { paths } = yield* DataDir
  const recorded = Effect.map(fs.readFileString(paths.registry), (text) => JSON.parse(text).registry)
  return { fs, root, prefix, home, state, record, recorded, paths }
})

it.scopedLive("npm is asked once, and again where its registry may be another one", () =>
  Effect.gen(function* () {
    const { fs, root, prefix, home, state, record, recorded } = yield* fixture
    assert.deepStrictEqual(yield* record(), [true, true])
    assert.strictEqual(yield* recorded, "http://a.test/")
    assert.deepStrictEqual(yield* record(), [false, false])
    let content = ""
    for (const path of [`${home}/.npmrc`, `${prefix}/etc/npmrc`, `${prefix}/lib/node_modules/npm/npmrc`]) {
      content += "# another line\n"
      yield* fs.writeFileString(path, content)
      assert.deepStrictEqual(yield* record(), [false, true], `${path} is there`)
      assert.deepStrictEqual(yield* record(), [false, false], path)
      yield* fs.writeFileString(path, `${content}#\n`)
      assert.deepStrictEqual(yield* record(), [false, true], `${path} was changed`)
      // A link to a file of the same size and time is another file.
      const { mtime } = yield* fs.stat(path)
      yield* fs.writeFileString(`${path}.new`, `${content}!\n`)
      yield* fs.utimes(`${path}.new`, new Date(), mtime._tag === "Some" ? mtime.value : new Date())
      yield* fs.rename(`${path}.new`, path)
      assert.deepStrictEqual(yield* record(), [false, true], `${path} was exchanged`)
      yield* fs.utimes(path, new Date(), new Date(1_000_000))
      assert.deepStrictEqual(yield* record(), [false, true], `${path} was written to`)
      yield* fs.remove(path)
      assert.deepStrictEqual(yield* record(), [false, true], `${path} is gone`)
    }
    for (const name of [
      "npm_config_registry",
      "NPM_CONFIG_REGISTRY",
      "npm_config_@waiaas:registry",
      "npm_config_scope",
      "npm_config_userconfig",
      "npm_config_globalconfig",
      "npm_config_before",
      "npm_config_min_release_age",
      "NPM_CONFIG_MIN_RELEASE_AGE_EXCLUDE",
    ]) {
      assert.deepStrictEqual(yield* record({ [name]: `${root}/a` }), [false, true], name)
      assert.deepStrictEqual(yield* record({ [name]: `${root}/b` }), [false, true], name)
      assert.deepStrictEqual(yield* record({ [name]: `${root}/b`, OTHER: "x" }), [false, false], name)
    }
    yield* record()
    for (const variables of [{ npm_config_loglevel: "error" }, { PATH: "/bin" }, { npm_config_registry: "" }])
      assert.deepStrictEqual(yield* record(variables), [false, false])
    // The order in which they happen to be set says nothing.
    yield* record({ npm_config_scope: "b", npm_config_registry: "a" })
    assert.deepStrictEqual(yield* record({ npm_config_registry: "a", npm_config_scope: "b" }), [false, false])
    yield* fs.writeFileString(`${root}/own`, "")
    yield* record({ npm_config_userconfig: `${root}/own` })
    yield* fs.writeFileString(`${root}/own`, "registry=")
    assert.deepStrictEqual(yield* record({ npm_config_userconfig: `${root}/own` }), [false, true])
    yield* fs.writeFileString(`${home}/.npmrc`, "it is not read")
    assert.deepStrictEqual(yield* record({ npm_config_userconfig: `${root}/own` }), [false, false])
    state.registry = "http://b.test/"
    assert.deepStrictEqual(yield* record(), [true, true])
    assert.strictEqual(yield* recorded, "http://b.test/")
  }).pipe(Effect.provide(layerDataDir())),
)

it.scopedLive("a record that is damaged, or of a time without one, is made anew", () =>
  Effect.gen(function* () {
    const { fs, record, recorded, paths } = yield* fixture
    for (const text of ["{", '{"registry":"http://a.test/"}', '{"registry":7}']) {
      yield* fs.writeFileString(paths.registry, text)
      const [isOther, asked] = yield* record()
      assert.deepStrictEqual([isOther, asked], [!text.includes("a.test"), true], text)
      assert.strictEqual(yield* recorded, "http://a.test/")
    }
  }).pipe(Effect.provide(layerDataDir())),
)

it.scopedLive("what the check reports names npm's age limit for as long as npm has one", () =>
  Effect.gen(function* () {
    const { fs, home, state, record } = yield* fixture
    const known = Effect.map(checkSettings, ({ ageLimit }) => ageLimit)
    assert.isNull(yield* known, "nothing is recorded yet")
    yield* record()
    assert.isNull(yield* known)
    state.ageLimit = "min-release-age=7"
    yield* fs.writeFileString(`${home}/.npmrc`, "min-release-age=7\n")
    // The registry is the same: no check has to be made anew for that.
    assert.deepStrictEqual(yield* record(), [false, true])
    assert.strictEqual(yield* known, "min-release-age=7")
    const values = new Map<string, string>([[versionKeys.latest, "2.1.0"]])
    const notice = Option.getOrThrow(noticeFor(values, makeVersion("2.0.0"), 1, yield* checkSettings))
    assert.strictEqual(notice.ageLimit, "min-release-age=7")
    state.ageLimit = null
    yield* fs.remove(`${home}/.npmrc`)
    yield* record()
    assert.isNull(yield* known)
  }).pipe(Effect.provide(ConfigFile.layer.pipe(Layer.provideMerge(layerDataDir())))),
)
