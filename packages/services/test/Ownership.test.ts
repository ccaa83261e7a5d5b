/** What a path leads to, link by link, and whose each entry is. */
import { execFileSync } from "node:child_process"
import { chmodSync, statSync } from "node:fs"
import { dirname } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Ownership } from "@waiaas/services/platform/Ownership"
import { realPlace } from "@waiaas/services/platform/RealPlace"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { layerPlatform, temporaryDirectory } from "./support.ts"

const fixture = Effect.gen(function* () {
  const root = yield* temporaryDirectory
  execFileSync(
    "sh",
    [
      "-c",
      `umask 022; mkdir -p dir/sub; printf x > dir/sub/file; chmod 640 dir/sub/file; chmod 1777 dir; mkfifo pipe
       ln -s dir link; ln -s ../link/sub/file dir/far; ln -s nowhere dangling; ln -s other loop; ln -s loop other
       ln -s ${"/"}does/not/exist gone`,
    ],
    { cwd: root },
  )
  const files = yield* DurableFile
  const below = (path: string) => (path === root ? "." : path.replace(`${root}/`, ""))
  return { root, files, below, ownership: yield* Ownership, uid: statSync(root).uid }
})

describe("an entry", () => {
  it.scopedLive("is itself: of a link its own owner and kind; what is not there is none", () =>
    Effect.gen(function* () {
      const { root, below, ownership, uid } = yield* fixture
      const kindOf = (path: string) =>
        Effect.map(
          ownership.entryAt(`${root}/${path}`),
          Option.map(({ kind }) => kind),
        )
      for (const [path, kind] of [
        ["dir", "directory"],
        ["dir/sub/file", "file"],
        ["link", "link"],
        ["dangling", "link"],
        ["pipe", "other"],
      ] as const)
        assert.deepStrictEqual(yield* kindOf(path), Option.some(kind), path)
      for (const path of ["missing", "dir/sub/file/below"])
        assert.isTrue(Option.isNone(yield* kindOf(path)), path)
      assert.deepStrictEqual(
        yield* ownership.entryAt(`${root}/dir`),
        Option.some({ path: `${root}/dir`, uid, mode: 0o1777, kind: "directory" as const }),
      )
      const found = (path: string) =>
        Effect.map(ownership.entriesAt(`${root}/${path}`), (all) =>
          all.map((each) => [below(each.path), each.kind]),
        )
      assert.deepStrictEqual(yield* found("link"), [
        ["link", "link"],
        ["link", "directory"],
      ])
      assert.deepStrictEqual(yield* found("dir/far"), [
        ["dir/far", "link"],
        ["dir/far", "file"],
      ])
      assert.deepStrictEqual(yield* found("dir/sub/file"), [["dir/sub/file", "file"]])
      assert.deepStrictEqual(yield* found("dangling"), [["dangling", "link"]])
      assert.deepStrictEqual(yield* found("missing"), [])
      // A loop leads nowhere, and is no missing file.
      const failed = yield* Effect.flip(ownership.entriesAt(`${root}/loop`))
      assert.deepStrictEqual([failed.code, failed.path], ["ELOOP", `${root}/loop`])
      const [, target] = yield* ownership.entriesAt(`${root}/dir/far`)
      assert.strictEqual(target?.mode, 0o640)
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("above a path is the nearest directory that is there", () =>
    Effect.gen(function* () {
      const { root, ownership } = yield* fixture
      for (const [path, above] of [
        [`${root}/dir/missing`, `${root}/dir`],
        [`${root}/dir/one/two/three`, `${root}/dir`],
        [`${root}/dir/sub`, `${root}/dir`],
        ["/missing", "/"],
      ] as const)
        assert.strictEqual((yield* ownership.nearestAbove(path)).path, above)
    }).pipe(Effect.provide(layerPlatform())),
  )
})

it.scopedLive("above a path in a directory that is closed to this user is what they can see of it", () =>
  Effect.gen(function* () {
    const { root, ownership } = yield* fixture
    const isRoot = process.geteuid?.() === 0
    chmodSync(root, isRoot ? 0o700 : 0)
    if (isRoot) process.seteuid?.(65534)
    const found = yield* Effect.sync(() =>
      Effect.runSync(Effect.either(ownership.nearestAbove(`${root}/dir/a/b`))),
    ).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          if (isRoot) process.seteuid?.(0)
          chmodSync(root, 0o700)
        }),
      ),
    )
    assert.strictEqual(Either.getOrThrow(found).path, dirname(`${root}/dir`))
  }).pipe(Effect.provide(layerPlatform())),
)

