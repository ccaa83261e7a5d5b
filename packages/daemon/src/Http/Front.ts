/** What every request passes before the API: nothing in here takes a fiber, unless `/health` has to ask the database. */
import type { IncomingMessage, ServerResponse } from "node:http"
import { INSTANCE_HEADER } from "@waiaas/domain/DaemonFacts"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { RuntimeFiber } from "effect/Fiber"
import type { ApiToken } from "../ApiToken.ts"
import type { HealthAnswer, HealthReport } from "../HealthReport.ts"
import type { HeldGate } from "../HeldGate.ts"
import { jsonHeaders, problems, send } from "./Answers.ts"

type Listener = (request: IncomingMessage, response: ServerResponse) => void

const isHealth = (url: string): boolean => url === "/health" || url.startsWith("/health?")

/** Headers that say one thing: of two, each reader takes another one. */
const SINGLE = new Set(["host", "authorization", "content-type", "content-encoding", "content-length"])

/** A header that a request has twice though it says one thing. */
const repeatedHeader = ({ rawHeaders }: IncomingMessage): string | undefined => {
  const found = new Set<string>()
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? "").toLowerCase()
    if (!SINGLE.has(name)) continue
    if (found.has(name)) return name
    found.add(name)
  }
  return undefined
}

const sendHealth = (
  request: IncomingMessage,
  response: ServerResponse,
  instance: string,
  { status, body }: HealthAnswer,
  isLast = false,
): void => {
  response.writeHead(status, {
    ...jsonHeaders,
    [INSTANCE_HEADER]: instance,
    ...(isLast && { connection: "close" }),
    "content-length": Buffer.byteLength(body),
  })
  response.end(request.method === "HEAD" ? undefined : body)
}

export const makeFront = (options: {
  readonly hostAllowed: (header: string | undefined) => boolean
  readonly isStopping: () => boolean
  readonly gate: HeldGate["Type"]
  readonly token: ApiToken["Type"]
  /** Says with `/health` whose daemon this is. */
  readonly instance: string
  readonly report: HealthReport["Type"]
  /** Notes a response that is not finished when the listener returns. */
  readonly track: (response: ServerResponse) => void
  readonly api: Listener
  readonly runFork: <A>(effect: Effect.Effect<A>) => RuntimeFiber<A>
}): Listener => {
  const { hostAllowed, isStopping, gate, token, instance, report, track, api, runFork } = options
  const health: Listener = (request, response) => {
    if (request.method !== "GET" && request.method !== "HEAD")
      return send(response, problems.wrongMethod(["GET"]))
    if (isStopping()) return sendHealth(request, response, instance, report.unsafeStopping(), true)
    const cached = report.unsafeCached()
    if (cached !== null) return sendHealth(request, response, instance, cached)
    // Not tracked: it is anybody's request, and no stop waits for its connection.
    runFork(report.answer).addObserver((exit) =>
      Exit.isSuccess(exit)
        ? sendHealth(request, response, instance, exit.value)
        : send(response, problems.internal),
    )
  }
  return (request, response) => {
    const url = request.url ?? ""
    const twice = repeatedHeader(request)
    if (twice !== undefined)
      return send(response, problems.badRequest(`The request has the header ${twice} twice.`))
    if (!hostAllowed(request.headers.host)) return send(response, problems.misdirected)
    if (isHealth(url)) return health(request, response)
    if (isStopping()) return send(response, problems.stopping)
    if (gate.unsafeState() === "held") return send(response, problems.held)
    if (!token.matches(request.headers.authorization)) return send(response, problems.unauthorized)
    // Anything else than a path (a proxy's absolute form, an asterisk) has no route here.
    if (!url.startsWith("/")) return send(response, problems.badRequest("The request target is not a path."))
    track(response)
    api(request, response)
  }
}
