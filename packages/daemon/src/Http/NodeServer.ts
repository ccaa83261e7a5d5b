/** A node:http server: how it listens, and how it stops without cutting anybody off. */
import { createServer, type Server, type ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { ListenFailed } from "@waiaas/domain/RunErrors"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type HttpProblem, problems, rawAnswer, send } from "./Answers.ts"
import type { Limits } from "./Limits.ts"

const unparsed: Readonly<Record<string, HttpProblem>> = {
  HPE_HEADER_OVERFLOW: problems.headersTooLarge,
  ERR_HTTP_REQUEST_TIMEOUT: problems.timeout,
}
const malformed = problems.badRequest("What was sent is not an HTTP request.")

const notProxy = problems.badRequest("The request target is not a path.")

export const makeServer = (limits: Limits): Server => {
  const time = Duration.toMillis(limits.time)
  const server = createServer({
    requestTimeout: time,
    headersTimeout: Math.min(time, 10_000),
    connectionsCheckingInterval: Math.min(time, 5_000),
    // The Host check answers it, in JSON.
    requireHostHeader: false,
  })
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (socket.writable) socket.end(rawAnswer(unparsed[error.code ?? ""] ?? malformed))
    else socket.destroy()
  })
  // Without a listener its connection would be closed without an answer.
  server.on("connect", (_request, socket) => socket.end(rawAnswer(notProxy)))
  server.on("checkExpectation", (_request, response) => send(response, problems.expectationFailed))
  return server
}

/** Gives the port, which is another one than asked for where 0 was. */
export const listen = (
  server: Server,
  options: { readonly hostname: string; readonly port: number },
): Effect.Effect<number, ListenFailed> =>
  Effect.async((resume) => {
    const failed = (error: NodeJS.ErrnoException) =>
      resume(Effect.fail(new ListenFailed({ ...options, code: error.code ?? error.message })))
    server.once("error", failed)
    server.listen(options.port, options.hostname, () => {
      server.off("error", failed)
      const address = server.address()
      resume(Effect.succeed(address === null || typeof address === "string" ? options.port : address.port))
    })
  })

/** How long a client may take over what only it can do, once a stop has begun: send the rest of its request, read its answer. */
const PEER_GRACE = 2000

/** The connections of a server, and the responses that are still to come. */
export const trackConnections = (server: Server) => {
  const sockets = new Set<Socket>()
  const unfinished = new Set<ServerResponse>()
  let stopping = false
  let drained: (() => void) | null = null

  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })

  /** Cuts a request off that waits for nothing but its client. */
  const cutIfIdle = (response: ServerResponse): void => {
    if (response.writableEnded || !response.req.complete) response.req.socket.destroy()
  }
  const cutLater = (response: ServerResponse): void =>
    void setTimeout(() => cutIfIdle(response), PEER_GRACE).unref()

  return {
    isStopping: () => stopping,
    /** Notes a response that somebody still works on; only a request that may be worked on gets here. */
    track: (response: ServerResponse): void => {
      unfinished.add(response)
      response.once("prefinish", () => {
        if (stopping) cutLater(response)
      })
      response.once("close", () => {
        unfinished.delete(response)
        const { socket } = response.req
        // Another request may have come behind it on its connection.
        if (stopping && ![...unfinished].some(({ req }) => req.socket === socket)) socket.destroySoon()
        if (unfinished.size === 0) drained?.()
      })
    },
    /**
     * Closes every connection that has no tracked request, and waits for those that have one; what is not
     * finished `within` is cut off. Gives how many that were. The server listens on: what still comes is
     * answered with 503, and nobody else can have the port.
     */
    drain: (within: Duration.DurationInput): Effect.Effect<number> =>
      Effect.async<void>((resume) => {
        stopping = true
        const busy = new Set([...unfinished].map((response) => response.req.socket))
        for (const socket of sockets) if (!busy.has(socket)) socket.destroy()
        if (unfinished.size === 0) return resume(Effect.void)
        drained = () => resume(Effect.void)
        for (const response of unfinished) cutLater(response)
      }).pipe(
        // A finalizer cannot be interrupted; this wait has to be, to be given up.
        Effect.interruptible,
        Effect.timeoutOption(within),
        Effect.map((done) => {
          if (Option.isSome(done)) return 0
          const cut = unfinished.size
          for (const response of unfinished) response.req.socket.destroy()
          return cut
        }),
      ),
    /** Gives the port back. */
    close: Effect.async<void>((resume) => {
      server.close(() => resume(Effect.void))
      for (const socket of sockets) socket.destroy()
    }),
  }
}
