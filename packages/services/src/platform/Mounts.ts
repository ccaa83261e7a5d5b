import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { DurableFile } from "./DurableFile.ts"

/** The field of a line of `mountinfo` that says where something is mounted. */
const POINT = 4

/** Space, tab, line feed and backslash are three octal digits there. */
const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)))

/** Reads the mount points out of the text of `/proc/<pid>/mountinfo`. */
export const mountPointsIn = (text: string): ReadonlySet<string> =>
  new Set(
    text.split("\n").flatMap((line) =>
      line
        .split(" ")
        .slice(POINT, POINT + 1)
        .map(unescaped),
    ),
  )

/**
 * Where something is mounted, as this process sees it; empty where the system does not say. Asked for files, which can be
 * mount points as well: of a rename onto a directory the system says first that it is one, and so not that it is busy.
 */
export const mountPoints = (
  files: Pick<DurableFile["Type"], "readAnyTextIfThere">,
): Effect.Effect<ReadonlySet<string>> =>
  files.readAnyTextIfThere("/proc/self/mountinfo").pipe(
    Effect.map(Option.match({ onNone: () => new Set<string>(), onSome: mountPointsIn })),
    // The rename that is not refused now is refused when it is made, and undone.
    Effect.orElseSucceed(() => new Set<string>()),
  )
