/**
 * For the first import of a program, what two signals must not do: SIGUSR1 would open Node's debugger, which lets every
 * user of the machine in; SIGXFSZ would end the process without a word where a write is refused with EFBIG otherwise.
 */
const ignored = (): void => {}
process.on("SIGUSR1", ignored)
process.on("SIGXFSZ", ignored)

export {}
