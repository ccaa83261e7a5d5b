/** Agents, through the daemon's API. */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import type { Agent } from "@waiaas/domain/DaemonApi"
import { DaemonClient } from "@waiaas/services/DaemonClient"
import { DataDir } from "@waiaas/services/platform/DataDir"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Output } from "../Output.ts"
import { inSameDataDir, table, when } from "./Text.ts"

const id = Args.text({ name: "id" }).pipe(Args.withDescription("The agent's id (waiaas agent list)"))
const client = Effect.gen(function* () {
  yield* (yield* DataDir).check
  return yield* DaemonClient
})

const lines = (agent: Agent): ReadonlyArray<string> => [
  `${agent.name} (${agent.status})`,
  `id:         ${agent.id}`,
  `chain:      ${agent.chain} ${agent.network}`,
  `public key: ${agent.publicKey}`,
  ...(agent.ownerAddress === null ? [] : [`owner:      ${agent.ownerAddress}`]),
  `created:    ${when(agent.createdAt)}`,
]

const create = Command.make(
  "create",
  {
    name: Args.text({ name: "name" }).pipe(
      Args.withDescription("Letters, digits, spaces and ._- (at most 64), beginning with a letter or digit"),
    ),
    chain: Options.text("chain").pipe(
      Options.withDescription("The chain it is for"),
      Options.withDefault("solana"),
    ),
    network: Options.text("network").pipe(
      Options.withDescription("The chain's network"),
      Options.withDefault("mainnet"),
    ),
    owner: Options.text("owner").pipe(Options.withDescription("The owner's address"), Options.optional),
  },
  ({ name, chain, network, owner }) =>
    Effect.gen(function* () {
      const { call } = yield* client
      const payload = {
        name,
        chain,
        network,
        ...Option.match(owner, { onNone: () => ({}), onSome: (ownerAddress) => ({ ownerAddress }) }),
      }
      const agent = yield* call((api) => api.agents.create({ payload }))
      yield* (yield* Output).result(agent, lines(agent))
    }),
).pipe(Command.withDescription("Create an agent with a key pair of its own"))

const list = Command.make("list", {}, () =>
  Effect.gen(function* () {
    const { call } = yield* client
    const agents = yield* call((api) => api.agents.list())
    const rows = agents.map((agent) => [agent.id, agent.name, agent.chain, agent.network, agent.status])
    yield* (yield* Output).result(
      agents,
      rows.length === 0
        ? [`No agents yet: ${(yield* inSameDataDir)("waiaas agent create <name>")}`]
        : table(["ID", "NAME", "CHAIN", "NETWORK", "STATUS"], rows),
    )
  }),
).pipe(Command.withDescription("List the agents"))

const show = Command.make("show", { id }, ({ id }) =>
  Effect.gen(function* () {
    const { call } = yield* client
    const agent = yield* call((api) => api.agents.show({ path: { id } }))
    yield* (yield* Output).result(agent, lines(agent))
  }),
).pipe(Command.withDescription("Show an agent"))

const suspend = Command.make("suspend", { id }, ({ id }) =>
  Effect.gen(function* () {
    const { call } = yield* client
    const agent = yield* call((api) => api.agents.suspend({ path: { id } }))
    yield* (yield* Output).result(agent, [`${agent.name} is suspended: it signs nothing.`])
  }),
).pipe(Command.withDescription("Suspend an agent: it signs nothing any more"))

const sign = Command.make(
  "sign",
  { id, message: Args.text({ name: "message" }).pipe(Args.withDescription("The text to sign, as UTF-8")) },
  ({ id, message }) =>
    Effect.gen(function* () {
      const { call } = yield* client
      const signed = yield* call((api) => api.agents.sign({ path: { id }, payload: { message } }))
      yield* (yield* Output).result(signed, [signed.signature])
    }),
).pipe(Command.withDescription("Sign a message with an agent's key (Ed25519, hexadecimal)"))

export const agent = Command.make("agent").pipe(
  Command.withDescription("Create, list, show, suspend agents; sign with their keys"),
  Command.withSubcommands([create, list, show, suspend, sign]),
)
