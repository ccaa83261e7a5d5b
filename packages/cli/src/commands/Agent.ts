/** Agents, through the daemon's API. */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { AGENT_NAME, agentNameWords, chains, networks } from "@waiaas/domain/AgentFields"
import type { Agent } from "@waiaas/domain/DaemonApi"
import { ExitCode } from "@waiaas/domain/ExitCode"
import { RequestRefused } from "@waiaas/domain/RunErrors"
import { shellWord } from "@waiaas/domain/Shell"
import { DaemonClient } from "@waiaas/services/DaemonClient"
import { DataDir } from "@waiaas/services/platform/DataDir"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Output } from "../Output.ts"
import { inSameDataDir, table, when } from "./Text.ts"

const agentArg = Args.text({ name: "agent" }).pipe(
  Args.withDescription("The agent's id, or its name where no other agent has it (waiaas agent list)"),
)

/**
 * Node reads bytes of the command line that are not UTF-8 as U+FFFD: several messages would have one signature.
 * Who means that character itself has the API.
 */
export class NotUtf8 extends Schema.TaggedError<NotUtf8>()("NotUtf8", { what: Schema.String }) {
  override get message() {
    return `The ${this.what} holds U+FFFD, as it would if it were not UTF-8.`
  }
  get next() {
    return "Send it through the daemon's API if this character is meant."
  }
  get exitCode() {
    return ExitCode.usage
  }
}
const asGiven = (what: string, text: string) =>
  text.includes("\uFFFD") ? new NotUtf8({ what }) : Effect.succeed(text)

const client = Effect.gen(function* () {
  yield* (yield* DataDir).check
  return yield* DaemonClient
})

const keyWords = {
  missing: "missing, so it cannot sign: put it back from your own copy of the keystore",
  damaged: "does not open, so it cannot sign: put it back from your own copy of the keystore",
} as const

const lines = (agent: Agent): ReadonlyArray<string> => [
  `${agent.name} (${agent.status})`,
  `id:         ${agent.id}`,
  `chain:      ${agent.chain} ${agent.network}`,
  `public key: ${agent.publicKey}`,
  ...(agent.signingKey === "present" ? [] : [`sealed key: ${keyWords[agent.signingKey]}`]),
  ...(agent.ownerAddress === null ? [] : [`owner:      ${agent.ownerAddress}`]),
  `created:    ${when(agent.createdAt)}`,
]

const create = Command.make(
  "create",
  {
    name: Args.text({ name: "name" }).pipe(
      Args.withDescription(`What it is called, in ${agentNameWords}; no other agent has that name`),
    ),
    chain: Options.choice("chain", chains).pipe(
      Options.withDescription("The blockchain that its key is an account of"),
      Options.withDefault("solana"),
    ),
    network: Options.choice("network", networks).pipe(
      Options.withDescription("The chain's network"),
      Options.withDefault("mainnet"),
    ),
    owner: Options.text("owner").pipe(Options.withDescription("The owner's address"), Options.optional),
  },
  ({ name, chain, network, owner }) =>
    Effect.gen(function* () {
      if (!AGENT_NAME.test(name))
        return yield* new RequestRefused({
          status: 400,
          problem: `A name is ${agentNameWords}.`,
          instead: "waiaas agent create --help",
        })
      if (Option.isSome(owner)) yield* asGiven("owner's address", owner.value)
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
).pipe(
  Command.withDescription(
    "Create an agent with an Ed25519 key pair of its own. Chain and network say which blockchain the key is an account of: they are stored with it, and nothing is sent there.",
  ),
)

const standing = ({ status, signingKey }: Agent): string =>
  signingKey === "present" ? status : `${status}, sealed key ${signingKey}`

const list = Command.make("list", {}, () =>
  Effect.gen(function* () {
    const { call } = yield* client
    const agents = yield* call((api) => api.agents.list())
    const rows = agents.map((agent) => [agent.id, agent.name, agent.chain, agent.network, standing(agent)])
    const output = yield* Output
    yield* output.result(
      agents,
      rows.length === 0
        ? [`No agents yet: ${(yield* inSameDataDir)("waiaas agent create <name>")}`]
        : table(["ID", "NAME", "CHAIN", "NETWORK", "STATUS"], rows, output.columns),
    )
  }),
).pipe(Command.withDescription("List the agents"))

const show = Command.make("show", { agent: agentArg }, ({ agent }) =>
  Effect.gen(function* () {
    const { call } = yield* client
    const shown = yield* call((api) => api.agents.show({ path: { agent } }))
    yield* (yield* Output).result(shown, lines(shown))
  }),
).pipe(Command.withDescription("Show an agent"))

const suspend = Command.make("suspend", { agent: agentArg }, ({ agent }) =>
  Effect.gen(function* () {
    const { call } = yield* client
    const suspended = yield* call((api) => api.agents.suspend({ path: { agent } }))
    const resumeIt = (yield* inSameDataDir)(`waiaas agent resume ${shellWord(agent)}`)
    yield* (yield* Output).result(suspended, [
      `${suspended.name} is suspended: it signs nothing. Its key is kept.`,
      `To let it sign again: ${resumeIt}`,
    ])
  }),
).pipe(
  Command.withDescription("Suspend an agent: it signs nothing until `waiaas agent resume`; its key is kept"),
)

const resume = Command.make("resume", { agent: agentArg }, ({ agent }) =>
  Effect.gen(function* () {
    const { call } = yield* client
    const resumed = yield* call((api) => api.agents.resume({ path: { agent } }))
    yield* (yield* Output).result(resumed, [
      `${resumed.name} is active: it signs again.`,
      ...(resumed.signingKey === "present" ? [] : [`sealed key: ${keyWords[resumed.signingKey]}`]),
    ])
  }),
).pipe(Command.withDescription("Let a suspended agent sign again"))

const sign = Command.make(
  "sign",
  {
    agent: agentArg,
    message: Args.text({ name: "message" }).pipe(Args.withDescription("The text to sign, as UTF-8")),
  },
  ({ agent, message }) =>
    Effect.gen(function* () {
      const { call } = yield* client
      yield* asGiven("message", message)
      const signed = yield* call((api) => api.agents.sign({ path: { agent }, payload: { message } }))
      yield* (yield* Output).result(signed, [signed.signature])
    }),
).pipe(Command.withDescription("Sign a message with an agent's key (Ed25519, hexadecimal)"))

export const agent = Command.make("agent").pipe(
  Command.withDescription("Create, list, show, suspend, resume agents; sign with their keys"),
  Command.withSubcommands([create, list, show, suspend, resume, sign]),
)
