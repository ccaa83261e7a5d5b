import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"

/** The root command: what every command takes. */
export const root = Command.make("waiaas", {
  dataDir: Options.text("data-dir").pipe(
    Options.withDescription("The data directory (default: WAIAAS_DATA_DIR, then ~/.waiaas)"),
    Options.optional,
  ),
  quiet: Options.boolean("quiet").pipe(
    Options.withAlias("q"),
    Options.withDescription("Say nothing but results and errors"),
  ),
  json: Options.boolean("json").pipe(
    Options.withDescription("Results as JSON, progress as one JSON object a line"),
  ),
})
