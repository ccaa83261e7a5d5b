/** The few registry documents that the version check reads, over real HTTP, with every request counted and faults on demand. */
import { createHash } from "node:crypto"
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

export type Behaviour =
  /** The documents. */
  | { readonly kind: "serve" }
  | { readonly kind: "status"; readonly status: number }
  /** Headers never come. */
  | { readonly kind: "hang" }
  /** Headers come, the body does not end. */
  | { readonly kind: "stall" }
  | { readonly kind: "garbage"; readonly body?: string }
  | { readonly kind: "redirect-loop" }
  /** A valid document that is this big. Default 50 MB. */
  | { readonly kind: "huge"; readonly bytes?: number }
  /** The connection is cut without an answer. */
  | { readonly kind: "reset" }

export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
}

const mebibyte = Buffer.alloc(1024 * 1024, 0x61)

export class CountingRegistry {
  behaviour: Behaviour = { kind: "serve" }
  /** Offers ETags and answers 304 to a match. */
  etags = true
  /** Whether it has the document of the dist-tags; every registry has the manifests. */
  hasDistTags = true
  distTags: Record<string, string>
  readonly requests: Array<SeenRequest> = []
  readonly #server: Server

  private constructor(distTags: Record<string, string>) {
    this.distTags = distTags
    this.#server = createServer((incoming, response) => {
      const path = incoming.url ?? "/"
      this.requests.push({ method: incoming.method ?? "GET", path, headers: incoming.headers })
      incoming.resume()
      // A client that hangs up while it is answered is the point of some tests.
      response.on("error", () => undefined)
      this.#answer(path, incoming.headers["if-none-match"], response)
    })
  }

  static async start(distTags: Record<string, string> = { latest: "2.1.0" }): Promise<CountingRegistry> {
    const registry = new CountingRegistry(distTags)
    await new Promise<void>((resolve, reject) => {
      registry.#server.once("error", reject).listen(0, "127.0.0.1", resolve)
    })
    return registry
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get count(): number {
    return this.requests.length
  }

  /** The document at a path, `undefined` where there is none. */
  #document(path: string): Record<string, unknown> | undefined {
    const name = decodeURIComponent(path.split("?")[0] ?? "")
    if (name === "/-/package/@waiaas/cli/dist-tags") return this.hasDistTags ? this.distTags : undefined
    const tag = /^\/@waiaas\/cli\/([^/]+)$/.exec(name)?.[1]
    const version = tag === undefined ? undefined : (this.distTags[tag] ?? tag)
    return version === undefined || !Object.values(this.distTags).includes(version)
      ? undefined
      : { name: "@waiaas/cli", version }
  }

  #answer(path: string, match: string | undefined, response: ServerResponse): void {
    const behaviour = this.behaviour
    switch (behaviour.kind) {
      case "hang":
        return
      case "reset":
        response.socket?.destroy()
        return
      case "status":
        response
          .writeHead(behaviour.status, { "content-type": "application/json" })
          .end('{"error":"planned"}')
        return
      case "stall":
        response.writeHead(200, { "content-type": "application/json" }).write('{"latest":')
        return
      case "garbage":
        response
          .writeHead(200, { "content-type": "application/json" })
          .end(behaviour.body ?? "<html>not json</html>")
        return
      case "redirect-loop":
        response.writeHead(302, { location: path }).end()
        return
      case "huge":
        this.#huge(behaviour.bytes ?? 50 * 1024 * 1024, response)
        return
      case "serve":
        this.#serve(path, match, response)
    }
  }

  #serve(path: string, match: string | undefined, response: ServerResponse): void {
    const document = this.#document(path)
    if (document === undefined) {
      response.writeHead(404, { "content-type": "application/json" }).end('{"error":"Not found"}')
      return
    }
    const body = JSON.stringify(document)
    const etag = `"${createHash("sha256").update(body).digest("hex").slice(0, 16)}"`
    if (this.etags && match === etag) {
      response.writeHead(304, { etag }).end()
      return
    }
    response.writeHead(200, { "content-type": "application/json", ...(this.etags && { etag }) }).end(body)
  }

  #huge(bytes: number, response: ServerResponse): void {
    response.writeHead(200, { "content-type": "application/json" })
    response.write('{"latest":"2.1.0","padding":"')
    let left = bytes
    const more = () => {
      while (left > 0 && !response.destroyed) {
        left -= mebibyte.length
        if (!response.write(mebibyte)) return
      }
      if (!response.writableEnded) response.end('"}')
    }
    response.on("drain", more)
    more()
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
