/** Fails when this process is asked to end, so that `finally` still takes down what was started. */
export const interruption = new Promise<never>((_, reject) => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => reject(new Error(`interrupted by ${signal}`)))
  }
})
// Nobody may be waiting for it any more, or twice: that is no failure of its own.
interruption.catch(() => undefined)
