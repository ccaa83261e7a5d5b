/** Failures of the agents' acts: `next` is for the operator, whoever asked. */
import * as Schema from "effect/Schema"

export class AgentNotFound extends Schema.TaggedError<AgentNotFound>()("AgentNotFound", {
  /** The id or name that was asked for. */
  wanted: Schema.String,
}) {
  override get message() {
    return `There is no agent ${this.wanted}.`
  }
  get next() {
    return "waiaas agent list"
  }
}

/** A name that several agents have: releases before names were kept apart could store them. */
export class AgentAmbiguous extends Schema.TaggedError<AgentAmbiguous>()("AgentAmbiguous", {
  name: Schema.String,
  ids: Schema.Array(Schema.String),
}) {
  override get message() {
    return `${this.ids.length} agents are called ${this.name}: ${this.ids.join(", ")}.`
  }
  get next() {
    return "Name the agent by its id."
  }
}

export class AgentNameTaken extends Schema.TaggedError<AgentNameTaken>()("AgentNameTaken", {
  name: Schema.String,
}) {
  override get message() {
    return `There is an agent ${this.name} already.`
  }
  get next() {
    return "waiaas agent list"
  }
}

export class AgentSuspended extends Schema.TaggedError<AgentSuspended>()("AgentSuspended", {
  id: Schema.String,
  name: Schema.String,
}) {
  override get message() {
    return `Agent ${this.name} (${this.id}) is suspended: it does not sign.`
  }
  get next() {
    return `waiaas agent resume ${this.id}`
  }
}

/** The agent is there and its key is not, or does not open. */
export class AgentKeyUnavailable extends Schema.TaggedError<AgentKeyUnavailable>()("AgentKeyUnavailable", {
  id: Schema.String,
  name: Schema.String,
  /** What of the sealed key, with its place; without a full stop. */
  problem: Schema.String,
  /** A whole sentence. */
  remedy: Schema.String,
}) {
  override get message() {
    return `Agent ${this.name} (${this.id}) cannot sign: ${this.problem}.`
  }
  get next() {
    return this.remedy
  }
}

/** This release stores no owner address: its schema is older than the column. */
export class NoOwnerAddress extends Schema.TaggedError<NoOwnerAddress>()("NoOwnerAddress", {
  schema: Schema.Int,
}) {
  override get message() {
    return `This release (schema ${this.schema}) stores no owner address.`
  }
  get next() {
    return "waiaas upgrade"
  }
}
