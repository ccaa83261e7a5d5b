/** The HTTP client for the daemon: `node:http`, because the first use of `fetch` costs a third of a short command. */
import { Agent } from "node:http"
import * as https from "node:https"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Layer from "effect/Layer"

/** A connection for each request: nothing is left open that could keep a command, or a daemon that is to stop. */
const agent = Layer.sync(NodeHttpClient.HttpAgent, () => ({
  [NodeHttpClient.HttpAgentTypeId]: NodeHttpClient.HttpAgentTypeId as typeof NodeHttpClient.HttpAgentTypeId,
  http: new Agent({ keepAlive: false }),
  // Never used: the daemon speaks HTTP. Node's own, so that none is made.
  get https() {
    return https.globalAgent
  },
}))

export const LoopbackClient = Layer.provide(NodeHttpClient.layerWithoutAgent, agent)
