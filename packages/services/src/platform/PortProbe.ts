/** Whether this user could listen at an address, found out by that very call. */
import { createServer } from "node:net"
import { ListenFailed } from "@waiaas/domain/RunErrors"
import * as Effect from "effect/Effect"

/** Fails where a server could not listen there now; nobody is answered meanwhile. */
export const expectFreePort = (hostname: string, port: number): Effect.Effect<void, ListenFailed> =>
  Effect.async((resume) => {
    const server = createServer((socket) => socket.destroy())
    server.once("error", (error: NodeJS.ErrnoException) =>
      resume(Effect.fail(new ListenFailed({ hostname, port, code: error.code ?? error.message }))),
    )
    server.listen({ host: hostname, port, exclusive: true }, () => server.close(() => resume(Effect.void)))
    return Effect.sync(() => void server.close())
  })
