/** Failures of the places where a data directory is: file systems, mounts and attributes. */
import * as Schema from "effect/Schema"
import { ExitCode } from "./ExitCode.ts"
import { placeRemedy } from "./FileWords.ts"

/** A place that a later step has to change, and the system does not let it: found out in step 1, by the same calls. */
export class PlaceNotChangeable extends Schema.TaggedError<PlaceNotChangeable>()("PlaceNotChangeable", {
  path: Schema.String,
  /** What no run can do there. */
  act: Schema.Literal("replace it", "create and remove files in it"),
  /** The system's: EPERM, EACCES, EROFS or EBUSY. */
  code: Schema.String,
}) {
  override get message() {
    const why = {
      EPERM: "it is immutable or append-only, or somebody else's",
      EACCES: "permission denied",
      EROFS: "it is mounted read-only",
      EBUSY: "it is mounted by itself",
    }[this.code]
    return `${this.path} cannot be changed (${this.code}${why === undefined ? "" : `: ${why}`}), and a later step has to ${this.act}. The daemon was not touched.`
  }
  get next() {
    return `${placeRemedy(this.code, this.path)}, then run the command again.`
  }
  get exitCode() {
    return ExitCode.refused
  }
}
