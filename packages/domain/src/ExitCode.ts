/** Exit codes of `waiaas`; every command uses only these. */
export const ExitCode = {
  /** Done, or nothing to do. */
  done: 0,
  failed: 1,
  usage: 2,
  notInitialised: 3,
  /** Not allowed, or incompatible: nothing was changed. */
  refused: 4,
  /** The daemon did not stop in time. */
  stopTimeout: 5,
  /** Failed, and the old version runs again with its own data. */
  rolledBack: 6,
  /** Failed, and the operator has to act; the message says what to type. */
  needsOperator: 7,
  interrupted: 130,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** What each code means, in the order of the help text. */
export const exitCodeMeaning: ReadonlyArray<readonly [ExitCode, string]> = [
  [ExitCode.done, "done, or nothing to do"],
  [ExitCode.failed, "failed"],
  [ExitCode.usage, "wrong usage"],
  [ExitCode.notInitialised, "not initialised: run waiaas init"],
  [ExitCode.refused, "refused: not allowed or incompatible, nothing was changed"],
  [ExitCode.stopTimeout, "the daemon did not stop in time"],
  [ExitCode.rolledBack, "failed and rolled back: the old version runs with its own data"],
  [ExitCode.needsOperator, "failed and needs you: the message says what to type"],
  [ExitCode.interrupted, "interrupted"],
]
