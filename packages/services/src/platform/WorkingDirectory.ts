/**
 * The working directory of this process, which can be gone: a shell that is in the package's own directory has a removed
 * one after each upgrade. Nothing works there, no child of ours and not npm, so the process leaves it.
 */

let found: string | null | undefined

/** The directory that this process began in; `null` where it does not exist any more, and the process is in `/` since. */
export const workingDirectory = (): string | null => {
  if (found !== undefined) return found
  try {
    found = process.cwd()
  } catch {
    found = null
    process.chdir("/")
  }
  return found
}

// At once: a library may ask for it while it is loaded.
workingDirectory()
