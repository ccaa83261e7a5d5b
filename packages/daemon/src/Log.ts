/** The daemon's log: one JSON object a line, on stderr and in a rotating file, without secrets. */

import type { Config } from "@waiaas/domain/Config"
import { printableJson } from "@waiaas/domain/Printable"
import { redactText } from "@waiaas/domain/Redact"
import { Environment } from "@waiaas/services/platform/Environment"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import * as Layer from "effect/Layer"
import * as List from "effect/List"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as LogSpan from "effect/LogSpan"
import { redactValue } from "./Redact.ts"
import { makeRotatingFile } from "./RotatingFile.ts"

export interface LogOptions {
  readonly level: Config["daemon"]["log_level"]
  /** Absolute; `null` for stderr alone. */
  readonly file: string | null
  /** Default: standard error. */
  readonly stderr?: (line: string) => void
  /** Bytes of one file, and how many there are: 5 MiB, 5 files. */
  readonly size?: number
  readonly count?: number
}

const levels = {
  debug: LogLevel.Debug,
  info: LogLevel.Info,
  warning: LogLevel.Warning,
  error: LogLevel.Error,
} as const

// A pipe that nobody reads any more is no reason to die: the file still gets every line.
const ignoreBrokenPipe = (): void => {}

const standardError = Effect.acquireRelease(
  Effect.sync(() => process.stderr.on("error", ignoreBrokenPipe)),
  () => Effect.sync(() => process.stderr.off("error", ignoreBrokenPipe)),
).pipe(Effect.map((stream) => (line: string) => void stream.write(`${line}\n`)))

/** One line: time, level, message, annotations, and the cause where there is one. */
const format = (options: Logger.Logger.Options<unknown>, secrets: ReadonlyArray<string>): string => {
  const parts = Array.isArray(options.message) ? options.message : [options.message]
  const texts = parts.filter((part) => typeof part !== "object" || part === null)
  const values = parts.filter((part) => typeof part === "object" && part !== null)
  const spans = List.toArray(options.spans).map(LogSpan.render(options.date.getTime()))
  return printableJson({
    time: options.date.toISOString(),
    level: options.logLevel.label,
    message: redactText(texts.map(String).join(" "), secrets),
    ...(values.length > 0 && { values: redactValue(values, secrets) }),
    ...(HashMap.size(options.annotations) > 0 && {
      annotations: redactValue(Object.fromEntries(HashMap.toEntries(options.annotations)), secrets),
    }),
    ...(spans.length > 0 && { spans }),
    ...(!Cause.isEmpty(options.cause) && {
      cause: redactText(Cause.pretty(options.cause, { renderErrorCause: true }), secrets),
    }),
  })
}

/** Replaces every other logger. */
export const layerLog = (options: LogOptions): Layer.Layer<never, never, Environment> =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      const { variables } = yield* Environment
      // A short one would hide ordinary words; the patterns still catch it where it is named.
      const secrets = [variables.WAIAAS_MASTER_PASSWORD ?? ""].filter((secret) => secret.length >= 6)
      const toStderr = options.stderr ?? (yield* standardError)
      const file =
        options.file === null
          ? null
          : makeRotatingFile({
              path: options.file,
              size: options.size ?? 5 * 1024 * 1024,
              count: options.count ?? 5,
              onProblem: (message, now) =>
                toStderr(printableJson({ time: new Date(now).toISOString(), level: "WARN", message })),
            })
      yield* Effect.addFinalizer(() =>
        Effect.clockWith((clock) => Effect.sync(() => file?.close(clock.unsafeCurrentTimeMillis()))),
      )
      const logger = Logger.make((entry) => {
        const line = format(entry, secrets)
        toStderr(line)
        file?.write(line, entry.date.getTime())
      })
      // The only one: NodeRuntime.runMain puts a logger of its own there, which writes to stdout.
      return Layer.locallyScoped(FiberRef.currentLoggers, HashSet.make(logger)).pipe(
        // One after the other: what a parallel merge puts into the fiber is not taken out again at its end.
        Layer.provideMerge(Logger.minimumLogLevel(levels[options.level])),
      )
    }),
  )
