/** What a build fixes: its version, its newest migration, and (test releases only) a planned fault. */
declare const __WAIAAS_VERSION__: string | undefined
declare const __WAIAAS_SCHEMA__: number | undefined
declare const __WAIAAS_FAULT__: string | undefined

/** Version of this code. */
export const VERSION: string = typeof __WAIAAS_VERSION__ === "undefined" ? "2.0.0" : __WAIAAS_VERSION__ // x-release-please-version

/** Newest migration that this build carries. `npm run pack -- --schema N` makes older ones. */
export const LATEST_SCHEMA: number = typeof __WAIAAS_SCHEMA__ === "undefined" ? 5 : __WAIAAS_SCHEMA__

/** A release made broken on purpose (`npm run pack -- --fault NAME`); never set in a published one. */
export const FAULT: string = typeof __WAIAAS_FAULT__ === "undefined" ? "" : __WAIAAS_FAULT__
