/** `FileSystem` on a simulated disk: each call is one numbered operation that can crash or fail. */
import { dirname } from "node:path"
import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type Entry, Ownership } from "../platform/Ownership.ts"
import type { Disk } from "./SimulatedDisk.ts"
import { type Content, contentOf, Errno, type Node, OPAQUE } from "./SimulatedDiskState.ts"
import { type OperationKind, ProcessDead, type SimulatedProcess } from "./SimulatedWorld.ts"

/** Which process the services of a graph act for; the graph is built once and used for many. */
export interface Host {
  process: SimulatedProcess
}

/** What the machine takes away from every mode that is asked for: an operator's, or root's, that is stricter than usual. */
const UMASK = 0o077

const reasons: Record<string, PlatformError.SystemErrorReason> = {
  ENOENT: "NotFound",
  EACCES: "PermissionDenied",
  EEXIST: "AlreadyExists",
}

const failure = (method: string, path: string, code: string) =>
  // Unchecked: a missing file is no rare thing, and the check takes longer than all the rest.
  new PlatformError.SystemError(
    {
      module: "FileSystem",
      method,
      reason: reasons[code] ?? "Unknown",
      pathOrDescriptor: path,
      description: code,
      cause: { code },
    },
    { disableValidation: true },
  )

/** One operation of the host's process. A dead process waits for ever; what is no system error is a bug. */
export const operate = <A>(
  host: Host,
  kind: OperationKind,
  what: string,
  act: (disk: Disk, fault: string | null) => A,
): Effect.Effect<A, Errno> =>
  Effect.suspend(() => {
    try {
      const { process } = host
      return Effect.succeed(
        process.world.perform(process, kind, what, (fault) => act(process.world.disk, fault)),
      )
    } catch (cause) {
      if (cause instanceof Errno) return Effect.fail(cause)
      if (cause instanceof ProcessDead) return Effect.never
      return Effect.die(cause)
    }
  })

/** Whether an operation needs space that a full disk does not have: content that is new, and new names. */
export const takesSpace = (disk: Disk, what: string): boolean => {
  const [act = "", ...rest] = what.split(" ")
  const path = rest.at(-1) ?? ""
  if (act.startsWith("open-") && act !== "open-r") return disk.node(path) === null
  if (act === "sqlite") return /^(append|open-wal|open-shm|copy to|checkpoint)/.test(rest.join(" "))
  return act === "write" || act === "makeDirectory" || act === "symlink" || what.startsWith("npm writes")
}

/** Whose everything is. */
const OWNER = 1000

const infoOf = (node: Node, device: number): FileSystem.File.Info => ({
  type: node.kind === "file" ? "File" : node.kind === "directory" ? "Directory" : "SymbolicLink",
  mtime: Option.none(),
  atime: Option.none(),
  birthtime: Option.none(),
  dev: device,
  ino: Option.some(node.ino),
  mode: node.kind === "link" ? 0o777 : node.mode,
  nlink: Option.some(1),
  uid: Option.some(OWNER),
  gid: Option.some(1000),
  rdev: Option.none(),
  size: FileSystem.Size(node.kind === "file" ? node.content.size : 0),
  blksize: Option.none(),
  blocks: Option.none(),
})

const textOf = (content: Content, path: string): string => {
  if (content.size > OPAQUE) throw new Error(`${path} holds space, not content: nobody reads it`)
  return content.text
}

const joined = (before: Content, added: Uint8Array): Content => {
  const size = before.size + added.length
  return size > OPAQUE ? { text: "", size } : contentOf(before.text + Buffer.from(added).toString("latin1"))
}

