/** What the system's codes mean for a file, and what an operator does about each. */
import { shellWord } from "./Shell.ts"

/** The code of something in the place of a file that is none: a named pipe, a socket, a device. */
export const NOT_A_FILE = "ENOTFILE"

/** The code of a text that holds bytes which are not UTF-8. */
export const NOT_UTF8 = "EILSEQ"

/** What is left of a path once its run is over: what a run makes for itself is gone before its operator reads this. */
export const lasting = (path: string): string =>
  /^(.*)\/(?:\.waiaas\/(?:staging|outgoing|rejected)-\d+|rehearsal-\d+|\.(?:partial|failed|restore|reserve)-[^/]+|\.[^/]+\.tmp)(?:\/|$)/.exec(
    path,
  )?.[1] ?? path

/** A file that is read can be too large for us; one that is written, for the limit of the process. */
const isRead = (operation: string): boolean => /^(read|inspect|list|resolve)/.test(operation)

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: "no space left",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EROFS: "read-only file system",
  EIO: "input/output error",
  ENOENT: "it does not exist",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of its path is no directory",
  EBUSY: "it is in use, or a mount of its own",
  EXDEV: "it is on another file system, or in another mount",
  [NOT_A_FILE]: "it is not an ordinary file",
  [NOT_UTF8]: "it holds bytes that are not UTF-8 text",
  ENAMETOOLONG: "its name is too long",
  ELOOP: "its links lead in a circle",
  EDQUOT: "your quota is used up",
  EMFILE: "this process has too many files open",
  EAGAIN: "the system has no more processes or memory to give",
  ENOMEM: "the system has no more processes or memory to give",
  E2BIG: "the arguments and the environment are too long",
  ENFILE: "the system has too many files open",
  SQLITE_CANTOPEN: "it cannot be opened",
  SQLITE_READONLY: "it cannot be written",
  SQLITE_NOTADB: "it is damaged",
}

/** Says why an operation on a file failed, by the system's code; the code itself where no words are known. */
export const fileReason = (code: string, operation: string): string => {
  if (code === "EFBIG")
    return isRead(operation)
      ? "it is larger than such a file can be"
      : "it would be larger than a file of this process may be"
  return reasons[code] ?? code
}

/** Says what an operator does about a place of this system that refuses a change, as the beginning of a sentence. */
export const placeRemedy = (code: string, path: string): string => {
  const word = shellWord(path)
  switch (code) {
    case "EPERM":
      return `Make ${path} changeable (\`lsattr -d ${word}\` shows i or a, \`chattr -i -a ${word}\` ends that)`
    case "EROFS":
      return `Mount the file system of ${path} writable (\`findmnt --target ${word}\` names it, \`mount -o remount,rw\` with that name does it)`
    case "EBUSY":
      return `Run \`waiaas stop\`, unmount ${path} (\`umount ${word}\`) and move the file that was mounted there into its directory`
    default:
      return `Give yourself access to ${path}`
  }
}

/** Says what an operator does about a failed operation on a file, as the beginning of a sentence. */
export const fileRemedy = (code: string, path: string, operation: string): string => {
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return `Free some space on the file system of ${path} (\`df -h\`; where space is left, inodes are not: \`df -i\`)`
    case "EPERM":
      // A directory that is immutable refuses a file that is not there yet.
      return `Give yourself access to ${path} (\`lsattr -d ${shellWord(path.replace(/(.)\/[^/]*$/, "$1"))} ${shellWord(path)}\` shows i or a at what is immutable or append-only, \`chattr -i -a\` with that name ends it)`
    case "EACCES":
    case "SQLITE_CANTOPEN":
    case "SQLITE_READONLY":
      return placeRemedy("EACCES", path)
    case "EROFS":
      return placeRemedy(code, path)
    case "EBUSY":
      return `End what uses ${path}, or unmount it (\`findmnt ${shellWord(path)}\` shows whether it is a mount of its own)`
    case "EXDEV":
      return `Keep ${path} and its directory in one mount (\`findmnt --target ${shellWord(path)}\` shows in which one it is)`
    case "ENOENT":
    case "EISDIR":
    case "ENOTDIR":
    case "ENAMETOOLONG":
    case "ELOOP":
      return `Check the path ${path}`
    case "EMFILE":
      return "Raise the limit of open files of a process (`ulimit -n` shows it)"
    case "ENFILE":
      return "End programs that have many files open (`sysctl fs.file-nr` shows how many there are)"
    case "EAGAIN":
    case "ENOMEM":
      return "End programs, or raise the limits of processes and memory (`ulimit -u` and `ulimit -v` show them)"
    case "E2BIG":
      return "Unset variables that are very long (`env` shows them)"
    case "EFBIG":
      return isRead(operation)
        ? `Move ${path} to another directory`
        : "Raise the limit of the size of a file (`ulimit -f` shows it)"
    case NOT_A_FILE:
      return `Move ${path} to another directory`
    case NOT_UTF8:
      return `Save ${path} as UTF-8 text`
    default:
      return `Make sure that ${path} and its disk are sound`
  }
}
