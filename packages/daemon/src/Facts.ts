import type { DaemonFacts } from "@waiaas/domain/DaemonFacts"
import * as Context from "effect/Context"

/** What this daemon says of itself; the same as in `daemon.json`. */
export class Facts extends Context.Tag("@waiaas/daemon/Facts")<Facts, DaemonFacts>() {}
