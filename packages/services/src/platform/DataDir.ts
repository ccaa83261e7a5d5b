import { dirname, isAbsolute, join, resolve } from "node:path"
import {
  ConfigInvalid,
  type FileFailed,
  NotInitialised,
  NoWorkingDirectory,
  UnsafeDataDir,
} from "@waiaas/domain/DataErrors"
import { OtherOwner } from "@waiaas/domain/RunErrors"
import { shellWord } from "@waiaas/domain/Shell"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { DurableFile } from "./DurableFile.ts"
import { Environment, isUnderSudo } from "./Environment.ts"
import { type Entry, Ownership } from "./Ownership.ts"
import { Privilege } from "./Privilege.ts"
import { realPlace } from "./RealPlace.ts"

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
  /** Held by whoever carries a run on (an upgrade, a rollback, a recovery), and by `backup create`. */
  runLock: join(root, "upgrade", "run.lock"),
  /** Held by whoever has the database: the daemon; while it is down a run, `init` or `backup create`. */
  dataLock: join(root, "upgrade", "data.lock"),
  /** Shared by children that work on the database for a run: they can outlive it. */
  toolLock: join(root, "upgrade", "tool.lock"),
  /** What the daemon knows of the first starts after an upgrade. */
  probation: join(root, "upgrade", "probation.json"),
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
    /** Fails where it is not certain which directory the operator means: an empty name, or a relative one of nothing. */
    readonly expectPlace: Effect.Effect<void, NoWorkingDirectory | ConfigInvalid>
    /** Fails unless it is there, is ours and is private: the directory and what is directly in it. */
    readonly check: Effect.Effect<
      void,
      NotInitialised | UnsafeDataDir | OtherOwner | FileFailed | NoWorkingDirectory | ConfigInvalid
    >
    /**
     * Fails unless every file of ours is private and this user's, and those that the configuration puts elsewhere are
     * where nobody else can replace them. Reads no content.
     */
    readonly checkAll: (places: {
      readonly databasePath: string
      readonly logFile: string
    }) => Effect.Effect<void, UnsafeDataDir | FileFailed>
    /** Fails unless a data directory may be made here: nothing is there, or nothing that is not ours. */
    readonly expectRoom: Effect.Effect<
      void,
      UnsafeDataDir | OtherOwner | FileFailed | NoWorkingDirectory | ConfigInvalid
    >
    /** Creates what is missing, private whatever the umask. */
    readonly create: Effect.Effect<void, FileFailed>
  }
