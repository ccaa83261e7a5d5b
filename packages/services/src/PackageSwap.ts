import { basename, dirname, join, relative } from "node:path"
import type { FileFailed } from "@waiaas/domain/DataErrors"
import { hiddenPaths, type Install, packagePaths, RunPointer } from "@waiaas/domain/Install"
import { NoPermission, PackageDamaged, PackageNotMovable } from "@waiaas/domain/PackageErrors"
import { compare, isVersion } from "@waiaas/domain/Version"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { buildOf } from "./BuildDigest.ts"
import { namedBuild } from "./NamedBuild.ts"
import { DurableFile, PROBE_FILE, readJsonIfValid } from "./platform/DurableFile.ts"
import { mountPoints } from "./platform/Mounts.ts"
import { Privilege } from "./platform/Privilege.ts"

const PARTIAL = ".partial"
/** As many versions as a data directory keeps backups of upgrades. */
const RETAINED = 5

/** Why the system does not remove what this user may remove otherwise. */
const stuck = ["EPERM", "EBUSY", "ENOTEMPTY"]

/** Where a swap renames something. */
const directoriesOf = (install: Install) => [
  install.root,
  dirname(install.packageDir),
  dirname(install.binLink),
]

/**
 * Changes the installed package so that `waiaas` works at every instant: the command points at a
 * retained copy of the old code while the package is swapped by two renames. Every act looks at what
 * it finds, so it can be cut off anywhere and done again.
 */
export class PackageSwap extends Context.Tag("@waiaas/services/PackageSwap")<
  PackageSwap,
  {
    /** Fails unless everything that a swap writes to can be written to. */
    readonly probe: (install: Install) => Effect.Effect<void, NoPermission | FileFailed>
    /**
     * Fails unless the package directory can be renamed, found out by that very call: onto a directory that is not
     * empty (the run's staging, before npm gets it), which a file system refuses where it would allow the rename
     * otherwise. Under the install lock: nobody else may empty that directory meanwhile. `version`: the installed
     * one, for the advice.
     */
    readonly expectMovable: (
      install: Install,
      run: number,
      version: string,
    ) => Effect.Effect<void, NoPermission | PackageNotMovable | FileFailed>
    /** Asks the system whether everything can be written to, without writing anything. */
    readonly mayChange: (install: Install) => Effect.Effect<void, NoPermission | FileFailed>
    /** Fails where the installed code is not what its package names: kept, it would be no way back. */
    readonly expectWhole: (
      install: Install,
      version: string,
    ) => Effect.Effect<void, PackageDamaged | FileFailed>
    /** Keeps a durable copy of the installed package under its version. */
    readonly retain: (install: Install, version: string) => Effect.Effect<void, FileFailed>
    /** Whether the code of a version is kept, and whole. */
    readonly isRetained: (install: Install, version: string) => Effect.Effect<boolean, FileFailed>
    /** Makes the staged candidate of a run out of the retained code of a version. */
    readonly stageRetained: (
      install: Install,
      run: number,
      version: string,
    ) => Effect.Effect<void, FileFailed>
    /**
     * Points the command at retained code, long before the package moves: Node resolves the link first
     * and reads the file later, so a command that has just begun still needs the package.
     */
    readonly detour: (install: Install, version: string) => Effect.Effect<void, FileFailed>
    /** Moves the package out and the staged candidate in; before that it points the command at the retained code of `from`. */
    readonly swap: (install: Install, run: number, from: string) => Effect.Effect<void, FileFailed>
    /** Brings back the package that a run moved out, and points the command at it. */
    readonly putBack: (install: Install, run: number, from: string) => Effect.Effect<void, FileFailed>
    /** Points the command at the package again. */
    readonly relink: (install: Install) => Effect.Effect<void, FileFailed>
    /**
     * Ends the detour; removes what a run left in the hidden directory, its pointer last. Gives what may not be removed,
     * such as a tree with an immutable file: nobody needs it, and the next run tries again.
     */
    readonly cleanUp: (install: Install, run: number) => Effect.Effect<ReadonlyArray<string>, FileFailed>
    /**
     * Removes retained code but that of the versions to `keep` and of the newest few: the backups of another data
     * directory on this install may want it. Gives what may not be removed, as `cleanUp` does.
     */
    readonly pruneRetained: (
      install: Install,
      keep: ReadonlyArray<string>,
    ) => Effect.Effect<ReadonlyArray<string>, FileFailed>
    readonly pointer: (hidden: string) => Effect.Effect<Option.Option<RunPointer>, FileFailed>
    readonly point: (install: Install, pointer: RunPointer) => Effect.Effect<void, FileFailed>
  }
