/** For the first import of a program: SIGUSR1 must not open Node's debugger, which lets every user of the machine in. */
const ignored = (): void => {}
process.on("SIGUSR1", ignored)

export {}
