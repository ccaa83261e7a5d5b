/**
 * The HTTP client for the daemon: `node:http`, because the first use of `fetch` costs a third of a short command, and
 * because the environment's proxy serves `fetch`: the token is for the daemon alone.
 */
import { Agent, type ClientRequestArgs } from "node:http"
import * as https from "node:https"
import type { Duplex } from "node:stream"
import * as HttpClient from "@effect/platform/HttpClient"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * Keeps the connection that `/health` was asked over, and opens none for a request that carries the token:
 * the daemon was proven to be at the other end of the first, and whoever has its port by now is not.
 */
class ProvenConnection extends Agent {
  /** Requests with the token that are under way. */
  private carried = 0

  constructor() {
    super({ keepAlive: true })
  }

  carry<A, E, R>(request: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => this.carried++),
      () => request,
      () => Effect.sync(() => this.carried--),
    )
  }

  /** Ends what is kept: who answered over it was asked at another time, and may have been another one. */
  forget(): void {
    for (const sockets of Object.values(this.freeSockets))
      for (const socket of sockets ?? []) socket.destroy()
  }

  override createConnection(
    options: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    if (this.carried === 0) return super.createConnection(options, callback)
    const error = Object.assign(new Error("The connection to the daemon has ended."), { code: "ECONNRESET" })
    // Node takes the error alone: there is no stream to go with it.
    ;(callback as ((error: Error) => void) | undefined)?.(error)
    return undefined
  }
}

export const LoopbackClient = Layer.effect(
  HttpClient.HttpClient,
  Effect.suspend(() => {
    const connection = new ProvenConnection()
    const agent: NodeHttpClient.HttpAgent = {
      [NodeHttpClient.HttpAgentTypeId]:
        NodeHttpClient.HttpAgentTypeId as typeof NodeHttpClient.HttpAgentTypeId,
      http: connection,
      // Never used: the daemon speaks HTTP. Node's own, so that none is made.
      get https() {
        return https.globalAgent
      },
    }
    return NodeHttpClient.make.pipe(
      Effect.provideService(NodeHttpClient.HttpAgent, agent),
      Effect.map(
        HttpClient.transform((response, request) =>
          request.headers.authorization === undefined
            ? Effect.zipRight(
                Effect.sync(() => connection.forget()),
                response,
              )
            : connection.carry(response),
        ),
      ),
    )
  }),
)
