/** Failures of the keystore. None of them carries a key, a password or anything derived from one. */
import { ExitCode } from "@waiaas/domain/ExitCode"
import * as Schema from "effect/Schema"

/** The keys are whole, but cannot be opened from this environment. */
export class KeystoreLocked extends Schema.TaggedError<KeystoreLocked>()("KeystoreLocked", {
  keystore: Schema.String,
  problem: Schema.String,
  remedy: Schema.String,
}) {
  override get message() {
    return `The keystore ${this.keystore} cannot be opened: ${this.problem}.`
  }
  get next() {
    return this.remedy
  }
  get exitCode() {
    return ExitCode.refused
  }
}
