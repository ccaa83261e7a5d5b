/** What a run will have to change is tried in step 1, by the calls that it will be changed with. */
import { basename, dirname } from "node:path"
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { ConfigFile } from "@waiaas/services/ConfigFile"
import { expectChangeable, filesOfDatabase } from "@waiaas/services/PlacesCheck"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile, PROBE_FILE } from "@waiaas/services/platform/DurableFile"
import { mountPointsIn } from "@waiaas/services/platform/Mounts"
import { Rollback } from "@waiaas/services/Rollback"
import { SimulatedInstall } from "@waiaas/services/testing/SimulatedInstall"
import { asVersion, layerSimulated } from "@waiaas/services/testing/SimulatedUpgrade"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { upgrade } from "./simulated.ts"

/** What the system does not allow, by the paths below the data directory; and where something is mounted. */
interface Forbidden {
  /** Of a directory: to make a file in it. Of a file: to rename it or something onto it. */
  readonly changes?: Readonly<Record<string, string>>
  /** Directories from which nothing can be removed. */
  readonly onlyGrow?: ReadonlyArray<string>
  readonly mounts?: ReadonlyArray<string>
}

const refusal = (method: string, path: string, code: string) =>
  new SystemError({
    module: "FileSystem",
    method,
    reason: "Unknown",
    pathOrDescriptor: path,
    cause: { code },
  })

/** This machine's files, with what is forbidden at the moment. */
const makeMachine = () => {
  let forbidden: Forbidden = {}
  let root = ""
  const below = (path: string) => path.slice(root.length + 1)
  const codeOf = (path: string) => (path.startsWith(root) ? forbidden.changes?.[below(path)] : undefined)
  const onlyGrows = (path: string) => forbidden.onlyGrow?.includes(below(dirname(path))) === true
  const layer = layerSimulated().pipe(
    Layer.provideMerge(
      Layer.effect(
        FileSystem.FileSystem,
        Effect.map(
          FileSystem.FileSystem,
          (fs): FileSystem.FileSystem => ({
            ...fs,
            open: (path, options) => {
              const code = options?.flag === "r" ? undefined : codeOf(dirname(path))
              return code === undefined ? fs.open(path, options) : Effect.fail(refusal("open", path, code))
            },
            rename: (from, to) => {
              const code = codeOf(from) ?? (onlyGrows(from) ? "EPERM" : undefined)
              return code === undefined ? fs.rename(from, to) : Effect.fail(refusal("rename", to, code))
            },
            remove: (path, options) =>
              onlyGrows(path) ? Effect.fail(refusal("remove", path, "EPERM")) : fs.remove(path, options),
          }),
        ),
      ).pipe(Layer.provide(NodeFileSystem.layer)),
    ),
  )
  const forbid = (next: Forbidden) =>
    Effect.map(DataDir, ({ paths }) => {
      root = paths.root
      forbidden = next
    })
  return { layer, forbid }
}

const causeOf = (failed: object): Record<string, unknown> => ({
  ...("cause" in failed ? (failed.cause as object) : failed),
})

const database = ["data/waiaas.db", "data/waiaas.db-wal", "data/waiaas.db-shm"]
const files = [
  ...database,
  "daemon.json",
  "upgrade/probation.json",
  "logs/daemon.out.log",
  "logs/daemon.out.log.1",
]
const directories = ["", "data", "backups", "logs", "upgrade", "upgrade/journal"]

