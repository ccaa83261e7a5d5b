/**
 * Words for commands that an operator is to type. What an error's `next` says is one command, or one
 * sentence that begins with a capital, ends with a full stop and has its commands in backticks.
 */

/** An argument as a shell takes it back: quoted only where it has to be. */
export const shellWord = (word: string): string =>
  /^[A-Za-z0-9_./:@=+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

const isSentence = (next: string): boolean => /^[A-Z]/.test(next)

/** Commands of `waiaas` that take `--data-dir`, and do not have it yet. */
const lacksDataDir = /^(sudo (-u \S+ )?|\w+="[^"]*" )?waiaas [a-z](?!.*--(data-dir|help))/

/** The instruction with `change` made to each of its commands. */
const inCommands = (next: string, change: (command: string) => string): string => {
  const each = (text: string) =>
    text
      .split(/( && | \| )/)
      .map((part, index) => (index % 2 === 0 ? change(part) : part))
      .join("")
  return isSentence(next) ? next.replace(/`([^`]+)`/g, (_, text: string) => `\`${each(text)}\``) : each(next)
}

/**
 * An instruction for a data directory that the operator named: every `waiaas` command in it gets
 * `--data-dir`, and a default one that is there already becomes the named one.
 */
export const inDataDir = (next: string, dataDir: string): string => {
  const option = `--data-dir ${shellWord(dataDir)}`
  const named = next.replaceAll("--data-dir ~/.waiaas", option)
  return inCommands(named, (command) => (lacksDataDir.test(command) ? `${command} ${option}` : command))
}

/**
 * An instruction to try an upgrade again, for an operator who had typed more than `waiaas upgrade`: without these
 * options it would be another act, such as an upgrade where a rollback was meant.
 */
export const withOptions = (next: string, options: string): string =>
  options === ""
    ? next
    : inCommands(next, (command) =>
        command.replace(/\bwaiaas upgrade(?=$| --data-dir )/, () => `waiaas upgrade ${options}`),
      )

/** An instruction for whoever typed `sudo` before the command that says it: what comes next needs it as well. */
export const withSudo = (next: string): string =>
  inCommands(next, (command) => (/^waiaas [a-z]/.test(command) ? `sudo ${command}` : command))

/** One instruction out of two: what comes first, and the command that goes on after it. */
export const followedBy = (first: string, command: string): string =>
  isSentence(first)
    ? `${first.replace(/(, then run the command again)?\.$/, "")}, then run \`${command}\`.`
    : `Run \`${first}\`, then \`${command}\`.`