>() {
  static readonly layer = (flag: Option.Option<string>) =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const environment = yield* Environment
        const files = yield* DurableFile
        const privilege = yield* Privilege
        const { entriesAt, entriesBelow, entryAt, linksTo, nearestAbove } = yield* Ownership
        const named = Option.orElse(flag, () =>
          Option.filter(Option.fromNullable(environment.variables.WAIAAS_DATA_DIR), (text) => text !== ""),
        )
        const wanted = resolve(
          environment.cwd ?? "/",
          Option.getOrElse(named, () => join(environment.home, ".waiaas")),
        )
        // What is not there, or may not be seen, is what `check` says.
        const real = yield* Effect.orElseSucceed(files.realPath(wanted), () => wanted)
        const paths = dataPaths(real)

        const underSudo = isUnderSudo(environment)
        const refusal = yield* Effect.gen(function* () {
          if (!underSudo || Option.isNone(named) || !(yield* files.exists(real))) return null
          const { uid, gid } = yield* files.stat(real)
          if (Option.isNone(uid) || uid.value === 0) return null
          const owner = { uid: uid.value, gid: Option.getOrElse(gid, () => uid.value) }
          return yield* privilege.become(owner).pipe(
            Effect.as(null),
            Effect.catchAll(({ code }) => Effect.succeed(code)),
          )
        })
        const user = privilege.taken()?.uid ?? environment.uid
        const isForeign = ({ uid }: { readonly uid: number }) => user !== null && uid !== user

        const otherOwner = (path: string, owner: number) =>
          new OtherOwner({ path, dataDir: real, owner, user: environment.uid ?? owner })

        /** Whoever puts a link there chooses whose data is worked on: under sudo that is its owner or root alone. */
        const checkLinks = Effect.gen(function* () {
          if (!underSudo || user === null) return
          const link = (yield* linksTo(wanted)).find(({ uid }) => uid !== 0 && uid !== user)
          if (link !== undefined)
            return yield* new UnsafeDataDir({
              path: link.path,
              problem: `it is a link of user ${link.uid}, and leads to data of user ${user}`,
              command: `Name the directory itself after --data-dir (${shellWord(real)}) if it is the one that is meant.`,
            })
        })

        /** The directory itself, of this user; none where it is not there. */
        const rootEntry = Effect.gen(function* () {
          const seen = yield* Effect.either(entryAt(real))
          if (Either.isLeft(seen)) {
            // What keeps this user from seeing it belongs to somebody: that says more than "permission denied".
            const above = yield* nearestAbove(real)
            if (isForeign(above) && above.uid !== 0) return yield* otherOwner(above.path, above.uid)
            return yield* seen.left
          }
          const entry = Option.getOrNull(seen.right)
          if (entry === null) return null
          if (entry.kind !== "directory")
            return yield* new UnsafeDataDir({
              path: real,
              problem: "it is no directory",
              command: "Name a directory after --data-dir, or leave it out for ~/.waiaas.",
            })
          if (refusal !== null)
            return yield* new UnsafeDataDir({
              path: real,
              problem: `it belongs to user ${entry.uid}, and this system does not let root act as that user (${refusal})`,
              command: `Run the command as its owner, without \`sudo\` (a container: \`--user ${entry.uid}\`), and --data-dir ${shellWord(real)} at its end.`,
            })
          if (isForeign(entry)) return yield* otherOwner(real, entry.uid)
          return entry
        })

        /** What the operator named by a relative path has to have a directory that it is relative to. */
        const expectPlace = Effect.gen(function* () {
          const variable = environment.variables.WAIAAS_DATA_DIR
          // A script whose own variable is empty: the default is somebody else's data, perhaps.
          if (Option.isNone(flag) && variable?.trim() === "")
            return yield* new ConfigInvalid({
              source: "environment",
              key: "WAIAAS_DATA_DIR",
              value: JSON.stringify(variable),
              allowed: "a directory; unset it for ~/.waiaas",
            })
          const relative = [
            Option.getOrUndefined(named),
            environment.variables.WAIAAS_MASTER_PASSWORD_FILE,
          ].find((path) => path !== undefined && path !== "" && !isAbsolute(path))
          if (environment.cwd === null && relative !== undefined)
            return yield* new NoWorkingDirectory({ path: relative })
        })

        /** Of another program `config.toml` can be as well: ours has a keystore or a journal with it. */
        const isOurs = Effect.gen(function* () {
          if (!(yield* files.exists(paths.config))) return false
          return (yield* files.exists(paths.keystore)) || (yield* files.exists(paths.journals))
        })

        /** Fails at the first of these that another user owns, or else names all that others may read or write. */
        const expectPrivate = (entries: ReadonlyArray<Entry>) => {
          const foreign = entries.find(isForeign)
          if (foreign !== undefined)
            return new UnsafeDataDir({
              path: foreign.path,
              problem: `it belongs to user ${foreign.uid}, and the data to user ${user}`,
              command:
                "Find out who put it there; move it away, or give it to the data's owner if it is theirs, then run the command again.",
            })
          // The mode of a link says nothing.
          const open = entries.filter(({ kind, mode }) => kind !== "link" && (mode & 0o077) !== 0)
          const [first] = open
          return first === undefined
            ? Effect.void
            : new UnsafeDataDir({
                path: first.path,
                problem: `others may read or write it (mode ${(first.mode & 0o777).toString(8)})${
                  open.length > 1
                    ? `, and ${open.length - 1} more ${open.length === 2 ? "file" : "files"} of the data`
                    : ""
                }`,
                command: chmodOf(open),
              })
        }

        const checkRoot = Effect.gen(function* () {
          yield* checkLinks
          const root = yield* rootEntry
          if (root === null || !(yield* isOurs)) return false
          const { config, token, data, keystore, backups, upgrade } = paths
          const found = [root]
          for (const path of [config, token, data, keystore, backups, upgrade])
            found.push(...(yield* entriesAt(path)))
          yield* expectPrivate(found)
          return true
        })

        /**
         * Where a file of ours is outside of the data directory, nobody else may put another in its place: neither there nor
         * by another directory or link on the way. In a directory like /tmp others cannot replace a database, but can put a
         * write-ahead log next to it.
         */
        const checkOutside = (path: string, hasHelpers: boolean) =>
          Effect.gen(function* () {
            if (path.startsWith(`${real}/`)) return
            const refuse = (entry: Entry, problem: string) =>
              new UnsafeDataDir({
                path: entry.path,
                problem,
                command: `Choose another place for ${path} in config.toml, then run the command again.`,
              })
            // The mode of a link says nothing: what counts is where it is, and where it leads.
            const links = yield* orIfUnseen(linksTo(path), [])
            const place = yield* orIfUnseen(realPlace(files, path), path)
            for (const from of [...links.map((link) => link.path), place]) {
              const isPlace = from === place
              let below = from
              while (below !== dirname(below)) {
                const directory = yield* nearestAbove(below)
                const isItsOwn = isPlace && directory.path === dirname(place)
                const isSticky = (directory.mode & 0o1000) !== 0
                const isOpen = (directory.mode & 0o002) !== 0 && !(isSticky && !(isItsOwn && hasHelpers))
                const isRoots = directory.uid === 0 || (directory.uid === UNMAPPED && !isItsOwn)
                if (isOpen)
                  return yield* refuse(directory, `everybody may put files there, and ${path} is to be there`)
                if (isForeign(directory) && !isRoots)
                  return yield* refuse(
                    directory,
                    `it belongs to user ${directory.uid}, and ${path} of user ${user} is to be there`,
                  )
                below = directory.path
              }
            }
            // Everybody may make one in a directory like /tmp.
            const stranger = links.find(({ uid }) => isForeign({ uid }) && uid !== 0)
            if (stranger !== undefined)
              return yield* refuse(
                stranger,
                `it is a link of user ${stranger.uid}, and ${path} of user ${user} is to be behind it`,
              )
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
            if (!(yield* checkRoot)) return yield* new NotInitialised({ dataDir: real })
          }),
          checkAll: ({ databasePath, logFile }) =>
            Effect.gen(function* () {
              yield* checkOutside(databasePath, true)
              yield* checkOutside(logFile, false)
              const { keystore, data, backups, upgrade, token, config, facts, registry } = paths
              const single = [token, config, facts, registry]
              for (const suffix of ["", "-wal", "-shm", "-journal"]) single.push(`${databasePath}${suffix}`)
              const found: Array<Entry> = []
              for (const path of single) found.push(...(yield* entriesAt(path)))
              for (const directory of [keystore, data, backups, upgrade])
                found.push(...(yield* entriesBelow(directory)))
              yield* expectPrivate([...new Map(found.map((entry) => [entry.path, entry])).values()])
            }),
          expectRoom: Effect.gen(function* () {
            yield* expectPlace
            yield* checkLinks
            const root = yield* rootEntry
            if (root === null) {
              const above = yield* nearestAbove(real)
              if (isForeign(above) && above.uid !== 0) return yield* otherOwner(above.path, above.uid)
              return
            }
            if (yield* isOurs) return void (yield* checkRoot)
            const instead = `Name a directory that does not exist yet, as in \`waiaas init --data-dir ${shellWord(join(real, "waiaas"))}\`: it is made private.`
            const foreign = (yield* files.list(real)).filter(
              (name) => !known.has(name) && !temporary.test(name),
            )
            if (foreign.length > 0)
              return yield* new UnsafeDataDir({
                path: real,
                problem: `it is no data directory of WAIaaS, and it is not empty (it has ${foreign.slice(0, 3).join(", ")}${foreign.length > 3 ? ", ..." : ""})`,
                command: instead,
              })
            if ((root.mode & 0o077) !== 0)
              return yield* new UnsafeDataDir({
                path: real,
                problem: `others may read or write it (mode ${(root.mode & 0o777).toString(8)})`,
                command: instead,
              })
          }),
          create: Effect.gen(function* () {
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

/** What this user may not see keeps it from the file as well, which says so itself. */
const orIfUnseen = <A, B>(effect: Effect.Effect<A, FileFailed>, otherwise: B) =>
  Effect.catchIf(
    effect,
    ({ code }) => code === "EACCES",
    () => Effect.succeed(otherwise),
  )

/** How a container without root's rights sees the directories of its host. */
const UNMAPPED = 65_534

/** What an init that was cut off can have made, and what a new file system has in it. */
const known = new Set([
  "api.token",
  "backups",
  "config.toml",
  "daemon.json",
  "data",
  "keystore",
  "logs",
  "registry.json",
  "upgrade",
  "lost+found",
])
const temporary = /^\..*\.tmp$/

const MOST_NAMED = 8

/** Closes just these, and nothing else that is in their directories. */
const chmodOf = (open: ReadonlyArray<Entry>): string => {
  const of = new Map<string, Array<string>>()
  for (const { path } of open) of.set(dirname(path), [...(of.get(dirname(path)) ?? []), path])
  const words = [...of].flatMap(([directory, paths]) => {
    const keys = paths.every((path) => path.endsWith(".json"))
    // Too many to type one by one: the keys of one directory.
    return paths.length > MOST_NAMED && keys ? [`${shellWord(directory)}/*.json`] : paths.map(shellWord)
  })
  return `chmod go= ${words.join(" ")}`
}