describe("step 1", () => {
  it.scopedLive("finds each place that cannot be changed, names it, and leaves nothing there", () => {
    const { layer, forbid } = makeMachine()
    return Effect.gen(function* () {
      const { paths } = yield* DataDir
      const durable = yield* DurableFile
      const { databasePath } = yield* (yield* ConfigFile).load
      const check = expectChangeable(durable, paths, filesOfDatabase(databasePath))
      for (const path of files) yield* durable.append(`${paths.root}/${path}`, "")
      const placeOf = (path: string) => (path === "" ? paths.root : `${paths.root}/${path}`)
      for (const code of ["EPERM", "EROFS", "EACCES"])
        for (const path of [...directories, ...files]) {
          yield* forbid({ changes: { [path]: code } })
          const error = yield* Effect.flip(check)
          assert.deepInclude(error, { _tag: "PlaceNotChangeable", path: placeOf(path), code })
        }
      for (const path of directories) {
        yield* forbid({ onlyGrow: [path] })
        assert.deepInclude(yield* Effect.flip(check), { _tag: "PlaceNotChangeable", path: placeOf(path) })
      }
      yield* forbid({ changes: { backups: "ENOSPC" } })
      assert.deepInclude(yield* Effect.flip(check), {
        _tag: "FileFailed",
        path: paths.backups,
        code: "ENOSPC",
      })
      yield* forbid({})
      yield* check
      for (const path of directories)
        assert.notInclude((yield* durable.list(placeOf(path))).join(), basename(PROBE_FILE), path)
      for (const path of files) assert.isFalse(yield* durable.isDirectory(placeOf(path)), path)
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("finds a file that is mounted by itself, which no rename onto a directory shows", () => {
    const { layer } = makeMachine()
    return Effect.gen(function* () {
      const { paths } = yield* DataDir
      const durable = yield* DurableFile
      const { databasePath } = yield* (yield* ConfigFile).load
      const mounted = (path: string) => ({
        ...durable,
        readAnyTextIfThere: () =>
          Effect.succeed(
            Option.some(`36 35 98:0 / / rw - ext4 /dev/root rw\n99 36 98:0 /x ${path} rw - ext4 /d rw\n`),
          ),
      })
      for (const path of [databasePath, paths.facts]) {
        const check = expectChangeable(mounted(path), paths, filesOfDatabase(databasePath))
        assert.deepInclude(yield* Effect.flip(check), { _tag: "PlaceNotChangeable", path, code: "EBUSY" })
      }
      // The directory around them may be one.
      yield* expectChangeable(mounted(paths.data), paths, filesOfDatabase(databasePath))
      assert.isTrue(mountPointsIn("99 36 98:0 / /a\\040b\\134c rw - ext4 /d rw\n").has("/a b\\c"))
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("refuses an upgrade, its rehearsal and a rollback while the daemon serves", () => {
    const { layer, forbid } = makeMachine()
    return Effect.gen(function* () {
      const { acts, running, startDaemon } = yield* SimulatedInstall
      const { paths } = yield* DataDir
      const durable = yield* DurableFile
      const rollback = asVersion(
        "2.1.0",
        Effect.flatMap(Rollback, (service) =>
          Effect.flatMap(service.plan(Option.none()), (plan) =>
            service.run(plan, { restart: true, resumeSuspended: false }),
          ),
        ),
      )
      const stops = () => acts.filter((act) => act.includes("stops")).length
      const refused = <E extends { readonly _tag: string }, R>(
        act: Effect.Effect<unknown, E, R>,
        path: string,
      ) =>
        Effect.gen(function* () {
          const [version, before] = [running(), stops()]
          yield* forbid({ changes: { [path]: "EPERM" } })
          const cause = causeOf(yield* Effect.flip(act))
          assert.deepInclude(cause, { _tag: "PlaceNotChangeable", path: `${paths.root}/${path}` })
          assert.deepStrictEqual([running(), stops()], [version, before])
          yield* forbid({})
        })
      yield* startDaemon
      for (const path of ["logs", "data/waiaas.db"]) {
        yield* refused(upgrade({ dryRun: true }), path)
        yield* refused(upgrade(), path)
      }
      yield* upgrade()
      for (const path of ["logs", "data/waiaas.db"]) yield* refused(rollback, path)
      // One that is the backup's already stays as it is, whoever may change it.
      yield* durable.append(paths.config, "# changed since\n")
      yield* refused(rollback, "config.toml")
      yield* durable.write(paths.config, "[daemon]\nport = 3100\n")
      yield* forbid({ changes: { "config.toml": "EPERM" } })
      yield* rollback
      assert.strictEqual(running(), "2.0.0")
    }).pipe(Effect.provide(layer))
  })
})