describe("the links on the way to a path", () => {
  it.scopedLive("are all named, in order, also those that a link's target goes through", () =>
    Effect.gen(function* () {
      const { root, below, ownership } = yield* fixture
      const links = (path: string) =>
        Effect.map(ownership.linksTo(`${root}/${path}`), (all) =>
          all.map((each) => {
            assert.strictEqual(each.kind, "link")
            return below(each.path)
          }),
        )
      assert.deepStrictEqual(yield* links("dir/sub/file"), [])
      assert.deepStrictEqual(yield* links("link/sub/file"), ["link"])
      assert.deepStrictEqual(yield* links("link/far"), ["link", "dir/far", "link"])
      assert.deepStrictEqual(yield* links("dangling"), ["dangling"])
      assert.deepStrictEqual(yield* links("gone/below"), ["gone"])
      assert.deepStrictEqual(yield* links("missing/link"), [])
      const loop = yield* links("loop")
      assert.deepStrictEqual(loop.slice(0, 3), ["loop", "other", "loop"])
      assert.lengthOf(loop, 41)
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("below a directory are entries like all others, and are not followed", () =>
    Effect.gen(function* () {
      const { root, ownership } = yield* fixture
      const names = (path: string) =>
        Effect.map(ownership.entriesBelow(`${root}/${path}`), (all) =>
          all.map((each) => [each.path.replace(`${root}/dir/`, ""), each.kind]).sort(),
        )
      const whole = [
        ["far", "link"],
        ["sub", "directory"],
        ["sub/file", "file"],
      ]
      assert.deepStrictEqual(yield* names("dir"), whole)
      // A directory that is itself a link: what it leads to.
      assert.deepStrictEqual(yield* names("link"), whole)
      for (const path of ["missing", "dangling", "dir/sub/file"])
        assert.deepStrictEqual(yield* names(path), [])
    }).pipe(Effect.provide(layerPlatform())),
  )
})

describe("the place that a path leads to", () => {
  it.scopedLive("is behind every link, whether or not something is there", () =>
    Effect.gen(function* () {
      const { root, files } = yield* fixture
      for (const [path, place] of [
        ["dir/sub/file", "dir/sub/file"],
        ["link", "dir"],
        ["link/sub/file", "dir/sub/file"],
        ["dir/far", "dir/sub/file"],
        ["link/new", "dir/new"],
        ["dangling", "nowhere"],
        ["missing/new", "missing/new"],
        ["dir/sub/file/new", "dir/sub/file/new"],
        ["dir/sub/file/new/deep", "dir/sub/file/new/deep"],
      ] as const)
        assert.strictEqual(yield* realPlace(files, `${root}/${path}`), `${root}/${place}`, path)
      assert.strictEqual(yield* realPlace(files, `${root}/gone`), "/does/not/exist")
      const failed = yield* Effect.flip(realPlace(files, `${root}/loop`))
      assert.strictEqual(failed.code, "ELOOP")
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.effect(
    "is as many links away as the system follows, and not one more; a failure on the way is one",
    () =>
      Effect.gen(function* () {
        const chain = (count: number) => ({
          realPath: (path: string) => Effect.succeed(path),
          readLink: (path: string) => {
            const at = Number(path.replace("/d/", ""))
            return Effect.succeed(at < count ? Option.some(`${at + 1}`) : Option.none())
          },
        })
        assert.strictEqual(yield* realPlace(chain(40), "/d/0"), "/d/40")
        assert.strictEqual((yield* Effect.flip(realPlace(chain(41), "/d/0"))).code, "ELOOP")
        const closed = {
          ...chain(0),
          realPath: (path: string) => new FileFailed({ operation: "resolve", path, code: "EACCES" }),
        }
        assert.strictEqual((yield* Effect.flip(realPlace(closed, "/d/0"))).code, "EACCES")
      }),
  )
})
