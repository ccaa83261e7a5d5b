/** Which Nodes have `process.execve`. Read by Nodes far older than these. */

/** As npm understands it, for `engines`: 23 got it later than 22 did. */
export const NODE_RANGE = "^22.15.0 || >=23.11.0"

/** Whether a Node is in `NODE_RANGE`, found without semver's code. */
export const isSupportedNode = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > 23 || (major === 23 && minor >= 11) || (major === 22 && minor >= 15)
}

/** An option of every supported Node: SIGUSR1 is blocked, and so opens no debugger. */
export const NO_DEBUGGER = "--disable-sigusr1"