export const layerSimulated = (host: Host): Layer.Layer<FileSystem.FileSystem> => {
  const call = <A>(method: string, kind: OperationKind, path: string, act: (disk: Disk) => A) =>
    Effect.mapError(
      operate(host, kind, `${method} ${path}`, (disk, fault) => {
        if (fault !== null) throw new Errno(fault, path)
        return act(disk)
      }),
      (error) => failure(method, path, error.code),
    )

  const openFile = (path: string, ino: number, append: boolean): FileSystem.File => {
    let position = 0
    const fileOf = (disk: Disk): Node => {
      const node = disk.byNumber(ino)
      if (node === null) throw new Error(`${path} was removed while it was open: the product never does that`)
      return node
    }
    const contentIn = (disk: Disk): Content => {
      const node = fileOf(disk)
      if (node.kind !== "file") throw new Errno("EISDIR", path)
      return node.content
    }
    const write = (buffer: Uint8Array) =>
      Effect.mapError(
        operate(host, "write", `write ${path}`, (disk, fault) => {
          const before = contentIn(disk)
          if (!append && position !== before.size)
            throw new Error(`${path} is written inside: the product never does that`)
          // A disk that gets full, or a cable that breaks, may have taken a part of it.
          const part = fault === null ? buffer : buffer.subarray(0, Math.ceil(buffer.length / 2))
          if (fault === null || fault === "ENOSPC" || fault === "EIO")
            disk.setContent(ino, joined(before, part))
          if (fault !== null) throw new Errno(fault, path)
          position = before.size + buffer.length
        }),
        (error) => failure("write", path, error.code),
      )
    return {
      [FileSystem.FileTypeId]: FileSystem.FileTypeId,
      fd: FileSystem.FileDescriptor(ino),
      stat: call("fstat", "read", path, (disk) => infoOf(fileOf(disk), disk.device(path))),
      seek: () => Effect.dieMessage("seek is not simulated"),
      sync: Effect.mapError(
        operate(host, "write", `sync ${path}`, (disk, fault) => {
          if (fault === null) return disk.sync(ino)
          disk.failSync(ino)
          throw new Errno(fault, path)
        }),
        (error) => failure("sync", path, error.code),
      ),
      read: (buffer) =>
        call("read", "read", path, (disk) => {
          const text = textOf(contentIn(disk), path).slice(position, position + buffer.length)
          buffer.set(Buffer.from(text, "latin1"))
          position += text.length
          return FileSystem.Size(text.length)
        }),
      readAlloc: () => Effect.dieMessage("readAlloc is not simulated"),
      truncate: (length = 0) =>
        call("truncate", "write", path, (disk) =>
          disk.setContent(ino, contentOf(textOf(contentIn(disk), path).slice(0, Number(length)))),
        ),
      write: (buffer) => Effect.as(write(buffer), FileSystem.Size(buffer.length)),
      writeAll: write,
    }
  }

  /** A tree goes entry by entry, and each can be the last one. */
  const removeTree = (path: string): Effect.Effect<void, PlatformError.PlatformError> =>
    Effect.suspend(() => {
      const node = host.process.world.disk.node(path, false)
      const below = node?.kind === "directory" ? [...node.entries.keys()] : []
      return Effect.zipRight(
        Effect.forEach(below, (name) => removeTree(`${path}/${name}`), { discard: true }),
        call("remove", "write", path, (disk) => disk.unlink(path)),
      )
    })

  const missing = (method: string) => () =>
    Effect.dieMessage(`${method} is not simulated: DurableFile does not use it`)

  return Layer.succeed(
    FileSystem.FileSystem,
    FileSystem.make({
      access: (path) => call("access", "read", path, (disk) => void disk.lookUp(path)),
      stat: (path) => call("stat", "read", path, (disk) => infoOf(disk.lookUp(path), disk.device(path))),
      readLink: (path) => call("readLink", "read", path, (disk) => disk.readLink(path)),
      realPath: (path) => call("realPath", "read", path, (disk) => disk.realPath(path)),
      readDirectory: (path) => call("readDirectory", "read", path, (disk) => disk.list(path)),
      readFile: (path) =>
        call(
          "readFile",
          "read",
          path,
          (disk) => new Uint8Array(Buffer.from(textOf(disk.file(path).content, path), "latin1")),
        ),
      chmod: (path, mode) => call("chmod", "write", path, (disk) => disk.chmod(path, mode)),
      makeDirectory: (path, options) =>
        call("makeDirectory", "write", path, (disk) =>
          disk.makeDirectory(path, (options?.mode ?? 0o755) & ~UMASK),
        ),
      symlink: (target, path) => call("symlink", "write", path, (disk) => disk.symlink(target, path)),
      rename: (from, to) => call("rename", "rename", `${from} ${to}`, (disk) => disk.rename(from, to)),
      remove: (path, options) =>
        options?.recursive === true
          ? removeTree(path)
          : call("remove", "write", path, (disk) => {
              // As Node does, which asks for `recursive`.
              if (disk.node(path, false)?.kind === "directory") throw new Errno("EISDIR", path)
              disk.unlink(path)
            }),
      open: (path, { flag = "r", mode = 0o644 } = {}) => {
        const append = flag === "a"
        if (!["r", "w", "wx", "a"].includes(flag))
          return Effect.dieMessage(`open with ${flag} is not simulated`)
        const create = flag !== "r"
        return Effect.map(
          call(`open-${flag}`, create ? "write" : "read", path, (disk) => {
            if (flag === "wx" && disk.node(path, false) !== null) throw new Errno("EEXIST", path)
            return disk.open(path, { create, truncate: flag === "w", mode: mode & ~UMASK })
          }),
          (ino) => openFile(path, ino, append),
        )
      },
      chown: missing("chown"),
      copy: missing("copy"),
      copyFile: missing("copyFile"),
      link: missing("link"),
      makeTempDirectory: missing("makeTempDirectory"),
      makeTempDirectoryScoped: missing("makeTempDirectoryScoped"),
      makeTempFile: missing("makeTempFile"),
      makeTempFileScoped: missing("makeTempFileScoped"),
      truncate: missing("truncate"),
      utimes: missing("utimes"),
      watch: () => {
        throw new Error("watch is not simulated")
      },
      writeFile: missing("writeFile"),
    }),
  )
}

/** Owners and modes as the simulated disk has them: all of it is one user's. To look is no operation of a run. */
export const layerOwnership = (host: Host) => {
  const entryAt = (path: string): Effect.Effect<Option.Option<Entry>> =>
    Effect.sync(() =>
      Option.map(Option.fromNullable(host.process.world.disk.node(path)), (node) => ({
        path,
        uid: OWNER,
        mode: node.kind === "link" ? 0o777 : node.mode,
        kind: node.kind,
      })),
    )
  return Layer.succeed(Ownership, {
    entryAt,
    entriesAt: (path) => Effect.map(entryAt(path), Option.toArray),
    nearestAbove: (path) =>
      Effect.succeed({ path: dirname(path), uid: OWNER, mode: 0o700, kind: "directory" }),
    linksTo: () => Effect.succeed([]),
    entriesBelow: () => Effect.succeed([]),
  })
}
