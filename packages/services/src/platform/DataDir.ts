import { isAbsolute, join, resolve } from "node:path"
import type * as FileSystem from "@effect/platform/FileSystem"
import { type FileFailed, NotInitialised, NoWorkingDirectory, UnsafeDataDir } from "@waiaas/domain/DataErrors"
import { OtherOwner } from "@waiaas/domain/RunErrors"
import { shellWord } from "@waiaas/domain/Shell"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { DurableFile } from "./DurableFile.ts"
import { Environment } from "./Environment.ts"
import { Privilege } from "./Privilege.ts"

/** Everything below a data directory has its one name here. */
export const dataPaths = (root: string) => ({
  root,
  config: join(root, "config.toml"),
  token: join(root, "api.token"),
  /** What the running daemon says of itself. */
  facts: join(root, "daemon.json"),
  data: join(root, "data"),
  keystore: join(root, "keystore"),
  logs: join(root, "logs"),
  backups: join(root, "backups"),
  upgrade: join(root, "upgrade"),
  journals: join(root, "upgrade", "journal"),
  /** Space that a recovery can count on. */
  reserve: join(root, "upgrade", "reserve"),
  /** Held by whoever carries a run on: an upgrade, a rollback, a recovery. */
  runLock: join(root, "upgrade", "run.lock"),
  /** Held by whoever has the database: the daemon, or a run while the daemon is down. */
  dataLock: join(root, "upgrade", "data.lock"),
  /** Shared by children that work on the database for a run: they can outlive it. */
  toolLock: join(root, "upgrade", "tool.lock"),
  /** Registry that npm was seen to use. */
  registry: join(root, "registry.json"),
})
export type DataPaths = ReturnType<typeof dataPaths>

/** The data directory: `--data-dir`, then `WAIAAS_DATA_DIR`, then `~/.waiaas`; links resolved once. */
export class DataDir extends Context.Tag("@waiaas/services/DataDir")<
  DataDir,
  {
    readonly paths: DataPaths
    /** Whether the operator named it, rather than taking the default. */
    readonly explicit: boolean
    /** Fails where a relative path of the operator's has no working directory to be relative to. */
    readonly expectPlace: Effect.Effect<void, NoWorkingDirectory>
    /** Fails unless it is there, is ours and is private. */
    readonly check: Effect.Effect<
      void,
      NotInitialised | UnsafeDataDir | OtherOwner | FileFailed | NoWorkingDirectory
    >
    /** Creates what is missing, private whatever the umask. */
    readonly create: Effect.Effect<void, UnsafeDataDir | OtherOwner | FileFailed | NoWorkingDirectory>
  }
>() {
  static readonly layer = (flag: Option.Option<string>) =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const environment = yield* Environment
        const files = yield* DurableFile
        const privilege = yield* Privilege
        const named = Option.orElse(flag, () =>
          Option.filter(Option.fromNullable(environment.variables.WAIAAS_DATA_DIR), (text) => text !== ""),
        )
        const wanted = resolve(
          environment.cwd ?? "/",
          Option.getOrElse(named, () => join(environment.home, ".waiaas")),
        )
        const real = (yield* files.exists(wanted))
          ? yield* files.realPath(wanted).pipe(Effect.orElseSucceed(() => wanted))
          : wanted
        const paths = dataPaths(real)

        const underSudo = environment.uid === 0 && (environment.variables.SUDO_USER ?? "") !== ""
        if (underSudo && Option.isSome(named) && (yield* files.exists(real))) {
          const { uid, gid } = yield* files.stat(real)
          if (Option.isSome(uid) && uid.value !== 0)
            yield* privilege.become({ uid: uid.value, gid: Option.getOrElse(gid, () => uid.value) })
        }

        const checkOne = (path: string, info: FileSystem.File.Info) =>
          Effect.gen(function* () {
            const owner = Option.getOrElse(info.uid, () => 0)
            const user = privilege.taken()?.uid ?? environment.uid
            if (user !== null && owner !== user)
              return yield* new OtherOwner({ path, dataDir: real, owner, user })
            if ((info.mode & 0o077) !== 0)
              return yield* new UnsafeDataDir({
                path,
                problem: `others may read or write it (mode ${(info.mode & 0o777).toString(8)})`,
                command: `chmod -R go= ${shellWord(real)}`,
              })
          })

        /** Owner and mode of what is there; gives whether the directory and its configuration are. */
        const checkAll = Effect.gen(function* () {
          const root = yield* files.statIfThere(real)
          if (Option.isSome(root) && root.value.type !== "Directory")
            return yield* new UnsafeDataDir({
              path: real,
              problem: "it is no directory",
              command: "Name a directory after --data-dir, or leave it out for ~/.waiaas.",
            })
          const config = yield* files.statIfThere(paths.config)
          const { token, data, keystore, backups, upgrade } = paths
          const found = [[real, root] as const, [paths.config, config] as const]
          for (const path of [token, data, keystore, backups, upgrade])
            found.push([path, yield* files.statIfThere(path)])
          for (const [path, info] of found) if (Option.isSome(info)) yield* checkOne(path, info.value)
          return Option.isSome(root) && Option.isSome(config)
        })

        /** What the operator named by a relative path has to have a directory that it is relative to. */
        const expectPlace = Effect.gen(function* () {
          const relative = [
            Option.getOrUndefined(named),
            environment.variables.WAIAAS_MASTER_PASSWORD_FILE,
          ].find((path) => path !== undefined && path !== "" && !isAbsolute(path))
          if (environment.cwd === null && relative !== undefined)
            return yield* new NoWorkingDirectory({ path: relative })
        })

        return {
          paths,
          expectPlace,
          explicit: Option.isSome(named),
          check: Effect.gen(function* () {
            yield* expectPlace
            if (underSudo && Option.isNone(named))
              return yield* new UnsafeDataDir({
                path: real,
                problem: "under sudo it is not clear whose data is meant",
                command:
                  "Run the command again with the data directory of its owner, such as --data-dir ~/.waiaas, at its end.",
              })
            if (!(yield* checkAll)) return yield* new NotInitialised({ dataDir: real })
          }),
          create: Effect.gen(function* () {
            yield* expectPlace
            yield* checkAll
            for (const path of [
              real,
              paths.data,
              paths.keystore,
              paths.logs,
              paths.backups,
              paths.upgrade,
              paths.journals,
            ])
              yield* files.makeDirectory(path)
          }),
        }
      }),
    )
}
