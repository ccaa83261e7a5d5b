/** Failures of the protocol between two versions of the code. */
import * as Schema from "effect/Schema"
import { ExitCode } from "./ExitCode.ts"

const IN_BETWEEN =
  "Go through a release in between: choose one out of `npm view @waiaas/cli versions`, then `waiaas upgrade --to <version>`."

/** A request, or a part of one, that this code does not know. */
export class NotUnderstood extends Schema.TaggedError<NotUnderstood>()("NotUnderstood", {
  /** Of the code that was asked. */
  version: Schema.String,
  problem: Schema.String,
}) {
  override get message() {
    return `WAIaaS ${this.version} does not understand what another version asks of it: ${this.problem}.`
  }
  get next() {
    return IN_BETWEEN
  }
  get exitCode() {
    return ExitCode.refused
  }
}

/** A refusal by other code, of a kind that this code does not know: in the words of that code. */
export class OtherRefusal extends Schema.TaggedError<OtherRefusal>()("OtherRefusal", {
  said: Schema.String,
  command: Schema.String,
  code: Schema.Int,
}) {
  override get message() {
    return this.said
  }
  get next() {
    return this.command
  }
  get exitCode(): number {
    return this.code
  }
}