>() {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const files = yield* DurableFile
      const { asInstaller } = yield* Privilege

      const linkTo = (install: Install, packageDir: string) =>
        Effect.gen(function* () {
          const target = relative(dirname(install.binLink), packagePaths(packageDir).bin)
          const now = yield* files.readLink(install.binLink)
          if (Option.contains(now, target)) return
          yield* files.link(target, install.binLink)
        })

      const denied = (path: string, code: string) =>
        Effect.gen(function* () {
          const owner = yield* Effect.option(files.stat(path))
          return yield* new NoPermission({
            path,
            code,
            owner: Option.match(
              Option.flatMap(owner, (info) => info.uid),
              {
                onNone: () => "unknown",
                onSome: (uid) => (uid === 0 ? "root" : `user ${uid}`),
              },
            ),
          })
        })

      const probeDirectory = (path: string) =>
        Effect.gen(function* () {
          const probe = join(path, PROBE_FILE)
          yield* files.append(probe, "")
          yield* files.remove(probe)
        }).pipe(
          Effect.catchIf(
            (error) => ["EACCES", "EPERM", "EROFS"].includes(error.code),
            ({ code }) => denied(path, code),
          ),
        )

      /** What names no build is taken as it is. */
      const isWhole = (directory: string) =>
        Effect.gen(function* () {
          const named = yield* Effect.provideService(namedBuild(directory), DurableFile, files)
          return Option.isNone(named) || buildOf(yield* files.hashFiles(directory)) === named.value
        })

      const isRetained = (install: Install, version: string) =>
        Effect.gen(function* () {
          const directory = hiddenPaths(install.hidden).retained(version)
          return (yield* files.isDirectory(directory)) && (yield* isWhole(directory))
        })

      /** A copy that appears whole, by one rename, or not at all. */
      const copyWhole = (from: string, to: string) =>
        Effect.gen(function* () {
          const partial = `${to}${PARTIAL}`
          yield* files.remove(partial)
          yield* files.makeDirectory(dirname(to), 0o755)
          yield* files.copyTree(from, partial)
          yield* files.remove(to)
          yield* files.rename(partial, to)
        })

      /** False where it stays: something in it is immutable, mounted, or open on a network file system. */
      const removeUnlessStuck = (path: string) =>
        Effect.catchIf(
          Effect.as(files.remove(path), true),
          ({ code }) => stuck.includes(code),
          () => Effect.succeed(false),
        )

      const acts = PackageSwap.of({
        probe: (install) =>
          Effect.gen(function* () {
            for (const path of directoriesOf(install)) yield* probeDirectory(path)
            yield* files.makeDirectory(install.hidden, 0o755)
            yield* probeDirectory(install.hidden)
          }),
        expectMovable: (install, run, version) =>
          Effect.gen(function* () {
            const { packageDir } = install
            const target = hiddenPaths(install.hidden).staging(run)
            yield* files.makeDirectory(target, 0o755)
            yield* files.write(join(target, "full"), "")
            const { code } = yield* Effect.flip(files.rename(packageDir, target)).pipe(
              // Never seen: no file system replaces what is not empty. The package goes back at once.
              Effect.catchAll(() =>
                Effect.zipRight(
                  files.rename(target, packageDir),
                  new PackageNotMovable({
                    packageDir,
                    version,
                    code: "a directory that is not empty was replaced",
                  }),
                ),
              ),
            )
            yield* files.remove(target)
            if (code === "ENOTEMPTY" || code === "EEXIST") return
            if (code === "EACCES" || code === "EROFS") return yield* denied(dirname(packageDir), code)
            // A rename out of a mount fails as one out of a lower layer does, and what helps is not the same.
            const mounts = yield* mountPoints(files)
            const mount = [dirname(packageDir), install.hidden].find((path) => mounts.has(path))
            return yield* new PackageNotMovable({ packageDir, version, code, mount })
          }),
        mayChange: (install) =>
          Effect.gen(function* () {
            const isMade = yield* files.exists(install.hidden)
            for (const path of [...directoriesOf(install), ...(isMade ? [install.hidden] : [])]) {
              const refusal = yield* files.writeRefusal(path)
              if (Option.isSome(refusal)) return yield* denied(path, refusal.value)
            }
          }),
        isRetained,
        expectWhole: (install, version) =>
          Effect.gen(function* () {
            const { packageDir } = install
            if (!(yield* isWhole(packageDir)))
              return yield* new PackageDamaged({
                path: join(packageDir, "dist"),
                problem: "is not the code that its package.json names",
                version,
              })
          }),
        retain: Effect.fn("PackageSwap.retain")(function* (install: Install, version: string) {
          const target = hiddenPaths(install.hidden).retained(version)
          // Once per version; another build of the same version replaces it.
          if (
            (yield* isRetained(install, version)) &&
            (yield* files.hashTree(target)) === (yield* files.hashTree(install.packageDir))
          )
            return
          yield* copyWhole(install.packageDir, target)
        }),
        stageRetained: (install, run, version) => {
          const hidden = hiddenPaths(install.hidden)
          return copyWhole(hidden.retained(version), hidden.stagedPackage(run))
        },
        swap: Effect.fn("PackageSwap.swap")(function* (install: Install, run: number, from: string) {
          const hidden = hiddenPaths(install.hidden)
          const staged = hidden.stagedPackage(run)
          // Without a staged candidate the swap has been done: it is what is in the package's place now.
          if (!(yield* files.exists(staged))) return
          yield* linkTo(install, hidden.retained(from))
          if (yield* files.exists(install.packageDir))
            yield* files.rename(install.packageDir, hidden.outgoing(run))
          yield* files.rename(staged, install.packageDir)
        }),
        putBack: Effect.fn("PackageSwap.putBack")(function* (install: Install, run: number, from: string) {
          const hidden = hiddenPaths(install.hidden)
          if (yield* files.exists(hidden.outgoing(run))) {
            if (yield* files.exists(install.packageDir)) {
              yield* files.remove(hidden.rejected(run))
              yield* files.rename(install.packageDir, hidden.rejected(run))
            }
            yield* files.rename(hidden.outgoing(run), install.packageDir)
          } else if (!(yield* files.exists(install.packageDir))) {
            yield* copyWhole(hidden.retained(from), install.packageDir)
          }
          yield* linkTo(install, install.packageDir)
        }),
        detour: (install, version) => linkTo(install, hiddenPaths(install.hidden).retained(version)),
        relink: (install) => linkTo(install, install.packageDir),
        cleanUp: Effect.fn("PackageSwap.cleanUp")(function* (install: Install, run: number) {
          const hidden = hiddenPaths(install.hidden)
          if (
            Option.exists(yield* files.readLink(install.binLink), (target) =>
              target.includes(`/${basename(install.hidden)}/`),
            )
          )
            yield* linkTo(install, install.packageDir)
          const kept: Array<string> = []
          const tidy = (path: string) =>
            Effect.tap(removeUnlessStuck(path), (isGone) => {
              if (!isGone) kept.push(path)
              return Effect.void
            })
          for (const path of [hidden.staging(run), hidden.outgoing(run), hidden.rejected(run)])
            yield* tidy(path)
          // An npm that outlived its upgrader may have gone on after that run was cleaned up. One run at a time
          // has the install, so what other runs left is nobody's.
          for (const name of yield* files.list(install.hidden))
            if (/^(staging|outgoing|rejected)-\d+$/.test(name)) {
              const path = join(install.hidden, name)
              if (!kept.includes(path)) yield* tidy(path)
            }
          // A copy that was cut off, or for which there was no space.
          for (const name of yield* files.list(hidden.retainedAll))
            if (name.endsWith(PARTIAL)) yield* tidy(join(hidden.retainedAll, name))
          yield* tidy(`${install.packageDir}${PARTIAL}`)
          yield* files.remove(hidden.pointer)
          return kept
        }),
        pruneRetained: (install, keep) =>
          Effect.gen(function* () {
            const { retainedAll } = hiddenPaths(install.hidden)
            const names = yield* files.list(retainedAll)
            const newest = names.filter(isVersion).sort(compare).slice(-RETAINED)
            const old = names
              .filter((name) => ![...keep, ...newest].includes(name))
              .map((name) => join(retainedAll, name))
            // One that stays is no reason for the others to.
            return yield* Effect.filter(old, removeUnlessStuck, { negate: true })
          }),
        pointer: (hidden) =>
          readJsonIfValid(RunPointer, hiddenPaths(hidden).pointer).pipe(
            Effect.provideService(DurableFile, files),
          ),
        point: (install, pointer) =>
          files.write(hiddenPaths(install.hidden).pointer, JSON.stringify(pointer), 0o644),
      })
      // All of it is on the package: with the rights over that, whoever owns the data.
      return PackageSwap.of({
        probe: (...args) => asInstaller(acts.probe(...args)),
        expectMovable: (...args) => asInstaller(acts.expectMovable(...args)),
        mayChange: (...args) => asInstaller(acts.mayChange(...args)),
        retain: (...args) => asInstaller(acts.retain(...args)),
        isRetained: (...args) => asInstaller(acts.isRetained(...args)),
        expectWhole: (...args) => asInstaller(acts.expectWhole(...args)),
        detour: (...args) => asInstaller(acts.detour(...args)),
        stageRetained: (...args) => asInstaller(acts.stageRetained(...args)),
        swap: (...args) => asInstaller(acts.swap(...args)),
        putBack: (...args) => asInstaller(acts.putBack(...args)),
        relink: (...args) => asInstaller(acts.relink(...args)),
        cleanUp: (...args) => asInstaller(acts.cleanUp(...args)),
        pruneRetained: (...args) => asInstaller(acts.pruneRetained(...args)),
        pointer: (...args) => asInstaller(acts.pointer(...args)),
        point: (...args) => asInstaller(acts.point(...args)),
      })
    }),
  )
}
