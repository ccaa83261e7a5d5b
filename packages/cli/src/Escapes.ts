/** What colours are made of on a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: an escape sequence begins with one.
export const escapes = /\u001b\[[0-9;]*m/g
