/** Milliseconds that a command has to end by itself after a signal. */
const GRACE = 5000

/**
 * Sees to it that SIGTERM and SIGINT end a command that only reads or starts something, also where it waits for
 * a disk or a network file system that does not answer: then the signal's own action ends the process.
 */
export const endOnSignal = (grace = GRACE): void => {
  for (const name of ["SIGTERM", "SIGINT"] as const)
    process.once(name, () => {
      setTimeout(() => {
        process.removeAllListeners(name)
        // Not an exit: that would wait for the very call that does not return.
        process.kill(process.pid, name)
      }, grace).unref()
    })
}
