/**
 * Standard output and error of this process. A pipe takes 64 KiB at once and the rest when its reader comes to it, so
 * a process that just exits cuts off what it wrote. Of Node alone: the first file of the command uses it, too.
 */

/** Why nobody reads any more; a terminal that is gone answers EIO. */
const isGone = (code: string | undefined, isTerminal: boolean): boolean =>
  code === "EPIPE" ||
  code === "ECONNRESET" ||
  code === "ERR_STREAM_DESTROYED" ||
  (code === "EIO" && isTerminal)

let unwritten: string | undefined
let guarded = false

/**
 * Lets the process live on without its readers: `waiaas agent list | head -1` ends as it would have ended. What could
 * not be written for another reason, such as a full disk, is kept for `unwrittenOutput`, and `onProblem` is called.
 */
export const guardStreams = (onProblem: () => void = () => {}): void => {
  if (guarded) return
  guarded = true
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (stream !== process.stdout || isGone(error.code, stream.isTTY === true)) return
      unwritten = error.code ?? error.message
      onProblem()
    })
}

/** What is said on standard error of output that could not be written; nothing where all of it could. */
export const unwrittenOutput = (): string | undefined =>
  unwritten === undefined
    ? undefined
    : `error: The output could not be written (${unwritten}). What the command did is done.\nnext: Make room for it, then ask again.\n`

const flush = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => {
    // A write that failed at once, as on a full disk, says so in the next turn.
    if (stream.destroyed || stream.writableLength === 0) setImmediate(resolve)
    // The end of this empty write is the end of all that were before it, or their failure.
    else stream.write("", () => resolve())
  })

/** Resolves when all that was written has been read, or nobody reads any more; `limit`: milliseconds at most. */
export const flushStreams = async (limit?: number): Promise<void> => {
  const all = Promise.all([flush(process.stdout), flush(process.stderr)])
  if (limit === undefined) {
    await all
    return
  }
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limit)
  })
  await Promise.race([all, late])
  clearTimeout(timer)
}

/** Ends this process once all that was written has been read; a signal meanwhile ends it at once, with the same code. */
export const exitFlushed = (code: () => number, limit?: number): void => {
  const now = () => process.exit(code())
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, now)
  void flushStreams(limit).then(now)
}
