/** Stands for the global `performance` in the bundles: Node loads several modules at the first use of its own. */
export const performance = {
  /** Monotonic milliseconds. */
  now: () => Number(process.hrtime.bigint()) / 1e6,
}
