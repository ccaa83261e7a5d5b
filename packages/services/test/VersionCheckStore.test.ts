/** What a check stores of an answer and sends of what is stored, and which file's token it takes. */
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { DatabaseFailed } from "@waiaas/domain/DataErrors"
import { makeVersion } from "@waiaas/domain/Version"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { failedCheckKeys, KeyValueStore, versionKeys } from "@waiaas/services/KeyValueStore"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Registry } from "@waiaas/services/platform/Registry"
import { type Answer, json, TestHttp } from "@waiaas/services/testing/TestHttp"
import { VersionCheck } from "@waiaas/services/VersionCheck"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { layerDataDir, temporaryDirectory } from "./support.ts"

const layer = (version = "2.0.0", uid: number | null = null) =>
  Layer.mergeAll(
    KeyValueStore.layerMemory,
    TestHttp.layer(() => Effect.succeed(null)),
    ConfigFile.layer,
  ).pipe(Layer.provideMerge(layerDataDir({ version: makeVersion(version), uid })))
const registry = "https://r.test/"
const configured = (lines = "") =>
  Effect.gen(function* () {
    const { paths } = yield* DataDir
    yield* (yield* DurableFile).write(paths.config, `[daemon]\nupdate_registry = "${registry}"\n${lines}`)
    return paths
  })
const checked = (answer: Answer, change: Partial<DurableFile["Type"]> = {}) =>
  Effect.gen(function* () {
    const http = yield* TestHttp
    http.requests.length = 0
    http.respond = () => Effect.succeed(answer)
    const files = yield* DurableFile
    const result = yield* Effect.flatMap(VersionCheck, ({ check }) => Effect.either(check)).pipe(
      Effect.provide(Layer.provide(VersionCheck.layer, Registry.layer)),
      Effect.provideService(DurableFile, { ...files, ...change }),
    )
    return { result, headers: http.requests[0]?.headers, asked: http.requests.length }
  })
const found = json({ latest: "2.1.0" }, { etag: '"a"' })
const valueOf = (key: string) =>
  Effect.flatMap(KeyValueStore, ({ get }) => Effect.map(get(key), Option.getOrNull))

describe("a check", () => {
  it.scopedLive("stores version, time, registry and ETag, and asks with that ETag from then on", () =>
    Effect.gen(function* () {
      yield* configured()
      const first = yield* checked(found)
      assert.deepStrictEqual(
        first.result._tag === "Right" ? { ...first.result.right } : first.result.left.message,
        { latest: makeVersion("2.1.0"), isUpdate: true },
      )
      assert.notProperty(first.headers, "if-none-match")
      assert.strictEqual(yield* valueOf(versionKeys.latest), "2.1.0")
      assert.strictEqual(yield* valueOf(versionKeys.registry), registry)
      assert.strictEqual(yield* valueOf(versionKeys.etag), '"a"')
      const at = Number(yield* valueOf(versionKeys.checkedAt))
      assert.isAtMost(Math.abs(at - Date.now() / 1000), 10)
      const same = yield* checked({ status: 304 })
      assert.strictEqual(same.headers?.["if-none-match"], '"a"')
      assert.strictEqual(yield* valueOf(versionKeys.latest), "2.1.0")
      assert.strictEqual(yield* valueOf(versionKeys.etag), '"a"')
      yield* checked(json({ latest: "2.2.0" }))
      assert.strictEqual(yield* valueOf(versionKeys.latest), "2.2.0")
      assert.isNull(yield* valueOf(versionKeys.etag), "an answer without an ETag has none")
    }).pipe(Effect.provide(layer())),
  )

  it.scopedLive("sends no ETag without the version that it is of, or to another registry", () =>
    Effect.gen(function* () {
      yield* configured()
      const store = yield* KeyValueStore
      yield* store.set(versionKeys.etag, '"a"')
      for (const [latest, from, isSent] of [
        [null, null, false],
        ["newest", registry, false],
        ["2.1.0", "https://other.test/", false],
        ["2.1.0", registry, true],
        ["2.1.0", null, true],
      ] as const) {
        for (const [key, value] of [
          [versionKeys.latest, latest],
          [versionKeys.registry, from],
          [versionKeys.etag, '"a"'],
        ] as const)
          yield* value === null ? store.remove(key) : store.set(key, value)
        const { headers } = yield* checked({ status: 304 })
        assert.strictEqual(headers?.["if-none-match"], isSent ? '"a"' : undefined, `${latest} of ${from}`)
      }
      // "Unchanged" to a question without one is of nothing known: nothing newer than what is installed.
      yield* store.remove(versionKeys.latest)
      yield* checked({ status: 304 })
      assert.strictEqual(yield* valueOf(versionKeys.latest), "2.0.0")
    }).pipe(Effect.provide(layer())),
  )

  it.scopedLive("that fails keeps what was known, and since when it fails, until one succeeds", () =>
    Effect.gen(function* () {
      yield* configured()
      yield* checked(found)
      const store = yield* KeyValueStore
      yield* checked({ status: 500 })
      yield* store.set(failedCheckKeys.since, "7")
      yield* checked({ status: 502 })
      assert.strictEqual(yield* valueOf(failedCheckKeys.since), "7")
      assert.match((yield* valueOf(failedCheckKeys.problem)) ?? "", /502/)
      assert.strictEqual(yield* valueOf(versionKeys.latest), "2.1.0")
      yield* checked(found)
      for (const key of Object.values(failedCheckKeys)) assert.isNull(yield* valueOf(key), key)
    }).pipe(Effect.provide(layer())),
  )

  it.scopedLive("that cannot be recorded fails with its own reason", () =>
    Effect.gen(function* () {
      yield* configured()
      const store = yield* KeyValueStore
      const full = new DatabaseFailed({ operation: "write a key", path: "/d", reason: "disk is full" })
      const { result } = yield* checked({ status: 500 }).pipe(
        Effect.provideService(KeyValueStore, { ...store, set: () => full }),
        Effect.provide(Logger.remove(Logger.defaultLogger)),
      )
      assert.strictEqual(result._tag === "Left" ? result.left._tag : "", "RegistryFailed")
    }).pipe(Effect.provide(layer())),
  )

  it.scopedLive("of a pre-release follows its own channel", () =>
    Effect.gen(function* () {
      yield* configured()
      const { result } = yield* checked(json({ latest: "2.0.0", rc: "2.1.0-rc.2" }))
      assert.deepStrictEqual(result._tag === "Right" ? { ...result.right } : null, {
        latest: makeVersion("2.1.0-rc.2"),
        isUpdate: true,
      })
    }).pipe(Effect.provide(layer("2.1.0-rc.1"))),
  )
})

