/** Words for commands that an operator is told to type. */
/** An argument as a shell takes it back: quoted only where it has to be. */
export const shellWord = (word: string): string =>
  /^[A-Za-z0-9_./:@=+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
