import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { ReleaseFile } from "@waiaas/services/ReleaseFile"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerPlatform, temporaryDirectory } from "./support.ts"

const layer = Layer.provideMerge(ReleaseFile.layer, layerPlatform())
const manifest = {
  name: "@waiaas/cli",
  version: "2.1.0",
  waiaas: { upgradeProtocol: 1, schema: { minimum: 3, latest: 5 }, stops: [] },
}

const tarball = (content: unknown) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const directory = yield* temporaryDirectory
    yield* fs.makeDirectory(`${directory}/package`)
    yield* fs.writeFileString(`${directory}/package/package.json`, JSON.stringify(content))
    execFileSync("tar", ["czf", "release.tgz", "package"], { cwd: directory })
    return `${directory}/release.tgz`
  })
const read = (file: string) => Effect.flatMap(ReleaseFile, (releases) => releases.read(file))

describe("a tarball of a release", () => {
  it.scopedLive("gives its metadata without being unpacked", () =>
    Effect.gen(function* () {
      const file = yield* tarball(manifest)
      const { release, files, sha256 } = yield* read(file)
      assert.deepStrictEqual(
        files.map(([path]) => path),
        ["package.json"],
      )
      const bytes = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFile(file))
      assert.strictEqual(sha256, createHash("sha256").update(bytes).digest("hex"))
      assert.strictEqual(release.version, "2.1.0")
      assert.deepStrictEqual(release.waiaas?.schema, { minimum: 3, latest: 5 })
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("of another package, without a version, cut off, or no tarball at all is refused", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const good = yield* tarball(manifest)
      const bytes = yield* fs.readFile(good)
      const cut = `${good}.cut`
      yield* fs.writeFile(cut, bytes.subarray(0, bytes.length / 2))
      const text = `${good}.txt`
      yield* fs.writeFileString(text, "not a tarball")
      const files = [
        yield* tarball({ ...manifest, name: "left-pad" }),
        yield* tarball({ name: "@waiaas/cli" }),
        cut,
        text,
      ]
      for (const file of files) assert.strictEqual((yield* Effect.flip(read(file)))._tag, "BadTarget", file)
      for (const [file, words] of [
        [cut, /is incomplete or damaged: compare its checksum/],
        [text, /is no gzipped tarball/],
      ] as const)
        assert.match((yield* Effect.flip(read(file))).message, words)
      const fifo = `${good}.fifo`
      execFileSync("mkfifo", [fifo])
      assert.match((yield* Effect.flip(read(fifo))).message, /it is no ordinary file/)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "is never unpacked without an end: too many files, or a package.json that is too large, are refused",
    () =>
      Effect.gen(function* () {
        const directory = yield* temporaryDirectory
        execFileSync("mkdir", [`${directory}/package`])
        execFileSync("truncate", ["--size", "64M", `${directory}/package/package.json`])
        execFileSync("tar", ["czf", "large.tgz", "package"], { cwd: directory })
        // A file of 1 TB without a byte on the disk: seen by its size.
        execFileSync("truncate", ["--size", "1T", `${directory}/sparse.tgz`])
        for (const name of ["large", "sparse"])
          assert.match(
            (yield* Effect.flip(read(`${directory}/${name}.tgz`))).message,
            /than a release can be/,
            name,
          )
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("that the system does not let be read is refused with the system's reason", () =>
    Effect.gen(function* () {
      const good = yield* tarball(manifest)
      for (const [path, code] of [
        ["/no/such/file.tgz", "ENOENT"],
        [`${good}/below`, "ENOTDIR"],
        [good.replace(/\/[^/]*$/, ""), "EISDIR"],
        [`/${"a".repeat(300)}`, "ENAMETOOLONG"],
      ] as const) {
        const error = yield* Effect.flip(read(path))
        assert.ok(error._tag === "FileFailed" && error.code === code, `${path}: ${error.message}`)
      }
    }).pipe(Effect.provide(layer)),
  )
})
