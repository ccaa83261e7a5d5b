/** What is synced, in which order, and what a failing call does: the platform's files with each call noted. */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs"
import { basename } from "node:path"
import { BadArgument, type PlatformError, SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { DurableFile, PROBE_FILE, readJsonIfValid } from "@waiaas/services/platform/DurableFile"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { layerPlatform, temporaryDirectory } from "./support.ts"

/** Names every call by act and file, in `acts`; `fails` gives the error of those that fail. */
const noting = (acts: Array<string>, fails: (act: string) => PlatformError | undefined = () => undefined) => {
  const note = <A, R>(act: string, path: string, effect: Effect.Effect<A, PlatformError, R>) =>
    Effect.suspend((): Effect.Effect<A, PlatformError, R> => {
      const name = `${act} ${basename(path)}`
      acts.push(name)
      return fails(name) ?? effect
    })
  return DurableFile.layer.pipe(
    Layer.provide(
      Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (fs) => ({
          ...fs,
          open: (path, options) =>
            Effect.map(note(`open-${options?.flag}`, path, fs.open(path, options)), (file) =>
              Object.create(file, { sync: { get: () => note("sync", path, file.sync) } }),
            ),
          rename: (from, to) => note(`rename ${basename(from)}`, to, fs.rename(from, to)),
          remove: (path, options) => note("remove", path, fs.remove(path, options)),
          chmod: (path, mode) => note(`chmod-${mode.toString(8)}`, path, fs.chmod(path, mode)),
          access: (path, options) => note("access", path, fs.access(path, options)),
        })),
      ).pipe(Layer.provide(NodeFileSystem.layer)),
    ),
  )
}
const system = (cause: unknown, reason: SystemError["reason"] = "Unknown") =>
  new SystemError({ module: "FileSystem", method: "any", reason, cause })
const withCode = (code: string) => system({ code })

/** The calls of one act on files, after `before`. */
const callsOf = <A, E>(
  root: string,
  act: (files: DurableFile["Type"], root: string) => Effect.Effect<A, E>,
  fails?: (act: string) => PlatformError | undefined,
) =>
  Effect.gen(function* () {
    const acts: Array<string> = []
    const result = yield* Effect.either(
      Effect.flatMap(DurableFile, (files) => act(files, root)).pipe(Effect.provide(noting(acts, fails))),
    )
    return { acts, result }
  })
const durable = (acts: ReadonlyArray<string>) => acts.filter((act) => /^(sync|rename|remove)/.test(act))
const codeOf = (result: { readonly _tag: string; readonly left?: { readonly code: string } }) =>
  result.left?.code
const modeOf = (path: string) => lstatSync(path).mode & 0o777