describe("a registry's token", () => {
  const named = (path: string) => configured(`update_registry_token_file = "${path}"\n`)
  const sent = (change: Partial<DurableFile["Type"]> = {}) =>
    Effect.map(checked(found, change), ({ result, headers, asked }) =>
      result._tag === "Right" ? (headers?.authorization ?? "none") : [result.left.message, asked],
    )
  const isRefused = (answer: unknown, why: string, name: string) => {
    assert.isArray(answer, name)
    const [message, asked] = answer as [string, number]
    assert.include(message, why, name)
    assert.include(message, "update_registry_token_file", name)
    assert.strictEqual(asked, 0, `${name}: nothing was asked`)
  }

  it.scopedLive("is read from a file below the data directory, or from where an absolute path leads", () =>
    Effect.gen(function* () {
      const files = yield* DurableFile
      const paths = yield* named("own/registry.token")
      yield* files.makeDirectory(`${paths.root}/own`)
      yield* files.write(`${paths.root}/own/registry.token`, "\n t0ken\n")
      assert.strictEqual(yield* sent(), "Bearer t0ken")
      const elsewhere = `${yield* temporaryDirectory}/token`
      yield* files.write(elsewhere, "0ther")
      yield* named(elsewhere)
      assert.strictEqual(yield* sent(), "Bearer 0ther")
      yield* configured()
      assert.strictEqual(yield* sent(), "none")
    }).pipe(Effect.provide(layer())),
  )

  it.scopedLive("is refused from a file that others may read or write, or that is none", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const files = yield* DurableFile
      const paths = yield* named("token")
      const file = `${paths.root}/token`
      yield* files.write(file, "t0ken")
      for (const mode of [0o640, 0o604, 0o620, 0o602, 0o610, 0o644]) {
        yield* fs.chmod(file, mode)
        isRefused(yield* sent(), "its owner alone may read", mode.toString(8))
      }
      yield* fs.chmod(file, 0o400)
      assert.strictEqual(yield* sent(), "Bearer t0ken")
      yield* fs.remove(file)
      yield* files.makeDirectory(file)
      isRefused(yield* sent(), "its owner alone may read", "a directory")
    }).pipe(Effect.provide(layer())),
  )

  it.scopedLive("is refused from another user's file, and taken from root's and from our own", () =>
    Effect.gen(function* () {
      const files = yield* DurableFile
      const paths = yield* named("token")
      yield* files.write(`${paths.root}/token`, "t0ken")
      const owned = (uid: number | null): Partial<DurableFile["Type"]> => ({
        stat: (path) => Effect.map(files.stat(path), (info) => ({ ...info, uid: Option.fromNullable(uid) })),
      })
      for (const uid of [0, 1000, null]) assert.strictEqual(yield* sent(owned(uid)), "Bearer t0ken")
      for (const uid of [1001, 1]) isRefused(yield* sent(owned(uid)), "the daemon's own user", String(uid))
    }).pipe(Effect.provide(layer("2.0.0", 1000))),
  )

  it.scopedLive("is one word of printable ASCII, and no more than 4096 of them", () =>
    Effect.gen(function* () {
      const files = yield* DurableFile
      const paths = yield* named("token")
      for (const [text, isTaken] of [
        ["a".repeat(4096), true],
        ["a".repeat(4097), false],
        ["!~", true],
        ["one two", false],
        ["one\ntwo", false],
        ["t\u00f6ken", false],
        ["t\u007f", false],
        ["", false],
        [" \n", false],
      ] as const) {
        yield* files.write(`${paths.root}/token`, text)
        const answer = yield* sent()
        if (isTaken) assert.strictEqual(answer, `Bearer ${text}`)
        else isRefused(answer, "a file with one token", JSON.stringify(text))
      }
    }).pipe(Effect.provide(layer())),
  )
})
