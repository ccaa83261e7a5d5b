/** A counting pass-through before a real registry: what npm asked, without npm noticing. */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

export class CountingProxy {
  /** `GET /path`, in order. */
  readonly requests: Array<string> = []
  readonly #server: Server

  private constructor(target: string) {
    this.#server = createServer((incoming: IncomingMessage, outgoing: ServerResponse) => {
      this.requests.push(`${incoming.method} ${incoming.url}`)
      // The Host header stays: the registry writes it into the addresses of its tarballs.
      const passed = request(`${target}${incoming.url}`, {
        method: incoming.method,
        headers: incoming.headers,
      })
      passed.on("response", (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      })
      passed.on("error", () => outgoing.destroy())
      incoming.pipe(passed)
    })
  }

  static async start(target: string): Promise<CountingProxy> {
    const proxy = new CountingProxy(target)
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once("error", reject).listen(0, "127.0.0.1", resolve)
    })
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Requests for a package's content, as opposed to its metadata. */
  get downloads(): ReadonlyArray<string> {
    return this.requests.filter((line) => line.endsWith(".tgz"))
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
