/**
 * Words for commands that an operator is told to type. What an error's `next` says is one command, or one
 * sentence that begins with a capital, ends with a full stop and has its commands in backticks.
 */

/** An argument as a shell takes it back: quoted only where it has to be. */
export const shellWord = (word: string): string =>
  /^[A-Za-z0-9_./:@=+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

const isSentence = (next: string): boolean => /^[A-Z]/.test(next)

/** One instruction out of two: what comes first, and the command that goes on after it. */
export const followedBy = (first: string, command: string): string =>
  isSentence(first)
    ? `${first.replace(/(, then run the command again)?\.$/, "")}, then run \`${command}\`.`
    : `Run \`${first}\`, then \`${command}\`.`
