import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { hiddenPaths, type Install } from "@waiaas/domain/Install"
import { buildOf } from "@waiaas/services/BuildDigest"
import { PackageSwap } from "@waiaas/services/PackageSwap"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layerPlatform, temporaryDirectory } from "./support.ts"

const layer = Layer.provideMerge(PackageSwap.layer, layerPlatform())

const fixture = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const swap = yield* PackageSwap
  const prefix = yield* temporaryDirectory
  const root = `${prefix}/lib/node_modules`
  const install: Install = {
    prefix,
    root,
    packageDir: `${root}/@waiaas/cli`,
    binLink: `${prefix}/bin/waiaas`,
    hidden: `${root}/.waiaas`,
    node: process.execPath,
  }
  const hidden = hiddenPaths(install.hidden)
  const write = (directory: string, version: string) =>
    Effect.gen(function* () {
      yield* fs.makeDirectory(`${directory}/dist`, { recursive: true })
      yield* fs.writeFileString(`${directory}/dist/bin.js`, version)
    })
  yield* write(install.packageDir, "old")
  yield* fs.makeDirectory(`${prefix}/bin`)
  yield* fs.symlink("../lib/node_modules/@waiaas/cli/dist/bin.js", install.binLink)
  /** What the command would run now. */
  const command = fs.readFileString(install.binLink)
  return { fs, swap, install, hidden, write, command }
})