describe("what is written is durable when its act ends", () => {
  it.scopedLive("a file: its content before its name, then the directory", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const place = basename(root)
      const { acts } = yield* callsOf(root, (files) => files.write(`${root}/a`, "x"))
      assert.deepStrictEqual(durable(acts), ["sync .a.tmp", "rename .a.tmp a", `sync ${place}`])
      const empty = yield* callsOf(root, (files) => files.write(`${root}/a`, ""))
      assert.deepStrictEqual(durable(empty.acts), ["sync .a.tmp", "rename .a.tmp a", `sync ${place}`])
      assert.strictEqual(readFileSync(`${root}/a`, "utf8"), "")
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("an addition: the file, and its directory where the file is new", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const append = (text: string) =>
        Effect.map(
          callsOf(root, (files) => files.append(`${root}/a`, text, 0o640)),
          ({ acts }) => acts,
        )
      assert.deepStrictEqual(yield* append("x"), [
        "open-a a",
        "chmod-640 a",
        "sync a",
        `open-r ${basename(root)}`,
        `sync ${basename(root)}`,
      ])
      chmodSync(`${root}/a`, 0o600)
      // One that is there keeps the mode that it has.
      assert.deepStrictEqual(yield* append("y"), ["open-a a", "sync a"])
      assert.deepStrictEqual([readFileSync(`${root}/a`, "utf8"), modeOf(`${root}/a`)], ["xy", 0o600])
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("a rename: the directory that has it now, then the one that had it", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const { acts } = yield* callsOf(root, (files) =>
        Effect.gen(function* () {
          yield* files.makeDirectory(`${root}/one`)
          yield* files.makeDirectory(`${root}/two`)
          yield* files.write(`${root}/one/a`, "x")
          yield* files.rename(`${root}/one/a`, `${root}/two/b`)
        }),
      )
      assert.deepStrictEqual(durable(acts).slice(-3), ["rename a b", "sync two", "sync one"])
      const inside = yield* callsOf(root, (files) => files.rename(`${root}/two/b`, `${root}/two/c`))
      assert.deepStrictEqual(durable(inside.acts), ["rename b c", "sync two"])
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("a removal, a link, a copy and reserved space", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const place = basename(root)
      const made = yield* callsOf(root, (files) =>
        Effect.gen(function* () {
          yield* files.reserve(`${root}/space`, 5 * 1024 * 1024 + 1)
          yield* files.copy(`${root}/space`, `${root}/copy`)
          yield* files.link("copy", `${root}/link`)
          yield* files.remove(`${root}/space`)
          yield* files.remove(`${root}/nothing`)
        }),
      )
      assert.deepStrictEqual(durable(made.acts), [
        "sync space",
        "sync copy",
        "rename .link.tmp link",
        `sync ${place}`,
        "remove space",
        `sync ${place}`,
      ])
      assert.deepStrictEqual(
        [statSync(`${root}/copy`).size, modeOf(`${root}/copy`)],
        [5 * 1024 * 1024 + 1, 0o600],
      )
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("a directory that must outlive a sync that failed is changed before it is synced", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const place = basename(root)
      const renew = (fails?: (act: string) => PlatformError | undefined) =>
        callsOf(root, (files) => files.renewDirectory(root), fails)
      const whole = [`open-wx ${PROBE_FILE}`, `remove ${PROBE_FILE}`, `open-r ${place}`, `sync ${place}`]
      assert.deepStrictEqual((yield* renew()).acts, whole)
      // What a killed probe leaves, or a link in its place, is taken away and never followed.
      for (const leave of [
        () => writeFileSync(`${root}/${PROBE_FILE}`, ""),
        () => symlinkSync("/etc/passwd", `${root}/${PROBE_FILE}`),
        () => mkdirSync(`${root}/${PROBE_FILE}`),
      ]) {
        leave()
        const again = yield* renew()
        assert.deepStrictEqual([again.acts, again.result._tag], [whole, "Right"])
      }
      for (const code of ["EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT"]) {
        const kept = yield* renew((act) => (act.startsWith("open-wx") ? withCode(code) : undefined))
        assert.deepStrictEqual([kept.result._tag, kept.acts.at(-1)], ["Right", `sync ${place}`], code)
      }
      assert.strictEqual(
        codeOf((yield* renew((act) => (act.startsWith("open-wx") ? withCode("EIO") : undefined))).result),
        "EIO",
      )
      assert.strictEqual(
        codeOf((yield* renew((act) => (act.startsWith("remove") ? withCode("EIO") : undefined))).result),
        "EIO",
      )
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("a write or a sync that fails is a failure, and leaves the old file alone", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      writeFileSync(`${root}/a`, "old")
      for (const failing of ["open-w .a.tmp", "chmod-600 .a.tmp", "sync .a.tmp", "rename .a.tmp a"]) {
        const { result } = yield* callsOf(
          root,
          (files) => files.write(`${root}/a`, "new"),
          (act) => (act === failing ? withCode("EIO") : undefined),
        )
        assert.strictEqual(codeOf(result), "EIO", failing)
        assert.strictEqual(readFileSync(`${root}/a`, "utf8"), "old")
        assert.isUndefined(lstatSync(`${root}/.a.tmp`, { throwIfNoEntry: false }), failing)
      }
      // The first failure is the one that is reported, though what is left cannot be removed either.
      writeFileSync(`${root}/.a.tmp`, "")
      const both = yield* callsOf(
        root,
        (files) => files.write(`${root}/a`, "new"),
        (act) =>
          act === "sync .a.tmp" ? withCode("ENOSPC") : act.startsWith("remove") ? withCode("EIO") : undefined,
      )
      assert.strictEqual(codeOf(both.result), "ENOSPC")
      for (const act of ["copy", "append", "reserve"] as const) {
        const { result } = yield* callsOf(
          root,
          (files) =>
            act === "copy"
              ? Effect.asVoid(files.copy(`${root}/a`, `${root}/b`))
              : act === "append"
                ? files.append(`${root}/b`, "x")
                : files.reserve(`${root}/b`, 1),
          (name) => (name === "sync b" ? withCode("EIO") : undefined),
        )
        assert.strictEqual(codeOf(result), "EIO", act)
      }
    }).pipe(Effect.provide(layerPlatform())),
  )
})

describe("a directory", () => {
  it.scopedLive(
    "has the mode that was asked for, parents too; one that is there gets what is missing of it",
    () =>
      Effect.gen(function* () {
        const root = yield* temporaryDirectory
        const make = (path: string, mode?: number, fails?: (act: string) => PlatformError | undefined) =>
          callsOf(root, (files) => files.makeDirectory(`${root}/${path}`, mode), fails)
        const { acts } = yield* make("a/b", 0o755)
        assert.deepStrictEqual([modeOf(`${root}/a`), modeOf(`${root}/a/b`)], [0o755, 0o755])
        assert.deepStrictEqual(durable(acts), ["sync a", `sync ${basename(root)}`, "sync b", "sync a"])
        chmodSync(`${root}/a/b`, 0o700)
        // Without a mode nothing is asked of one that is there.
        assert.deepStrictEqual((yield* make("a/b")).acts, [])
        assert.strictEqual(modeOf(`${root}/a/b`), 0o700)
        const refused = yield* make("a/b", 0o755, (act) =>
          act.startsWith("chmod") ? withCode("EPERM") : undefined,
        )
        assert.strictEqual(refused.result._tag, "Right")
        const broken = yield* make("a/b", 0o755, (act) =>
          act.startsWith("chmod") ? withCode("EIO") : undefined,
        )
        assert.strictEqual(codeOf(broken.result), "EIO")
        chmodSync(`${root}/a/b`, 0o710)
        yield* make("a/b", 0o755)
        assert.strictEqual(modeOf(`${root}/a/b`), 0o755)
        chmodSync(`${root}/a/b`, 0o777)
        assert.deepStrictEqual((yield* make("a/b", 0o755)).acts, [])
        assert.strictEqual(modeOf(`${root}/a/b`), 0o777)
      }).pipe(Effect.provide(layerPlatform())),
  )
})

describe("what is there", () => {
  it.scopedLive(
    "is read with its limits: no directory, nothing past 16 MiB, and what is below a file is not there",
    () =>
      Effect.gen(function* () {
        const root = yield* temporaryDirectory
        const files = yield* DurableFile
        const path = `${root}/a`
        writeFileSync(path, "")
        truncateSync(path, 16 * 1024 * 1024)
        assert.lengthOf(yield* files.readText(path), 16 * 1024 * 1024)
        truncateSync(path, 16 * 1024 * 1024 + 1)
        assert.strictEqual((yield* Effect.flip(files.readText(path))).code, "EFBIG")
        assert.strictEqual((yield* Effect.flip(files.readTextIfThere(path))).code, "EFBIG")
        assert.strictEqual((yield* Effect.flip(files.readText(root))).code, "EISDIR")
        assert.strictEqual((yield* Effect.flip(files.append(root, "x"))).code, "EISDIR")
        for (const missing of [`${path}/below`, `${root}/missing`]) {
          assert.isTrue(Option.isNone(yield* files.readTextIfThere(missing)))
          assert.isTrue(Option.isNone(yield* files.statIfThere(missing)))
          assert.isFalse(yield* files.isDirectory(missing))
          assert.deepStrictEqual(yield* files.list(missing), [])
        }
        assert.deepStrictEqual(
          [yield* files.isDirectory(root), yield* files.isDirectory(path)],
          [true, false],
        )
        symlinkSync("nowhere", `${root}/dangling`)
        assert.isTrue(yield* files.exists(`${root}/dangling`))
        yield* files.remove(`${root}/dangling`)
        assert.deepStrictEqual(yield* files.list(root), ["a"])
        assert.strictEqual(yield* files.device(root), statSync(root).dev)
      }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("and may not be removed is a failure, though the platform says that it is no directory", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      // What Node makes of EPERM: it tries the file as a directory.
      const refused = (name: string) => (act: string) =>
        act === `remove ${name}` ? withCode("ENOTDIR") : undefined
      writeFileSync(`${root}/a`, "")
      const removed = yield* callsOf(root, (files) => files.remove(`${root}/a`), refused("a"))
      assert.strictEqual(codeOf(removed.result), "EPERM")
      // An append-only directory is synced as one that is read-only is.
      const renewed = yield* callsOf(root, (files) => files.renewDirectory(root), refused(PROBE_FILE))
      assert.strictEqual(renewed.result._tag, "Right")
      assert.include(renewed.acts, `sync ${basename(root)}`)
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("is hashed and copied whole, whatever its size", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const files = yield* DurableFile
      const chunk = 4 * 1024 * 1024
      for (const size of [0, 1, chunk - 1, chunk, chunk + 1]) {
        const bytes = Buffer.alloc(size, "waiaas")
        const sha256 = createHash("sha256").update(bytes).digest("hex")
        writeFileSync(`${root}/a`, bytes)
        assert.deepStrictEqual(yield* files.hash(`${root}/a`), { size, sha256 })
        assert.deepStrictEqual(yield* files.copy(`${root}/a`, `${root}/b`, { mode: 0o640 }), { size, sha256 })
        assert.isTrue(readFileSync(`${root}/b`).equals(bytes))
        assert.strictEqual(modeOf(`${root}/b`), 0o640)
        yield* files.reserve(`${root}/c`, size)
        assert.deepStrictEqual([statSync(`${root}/c`).size, modeOf(`${root}/c`)], [size, 0o600])
      }
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("may be written or may not, as the system says; another answer is a failure", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const ask = (error?: PlatformError) =>
        Effect.map(
          callsOf(
            root,
            (files) => files.writeRefusal(root),
            () => error,
          ),
          ({ result }) => (result._tag === "Right" ? result.right : result.left.code),
        )
      assert.deepStrictEqual(yield* ask(), Option.none())
      for (const code of ["EACCES", "EPERM", "EROFS"])
        assert.deepStrictEqual(yield* ask(withCode(code)), Option.some(code))
      assert.strictEqual(yield* ask(withCode("EIO")), "EIO")
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("a failure has the system's code, or the platform's reason where it names none", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      for (const [error, code] of [
        [system({ code: "EIO" }, "NotFound"), "EIO"],
        [system({ code: 5 }, "NotFound"), "ENOENT"],
        [system(null, "PermissionDenied"), "EACCES"],
        [system("text", "AlreadyExists"), "EEXIST"],
        [system(undefined, "Busy"), "EBUSY"],
        [system({}, "TimedOut"), "TimedOut"],
        [new BadArgument({ module: "FileSystem", method: "rename" }), "EINVAL"],
      ] as const) {
        const { result } = yield* callsOf(
          root,
          (files) => files.rename(`${root}/a`, `${root}/b`),
          () => error,
        )
        assert.strictEqual(codeOf(result), code)
      }
    }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("a small JSON file is none where it is missing or not what it should be", () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const path = `${root}/a.json`
      const One = Schema.Struct({ one: Schema.Int })
      const Two = Schema.Struct({ two: Schema.Int })
      assert.isTrue(Option.isNone(yield* readJsonIfValid(One, path)))
      writeFileSync(path, '{"one":1}')
      for (const _ of [1, 2]) {
        assert.deepStrictEqual(yield* readJsonIfValid(One, path), Option.some({ one: 1 }))
        assert.isTrue(Option.isNone(yield* readJsonIfValid(Two, path)))
      }
      writeFileSync(path, '{"one":')
      assert.isTrue(Option.isNone(yield* readJsonIfValid(One, path)))
    }).pipe(Effect.provide(layerPlatform())),
  )
})

describe("a tree", () => {
  /** Two levels, a link out of it, and modes of every kind. */
  const tree = Effect.gen(function* () {
    const root = yield* temporaryDirectory
    execFileSync(
      "sh",
      [
        "-c",
        "umask 077; mkdir -p from/sub; printf data > from/file; printf '#!' > from/sub/run; chmod 700 from/sub/run; ln -s ../../outside from/sub/link; printf outside > outside; chmod 750 from/sub",
      ],
      { cwd: root },
    )
    return { root, files: yield* DurableFile }
  })

  it.scopedLive(
    "is open to everybody once it is published, its programs to be run; what a link leads to is not",
    () =>
      Effect.gen(function* () {
        const { root, files } = yield* tree
        yield* files.publishTree(`${root}/from`)
        const modes = ["from", "from/file", "from/sub", "from/sub/run", "outside"].map((path) =>
          modeOf(`${root}/${path}`),
        )
        assert.deepStrictEqual(modes, [0o755, 0o644, 0o755, 0o755, 0o600])
        // Group and others alone make no program.
        chmodSync(`${root}/from/file`, 0o677)
        yield* files.publishTree(`${root}/from`)
        assert.strictEqual(modeOf(`${root}/from/file`), 0o644)
        const again = yield* callsOf(root, (each) => each.publishTree(`${root}/from`))
        assert.deepStrictEqual(again.acts, [])
      }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive(
    "is copied with the modes of its directories, and every entry of it is synced before the one above",
    () =>
      Effect.gen(function* () {
        const { root } = yield* tree
        const umask = process.umask(0o077)
        const { acts } = yield* callsOf(root, (files) => files.copyTree(`${root}/from`, `${root}/to`)).pipe(
          Effect.ensuring(Effect.sync(() => process.umask(umask))),
        )
        assert.deepStrictEqual(durable(acts), ["sync file", "sync run", "sync sub", "sync to"])
        assert.deepStrictEqual(
          ["to", "to/file", "to/sub", "to/sub/run"].map((path) => modeOf(`${root}/${path}`)),
          [0o700, 0o600, 0o750, 0o700],
        )
        const synced = yield* callsOf(root, (files) => files.syncTree(`${root}/to`))
        assert.deepStrictEqual(durable(synced.acts), ["sync file", "sync run", "sync sub", "sync to"])
      }).pipe(Effect.provide(layerPlatform())),
  )

  it.scopedLive("has a digest of its names, kinds and contents, a size, and the digests of its files", () =>
    Effect.gen(function* () {
      const { root, files } = yield* tree
      const from = `${root}/from`
      const sha = (text: string) => createHash("sha256").update(text).digest("hex")
      assert.deepStrictEqual(yield* files.hashFiles(from), [
        ["file", sha("data")],
        ["sub/run", sha("#!")],
      ])
      // What a link leads to is none of it.
      assert.strictEqual(yield* files.sizeOfTree(from), 6)
      const seen = [yield* files.hashTree(from)]
      for (const change of [
        "mv file other",
        "printf more >> sub/run",
        "ln -sfn elsewhere sub/link",
        "mkdir empty",
        "rm sub/link; printf elsewhere > sub/link",
        "mv sub sub2",
      ]) {
        execFileSync("sh", ["-c", change], { cwd: from })
        const digest = yield* files.hashTree(from)
        assert.notInclude(seen, digest, change)
        seen.push(digest)
      }
    }).pipe(Effect.provide(layerPlatform())),
  )
})
