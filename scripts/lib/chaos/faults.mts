/** Faults from outside: a full disk, directories that refuse, a registry that goes away, a clock that jumps. */
import { execFileSync } from "node:child_process"
import { closeSync, existsSync, openSync, writeSync } from "node:fs"
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises"
import { connect, createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

const does = (command: string, ...args: ReadonlyArray<string>): boolean => {
  try {
    execFileSync(command, [...args], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

const MEBIBYTE = Buffer.alloc(1024 * 1024, 0x61)

/** A directory's content on a small tmpfs of its own, which can be filled to the last byte. */
export class SmallDisk {
  readonly directory: string
  readonly #filler: string
  private constructor(directory: string) {
    this.directory = directory
    this.#filler = join(directory, ".somebody-elses-file")
  }

  static async under(directory: string, mebibytes: number): Promise<SmallDisk> {
    const before = `${directory}.before`
    await rename(directory, before)
    await mkdir(directory, { mode: 0o700 })
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m,mode=700`, "tmpfs", directory])
    execFileSync("cp", ["-a", `${before}/.`, directory])
    await rm(before, { recursive: true })
    return new SmallDisk(directory)
  }

  fill(): void {
    const file = openSync(this.#filler, "a")
    try {
      for (let piece = MEBIBYTE; piece.length > 0; ) {
        try {
          if (writeSync(file, piece) < piece.length) piece = piece.subarray(0, piece.length >> 1)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error
          piece = piece.subarray(0, piece.length >> 1)
        }
      }
    } finally {
      closeSync(file)
    }
  }

  async free(): Promise<void> {
    await rm(this.#filler, { force: true })
  }

  remove(): void {
    execFileSync("umount", ["--lazy", this.directory])
  }
}

/** Why the kind cannot be tried here; none where it can. */
export const noSmallDisk = async (): Promise<string | undefined> => {
  const probe = await mkdtemp(join(tmpdir(), "waiaas-mount-"))
  try {
    if (!does("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", probe)) return "mounting a tmpfs needs root"
    execFileSync("umount", [probe])
    return undefined
  } finally {
    await rm(probe, { recursive: true })
  }
}

/** Root ignores modes: the immutable flag is what it, too, is refused by. */
export const refuseWrites = (directory: string): boolean =>
  existsSync(directory) && does("chattr", "+i", directory)
export const allowWrites = (directory: string): void => {
  if (existsSync(directory)) does("chattr", "-i", directory)
}

export const noImmutable = async (): Promise<string | undefined> => {
  const probe = await mkdtemp(join(tmpdir(), "waiaas-immutable-"))
  try {
    return refuseWrites(probe) ? undefined : "chattr +i needs root and a file system that knows it"
  } finally {
    allowWrites(probe)
    await rm(probe, { recursive: true })
  }
}

/** A way to the registry that can be cut: connections end and new ones are refused. */
export class RegistryWay {
  readonly url: string
  readonly #server: Server
  readonly #sockets: Set<Socket>
  private constructor(url: string, server: Server, sockets: Set<Socket>) {
    this.url = url
    this.#server = server
    this.#sockets = sockets
  }

  static async to(registryUrl: string): Promise<RegistryWay> {
    const { hostname, port } = new URL(registryUrl)
    const sockets = new Set<Socket>()
    const server = createServer((incoming) => {
      const outgoing = connect(Number(port), hostname)
      for (const socket of [incoming, outgoing]) {
        sockets.add(socket)
        socket.once("close", () => sockets.delete(socket))
        // A connection that is cut is what this is for.
        socket.on("error", () => undefined)
      }
      incoming.pipe(outgoing)
      outgoing.pipe(incoming)
    })
    const own = await new Promise<number>((resolve, reject) => {
      server.once("error", reject).listen(0, "127.0.0.1", () => {
        const address = server.address()
        resolve(typeof address === "object" && address !== null ? address.port : 0)
      })
    })
    return new RegistryWay(`http://127.0.0.1:${own}`, server, sockets)
  }

  cut(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

const faketime = [
  "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
  "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
].find((path) => existsSync(path))

export const noClock = faketime === undefined ? "no libfaketime here: apt-get install faketime" : undefined

/** The wall clock of every process that has its environment. */
export class WallClock {
  readonly env: Record<string, string>
  readonly #file: string
  private constructor(file: string) {
    this.#file = file
    this.env = {
      LD_PRELOAD: faketime ?? "",
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      NO_FAKE_STAT: "1",
    }
  }

  static async in(directory: string): Promise<WallClock> {
    const clock = new WallClock(join(directory, "clock"))
    await clock.jump("+0")
    return clock
  }

  /** `-400d`, `+1h`: from now on it is that much off. */
  async jump(offset: string): Promise<void> {
    await writeFile(`${this.#file}.new`, `${offset}\n`)
    await rename(`${this.#file}.new`, this.#file)
  }
}