describe("PackageSwap", () => {
  it.scopedLive("swaps, with the command on the retained old code, and links back", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write, command } = yield* fixture
      yield* write(hidden.stagedPackage(1), "new")
      yield* swap.retain(install, "1.0.0")
      yield* swap.swap(install, 1, "1.0.0")
      assert.strictEqual(yield* command, "old")
      assert.strictEqual(yield* fs.readFileString(`${install.packageDir}/dist/bin.js`), "new")
      yield* swap.swap(install, 1, "1.0.0")
      yield* swap.relink(install)
      assert.strictEqual(yield* command, "new")
      assert.strictEqual(yield* fs.readLink(install.binLink), "../lib/node_modules/@waiaas/cli/dist/bin.js")
      yield* swap.cleanUp(install, 1)
      assert.deepStrictEqual(yield* fs.readDirectory(install.hidden), ["retained"])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("puts back from every state in between, and again", () =>
    Effect.gen(function* () {
      for (const state of ["staged", "linked", "out", "swapped"] as const) {
        const { fs, swap, install, hidden, write, command } = yield* fixture
        yield* write(hidden.stagedPackage(1), "new")
        yield* swap.retain(install, "1.0.0")
        if (state === "swapped") yield* swap.swap(install, 1, "1.0.0")
        else if (state !== "staged") {
          yield* fs.remove(install.binLink)
          yield* fs.symlink("../lib/node_modules/.waiaas/retained/1.0.0/dist/bin.js", install.binLink)
          if (state === "out") yield* fs.rename(install.packageDir, hidden.outgoing(1))
        }
        assert.strictEqual(yield* command, "old", state)
        for (let time = 0; time < 2; time++) {
          yield* swap.putBack(install, 1, "1.0.0")
          assert.strictEqual(yield* fs.readFileString(`${install.packageDir}/dist/bin.js`), "old", state)
          assert.strictEqual(yield* command, "old", state)
        }
        yield* swap.cleanUp(install, 1)
        assert.deepStrictEqual(yield* fs.readDirectory(install.hidden), ["retained"], state)
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("cleans up what an npm left that outlived an earlier run", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write } = yield* fixture
      yield* write(hidden.stagedPackage(7), "late")
      yield* swap.cleanUp(install, 8)
      assert.isFalse(yield* fs.exists(hidden.staging(7)))
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("retains once per version, and replaces another build of the same one", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write } = yield* fixture
      yield* swap.retain(install, "1.0.0")
      const first = yield* fs.stat(hidden.retained("1.0.0"))
      yield* swap.retain(install, "1.0.0")
      assert.deepStrictEqual((yield* fs.stat(hidden.retained("1.0.0"))).ino, first.ino)
      yield* write(install.packageDir, "old, built again")
      yield* swap.retain(install, "1.0.0")
      assert.strictEqual(
        yield* fs.readFileString(`${hidden.retained("1.0.0")}/dist/bin.js`),
        "old, built again",
      )
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "knows code that is not what its package names: it is neither kept as the way back nor taken for one",
    () =>
      Effect.gen(function* () {
        const { fs, swap, install, hidden } = yield* fixture
        const files = yield* DurableFile
        const manifest = (build: string) => JSON.stringify({ version: "1.0.0", waiaas: { build } })
        const name = (directory: string, build: string) =>
          fs.writeFileString(`${directory}/package.json`, manifest(build))
        // What names no build is taken as it is.
        yield* swap.expectWhole(install, "1.0.0")
        yield* name(install.packageDir, buildOf(yield* files.hashFiles(install.packageDir)))
        yield* swap.expectWhole(install, "1.0.0")
        yield* swap.retain(install, "1.0.0")
        assert.isTrue(yield* swap.isRetained(install, "1.0.0"))
        assert.isFalse(yield* swap.isRetained(install, "1.1.0"))
        for (const directory of [install.packageDir, hidden.retained("1.0.0")])
          yield* fs.writeFileString(`${directory}/dist/bin.js`, "cut")
        const error = yield* Effect.flip(swap.expectWhole(install, "1.0.0"))
        assert.strictEqual(error._tag, "PackageDamaged")
        assert.include(
          error.message,
          `${install.packageDir}/dist is not the code that its package.json names`,
        )
        assert.isFalse(yield* swap.isRetained(install, "1.0.0"))
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("probes what it will write to, leaves nothing, and names a place that it may not touch", () =>
    Effect.gen(function* () {
      const { fs, swap, install } = yield* fixture
      const before = process.umask(0o077)
      yield* swap.probe(install).pipe(Effect.ensuring(Effect.sync(() => process.umask(before))))
      // The daemon's user goes through it to the code that root has retained.
      assert.strictEqual((yield* fs.stat(install.hidden)).mode & 0o777, 0o755)
      assert.deepStrictEqual(yield* fs.readDirectory(`${install.prefix}/bin`), ["waiaas"])
      const error = yield* Effect.flip(swap.probe({ ...install, root: "/proc" }))
      assert.include(["NoPermission", "FileFailed"], error._tag)
      assert.include(error.message, "/proc")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("finds out by a rename whether the package can be moved, and leaves it where it is", () =>
    Effect.gen(function* () {
      const { fs, swap, install, command } = yield* fixture
      yield* swap.probe(install)
      yield* swap.expectMovable(install, 7, "1.0.0")
      assert.strictEqual(yield* command, "old")
      assert.deepStrictEqual(yield* fs.readDirectory(install.hidden), [])
      const files = yield* DurableFile
      for (const [code, tag] of [
        ["EXDEV", "PackageNotMovable"],
        ["EBUSY", "PackageNotMovable"],
        ["EPERM", "PackageNotMovable"],
        ["EACCES", "NoPermission"],
        ["EROFS", "NoPermission"],
      ] as const) {
        const refusing = Layer.succeed(DurableFile, {
          ...files,
          rename: (_, path) => new FileFailed({ operation: "rename to", path, code }),
        })
        const error = yield* Effect.flatMap(PackageSwap, (each) =>
          each.expectMovable(install, 7, "1.0.0"),
        ).pipe(Effect.provide(PackageSwap.layer), Effect.provide(refusing), Effect.flip)
        assert.strictEqual(error._tag, tag, code)
        assert.deepStrictEqual(yield* fs.readDirectory(install.hidden), [])
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("a probe takes away what one that was killed has left", () =>
    Effect.gen(function* () {
      const { fs, swap, install } = yield* fixture
      const left = [install.root, `${install.root}/@waiaas`, `${install.prefix}/bin`, install.hidden].map(
        (directory) => `${directory}/.waiaas-probe`,
      )
      yield* fs.makeDirectory(install.hidden)
      for (const path of left) yield* fs.writeFileString(path, "")
      yield* swap.probe(install)
      for (const path of left) assert.isFalse(yield* fs.exists(path), path)
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "keeps the newest retained versions, whoever's backups want them, and what it is asked to",
    () =>
      Effect.gen(function* () {
        const { fs, swap, install, hidden, write } = yield* fixture
        for (const version of ["0.9.0", "0.10.0", "1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0", "2.0.0"])
          yield* write(hidden.retained(version), version)
        yield* swap.pruneRetained(install, ["0.9.0"])
        assert.deepStrictEqual((yield* fs.readDirectory(hidden.retainedAll)).sort(), [
          "0.9.0",
          "1.0.0",
          "1.0.0-rc.1",
          "1.10.0",
          "1.9.0",
          "2.0.0",
        ])
      }).pipe(Effect.provide(layer)),
  )

  /** The same acts on a disk that notes what changes it, or answers something else. */
  const on = <A, E>(
    change: (real: DurableFile["Type"]) => Partial<DurableFile["Type"]>,
    act: (swap: PackageSwap["Type"]) => Effect.Effect<A, E>,
  ) =>
    Effect.gen(function* () {
      const real = yield* DurableFile
      const changed = Layer.succeed(DurableFile, { ...real, ...change(real) })
      return yield* Effect.flatMap(PackageSwap, act).pipe(
        Effect.provide(PackageSwap.layer),
        Effect.provide(changed),
      )
    })
  const noting = (acts: Array<string>, prefix: string) => {
    const note = (...words: ReadonlyArray<string>) =>
      Effect.sync(() => void acts.push(words.map((word) => word.replace(prefix, "")).join(" ")))
    return (real: DurableFile["Type"]): Partial<DurableFile["Type"]> => ({
      link: (target, path) => Effect.zipRight(note("link", path, target), real.link(target, path)),
      rename: (from, to) => Effect.zipRight(note("rename", from, to), real.rename(from, to)),
      remove: (path) => Effect.zipRight(note("remove", path), real.remove(path)),
      copyTree: (from, to) => Effect.zipRight(note("copy", from, to), real.copyTree(from, to)),
      write: (path, text, mode) => Effect.zipRight(note("write", path), real.write(path, text, mode)),
    })
  }
  const [package_, hiddenDir] = ["/lib/node_modules/@waiaas/cli", "/lib/node_modules/.waiaas"]

  it.scopedLive("moves nothing before the command is at the retained code, and nothing twice", () =>
    Effect.gen(function* () {
      const { swap, install, hidden, write } = yield* fixture
      yield* write(hidden.stagedPackage(1), "new")
      yield* swap.retain(install, "1.0.0")
      const acts: Array<string> = []
      const swapped = on(noting(acts, install.prefix), (each) => each.swap(install, 1, "1.0.0"))
      yield* swapped
      assert.deepStrictEqual(acts, [
        "link /bin/waiaas ../lib/node_modules/.waiaas/retained/1.0.0/dist/bin.js",
        `rename ${package_} ${hiddenDir}/outgoing-1`,
        `rename ${hiddenDir}/staging-1${package_} ${package_}`,
      ])
      acts.length = 0
      yield* swapped
      assert.deepStrictEqual(acts, [])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("goes on with a swap that was cut off between its two renames", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write, command } = yield* fixture
      yield* write(hidden.stagedPackage(1), "new")
      yield* swap.retain(install, "1.0.0")
      yield* fs.rename(install.packageDir, hidden.outgoing(1))
      yield* swap.swap(install, 1, "1.0.0")
      assert.strictEqual(yield* fs.readFileString(`${install.packageDir}/dist/bin.js`), "new")
      assert.strictEqual(yield* fs.readFileString(`${hidden.outgoing(1)}/dist/bin.js`), "old")
      assert.strictEqual(yield* command, "old")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("puts the package back before the command, and keeps what it takes out until the end", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write } = yield* fixture
      yield* write(hidden.stagedPackage(1), "new")
      yield* swap.retain(install, "1.0.0")
      yield* swap.swap(install, 1, "1.0.0")
      // Of an undo that was cut off.
      yield* write(hidden.rejected(1), "rejected before")
      const acts: Array<string> = []
      yield* on(noting(acts, install.prefix), (each) => each.putBack(install, 1, "1.0.0"))
      assert.deepStrictEqual(acts, [
        `remove ${hiddenDir}/rejected-1`,
        `rename ${package_} ${hiddenDir}/rejected-1`,
        `rename ${hiddenDir}/outgoing-1 ${package_}`,
        "link /bin/waiaas ../lib/node_modules/@waiaas/cli/dist/bin.js",
      ])
      assert.strictEqual(yield* fs.readFileString(`${hidden.rejected(1)}/dist/bin.js`), "new")
      acts.length = 0
      yield* on(noting(acts, install.prefix), (each) => each.putBack(install, 1, "1.0.0"))
      assert.deepStrictEqual(acts, [])
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("makes a package that is gone out of the retained code of the version that it was", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write, command } = yield* fixture
      yield* swap.retain(install, "1.0.0")
      yield* write(hidden.retained("0.9.0"), "older")
      yield* fs.remove(install.packageDir, { recursive: true })
      // Of a copy that was cut off.
      yield* write(`${install.packageDir}.partial`, "half")
      yield* swap.putBack(install, 1, "1.0.0")
      assert.strictEqual(yield* command, "old")
      assert.deepStrictEqual(yield* fs.readDirectory(`${install.root}/@waiaas`), ["cli"])
      assert.isTrue(yield* swap.isRetained(install, "1.0.0"))
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("stages the retained code of a version, over what was staged, and keeps it retained", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write } = yield* fixture
      yield* write(hidden.retained("0.9.0"), "older")
      yield* write(hidden.stagedPackage(2), "new")
      const acts: Array<string> = []
      yield* on(noting(acts, install.prefix), (each) => each.stageRetained(install, 2, "0.9.0"))
      const staged = `${hiddenDir}/staging-2${package_}`
      assert.deepStrictEqual(acts, [
        `remove ${staged}.partial`,
        `copy ${hiddenDir}/retained/0.9.0 ${staged}.partial`,
        `remove ${staged}`,
        `rename ${staged}.partial ${staged}`,
      ])
      assert.strictEqual(yield* fs.readFileString(`${hidden.stagedPackage(2)}/dist/bin.js`), "older")
      assert.isTrue(yield* swap.isRetained(install, "0.9.0"))
      assert.isFalse(yield* swap.isRetained(install, "1.0.0"))
      yield* fs.writeFileString(hidden.retained("1.0.0"), "no package")
      assert.isFalse(yield* swap.isRetained(install, "1.0.0"))
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("ends a detour, removes what runs left and nothing else, and the pointer last", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, write, command } = yield* fixture
      yield* swap.retain(install, "1.0.0")
      yield* swap.detour(install, "1.0.0")
      assert.include(yield* fs.readLink(install.binLink), "/.waiaas/retained/1.0.0/")
      const kept = ["my-staging-1", "staging-x", "outgoing-3-of-mine", "install.lock", "retained"]
      for (const name of [...kept, "staging-1", "outgoing-1", "rejected-1", "outgoing-12", "rejected-4"])
        yield* write(`${install.hidden}/${name}`, "x")
      yield* write(hidden.retained("2.0.0.partial"), "half")
      yield* write(`${install.packageDir}.partial`, "half")
      yield* swap.point(install, { format: 1, dataDir: "/d", run: 1, since: 1, pid: 1 })
      assert.strictEqual((yield* fs.stat(hidden.pointer)).mode & 0o777, 0o644)
      assert.deepStrictEqual(Option.getOrNull(yield* swap.pointer(install.hidden)), {
        format: 1,
        dataDir: "/d",
        run: 1,
        since: 1,
        pid: 1,
      })
      const acts: Array<string> = []
      yield* on(noting(acts, install.prefix), (each) => each.cleanUp(install, 1))
      assert.strictEqual(acts[0], "link /bin/waiaas ../lib/node_modules/@waiaas/cli/dist/bin.js")
      assert.strictEqual(acts.at(-1), `remove ${hiddenDir}/run.json`)
      assert.sameMembers(yield* fs.readDirectory(install.hidden), kept)
      assert.sameMembers(yield* fs.readDirectory(hidden.retainedAll), ["1.0.0", "dist"])
      assert.deepStrictEqual(yield* fs.readDirectory(`${install.root}/@waiaas`), ["cli"])
      assert.isTrue(Option.isNone(yield* swap.pointer(install.hidden)))
      assert.strictEqual(yield* command, "old")
      // A link that an operator has made is none of a detour's.
      yield* fs.remove(install.binLink)
      yield* fs.symlink("../own/waiaas", install.binLink)
      yield* swap.cleanUp(install, 1)
      assert.strictEqual(yield* fs.readLink(install.binLink), "../own/waiaas")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("leaves what may not be removed, names it, and removes the rest", () =>
    Effect.gen(function* () {
      const { fs, install, hidden, write } = yield* fixture
      for (const name of ["outgoing-1", "rejected-1", "outgoing-7"])
        yield* write(`${install.hidden}/${name}`, "x")
      yield* write(hidden.pointer, "{}")
      const refusing = (code: string) => (real: DurableFile["Type"]) => ({
        remove: (path: string) =>
          path.includes("outgoing")
            ? Effect.fail(new FileFailed({ operation: "remove", path, code }))
            : real.remove(path),
      })
      // Immutable, a mount, or open on a network file system.
      for (const code of ["EPERM", "EBUSY", "ENOTEMPTY"]) {
        const kept = yield* on(refusing(code), (each) => each.cleanUp(install, 1))
        assert.deepStrictEqual(
          kept,
          ["outgoing-1", "outgoing-7"].map((name) => `${install.hidden}/${name}`),
        )
      }
      assert.sameMembers(yield* fs.readDirectory(install.hidden), ["outgoing-1", "outgoing-7"])
      const failed = yield* Effect.flip(on(refusing("EIO"), (each) => each.cleanUp(install, 1)))
      assert.strictEqual(failed.code, "EIO")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("retained code that may not be removed is named, and the rest of it goes", () =>
    Effect.gen(function* () {
      const { fs, install, hidden, write } = yield* fixture
      const versions = ["0.1.0", "0.2.0", "0.3.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0"]
      for (const version of versions) yield* write(`${hidden.retained(version)}/package.json`, "{}")
      const stuck = hidden.retained("0.1.0")
      const refusing = (code: string) => (real: DurableFile["Type"]) => ({
        remove: (path: string) =>
          path === stuck
            ? Effect.fail(new FileFailed({ operation: "remove", path, code }))
            : real.remove(path),
      })
      const pruned = on(refusing("EPERM"), (each) => each.pruneRetained(install, ["0.3.0"]))
      assert.deepStrictEqual(yield* pruned, [stuck])
      const left = yield* fs.readDirectory(hidden.retainedAll)
      assert.includeMembers(left, ["0.1.0", "0.3.0", "1.6.0"])
      assert.notInclude(left, "0.2.0")
      const failed = yield* Effect.flip(on(refusing("EIO"), (each) => each.pruneRetained(install, ["0.3.0"])))
      assert.strictEqual(failed.code, "EIO")
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive(
    "asks for each place that a swap changes, and names the first that it may not, with its owner",
    () =>
      Effect.gen(function* () {
        const { fs, install } = yield* fixture
        const asked: Array<string> = []
        const owned = (uid: number | null, refused: string) =>
          on(
            (real) => ({
              writeRefusal: (path) =>
                Effect.sync(() => {
                  asked.push(path)
                  return path === refused ? Option.some("EACCES") : Option.none()
                }),
              stat: (path) =>
                Effect.map(real.stat(path), (info) => ({ ...info, uid: Option.fromNullable(uid) })),
            }),
            (each) => each.mayChange(install),
          )
        const places = [install.root, `${install.root}/@waiaas`, `${install.prefix}/bin`]
        yield* owned(0, "none of them")
        assert.deepStrictEqual(asked, places)
        yield* fs.makeDirectory(install.hidden)
        asked.length = 0
        yield* owned(0, "none of them")
        assert.deepStrictEqual(asked, [...places, install.hidden])
        for (const [uid, owner] of [
          [0, "root"],
          [1000, "user 1000"],
          [null, "unknown"],
        ] as const)
          for (const path of asked.slice(0, 4)) {
            const error = yield* Effect.flip(owned(uid, path))
            assert.ok(error._tag === "NoPermission")
            assert.deepStrictEqual([error.path, error.owner], [path, owner])
          }
      }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("a probe that is refused says by whom; another failure of it is the system's", () =>
    Effect.gen(function* () {
      const { install } = yield* fixture
      for (const path of [install.root, `${install.root}/@waiaas`, `${install.prefix}/bin`, install.hidden])
        for (const [code, tag] of [
          ["EACCES", "NoPermission"],
          ["EPERM", "NoPermission"],
          ["EROFS", "NoPermission"],
          ["EIO", "FileFailed"],
        ] as const) {
          const error = yield* Effect.flip(
            on(
              (real) => ({
                append: (at, text) =>
                  at.startsWith(`${path}/.waiaas-probe`)
                    ? new FileFailed({ operation: "add to", path: at, code })
                    : real.append(at, text),
              }),
              (each) => each.probe(install),
            ),
          )
          assert.strictEqual(error._tag, tag, `${code} in ${path}`)
          // What is so for root as well is not ended by sudo.
          assert.strictEqual(error.next.includes("sudo waiaas"), code === "EACCES")
          assert.include(error.path, path)
        }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("a package that is not moved out of a mount of its scope is said to be just that", () =>
    Effect.gen(function* () {
      const { install, swap } = yield* fixture
      yield* swap.probe(install)
      const scope = `${install.root}/@waiaas`
      for (const [mounts, said] of [
        [`99 36 98:0 /x ${scope} rw - ext4 /d rw`, `${scope} is mounted by itself`],
        ["36 35 98:0 / / rw - overlay overlay rw", "a lower layer of an overlay"],
      ] as const) {
        const error = yield* Effect.flip(
          on(
            () => ({
              rename: (_, path) => new FileFailed({ operation: "rename to", path, code: "EXDEV" }),
              readAnyTextIfThere: () => Effect.succeed(Option.some(mounts)),
            }),
            (each) => each.expectMovable(install, 7, "1.0.0"),
          ),
        )
        assert.include(error.message, said)
        assert.strictEqual(error.next.startsWith("npm install"), said.includes("overlay"))
      }
    }).pipe(Effect.provide(layer)),
  )

  it.scopedLive("a package that was renamed after all goes back, and the upgrade does not go on", () =>
    Effect.gen(function* () {
      const { fs, swap, install, hidden, command } = yield* fixture
      const error = yield* Effect.flip(
        on(
          (real) => ({
            rename: (from, to) =>
              Effect.zipRight(
                to === hidden.staging(7) ? Effect.orDie(fs.remove(to, { recursive: true })) : Effect.void,
                real.rename(from, to),
              ),
          }),
          (each) => each.expectMovable(install, 7, "1.0.0"),
        ),
      )
      assert.strictEqual(error._tag, "PackageNotMovable")
      assert.include(error.message, "a directory that is not empty was replaced")
      assert.strictEqual(yield* command, "old")
      // Both answers that systems give to it.
      for (const code of ["ENOTEMPTY", "EEXIST"])
        yield* on(
          () => ({ rename: (_, path) => new FileFailed({ operation: "rename to", path, code }) }),
          (each) => each.expectMovable(install, 7, "1.0.0"),
        )
      yield* swap.expectMovable(install, 8, "1.0.0")
    }).pipe(Effect.provide(layer)),
  )
})
