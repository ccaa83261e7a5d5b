/** Loopback HTTP for tests: one connection a request, so that nothing of a client outlives its answer. */
import * as http from "node:http"
import { type AddressInfo, createServer } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  /** The body as JSON; throws where it is not. */
  readonly json: <A = unknown>() => A
}

export interface Request {
  readonly method?: string
  readonly headers?: Record<string, string>
  /** Sent as JSON. */
  readonly body?: unknown
  /** Default 10 000. */
  readonly timeoutMs?: number
}

export const request = (url: string, options: Request = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const body = options.body === undefined ? undefined : JSON.stringify(options.body)
    const outgoing = http.request(
      url,
      {
        method: options.method ?? "GET",
        agent: false,
        headers: {
          connection: "close",
          ...(body !== undefined && {
            "content-type": "application/json",
            "content-length": Buffer.byteLength(body),
          }),
          ...options.headers,
        },
        signal: AbortSignal.timeout(options.timeoutMs ?? 10_000),
      },
      (answer) => {
        let text = ""
        answer.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk
        })
        answer.once("error", reject)
        answer.once("end", () =>
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            text,
            json: <A,>() => JSON.parse(text) as A,
          }),
        )
      },
    )
    outgoing.once("error", reject)
    outgoing.end(body)
  })

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

/** Polls until `probe` gives something; throws with `what` at the deadline. */
export const until = async <A,>(
  what: string,
  probe: () => Promise<A | undefined | false>,
  { timeoutMs = 10_000, everyMs = 20 } = {},
): Promise<A> => {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`)
    await sleep(everyMs)
  }
}
