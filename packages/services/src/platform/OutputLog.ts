import { constants, lstatSync, openSync, readlinkSync, realpathSync, renameSync, statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { FileFailed } from "@waiaas/domain/DataErrors"
import { NOT_A_FILE } from "@waiaas/domain/FileWords"
import * as Effect from "effect/Effect"

const { O_CREAT, O_NONBLOCK, O_TRUNC, O_WRONLY } = constants

/**
 * Opens the file for a detached process's output, empty; what the process before it wrote is `<file>.1` then. A link of
 * the operator's stays one. What is no file is refused and stays where it is, and nothing is waited for: a named pipe
 * without a reader would keep its opener for ever. Gives the descriptor.
 */
export const openOutputLog = (log: string): Effect.Effect<number, FileFailed> =>
  Effect.try({
    try: () => {
      const place = placeOf(log)
      const found = statSync(place, { throwIfNoEntry: false })
      if (found !== undefined && !found.isCharacterDevice()) {
        if (!found.isFile()) throw new Refused(place)
        const before = `${place}.1`
        if (lstatSync(before, { throwIfNoEntry: false })?.isDirectory()) throw new Refused(before)
        renameSync(place, before)
      }
      // A device, such as /dev/null behind a link, is the operator's word that nothing is to be kept.
      return openSync(place, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0o600)
    },
    catch: (cause) =>
      cause instanceof Refused
        ? new FileFailed({ operation: "write", path: cause.message, code: NOT_A_FILE })
        : new FileFailed({ operation: "write", path: log, code: codeOf(cause) }),
  })

class Refused extends Error {}

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause ? String(cause.code) : "EIO"

/** The file itself, where its name is a link; where that leads to nothing yet, the place that it names. */
const placeOf = (log: string): string => {
  const found = lstatSync(log, { throwIfNoEntry: false })
  if (found?.isSymbolicLink() !== true) return log
  return statSync(log, { throwIfNoEntry: false }) === undefined
    ? resolve(dirname(log), readlinkSync(log))
    : realpathSync(log)
}
