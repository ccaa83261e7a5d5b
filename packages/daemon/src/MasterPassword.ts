import { resolve } from "node:path"
import { NOT_UTF8 } from "@waiaas/domain/FileWords"
import { shellWord } from "@waiaas/domain/Shell"
import { DataDir } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import { Environment } from "@waiaas/services/platform/Environment"
import { Ownership } from "@waiaas/services/platform/Ownership"
import { Privilege } from "@waiaas/services/platform/Privilege"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { KeystoreLocked } from "./KeystoreErrors.ts"

const names = ["WAIAAS_MASTER_PASSWORD", "WAIAAS_MASTER_PASSWORD_FILE"] as const

/**
 * Reads the master password of this environment; none where none is set. What is set and empty, or in a file that
 * others can read, is refused: the one seals under a key file without a word, the other is known to others.
 */
export const readPassword = Effect.gen(function* () {
  const { variables, cwd } = yield* Environment
  const files = yield* DurableFile
  const { paths } = yield* DataDir
  const locked = (problem: string, remedy: string) =>
    new KeystoreLocked({ keystore: paths.keystore, problem, remedy })
  for (const name of names)
    if (variables[name]?.trim() === "")
      return yield* locked(
        `${name} is set and empty`,
        `Give ${name} its value, or unset it where a key file is wanted, then run the command again.`,
      )
  const [direct, file] = names.map((name) => variables[name])
  if (direct !== undefined && file !== undefined)
    return yield* locked(
      "WAIAAS_MASTER_PASSWORD and WAIAAS_MASTER_PASSWORD_FILE are both set",
      "Unset one of the two, then run the command again.",
    )
  // What is no UTF-8 in the environment comes here as this mark: other bytes would be the same password.
  if (direct?.includes("\uFFFD") === true)
    return yield* locked(
      "WAIAAS_MASTER_PASSWORD holds bytes that are not UTF-8 text",
      "Set it to UTF-8 text, or put the password into a file and name that in WAIAAS_MASTER_PASSWORD_FILE, then run the command again.",
    )
  if (file === undefined) return Option.fromNullable(direct)
  const path = resolve(cwd ?? "/", file)
  const text = yield* files
    .readText(path)
    .pipe(
      Effect.mapError((error) =>
        locked(
          `the file of WAIAAS_MASTER_PASSWORD_FILE cannot be read: ${error.message.replace(/\.$/, "")}`,
          error.code === NOT_UTF8
            ? `Save the password in ${path} as UTF-8 text, then run the command again.`
            : error.next,
        ),
      ),
    )
  const password = text.replace(/\r?\n$/, "")
  if (password === "")
    return yield* locked(
      `${path} is empty`,
      `Write the master password to ${path}, then run the command again.`,
    )
  if (password.startsWith("\uFEFF"))
    return yield* locked(
      `${path} begins with a byte order mark, which is not seen and would be a part of the password`,
      `Save ${path} as UTF-8 text without that mark, then run the command again.`,
    )
  yield* expectSecret(path)
  return Option.some(password)
})

/** Nobody else may read the password, nor put another one there. In a container its secrets are mounted as they are. */
const expectSecret = (path: string) =>
  Effect.gen(function* () {
    const { uid, container } = yield* Environment
    const { paths } = yield* DataDir
    const user = (yield* Privilege).taken()?.uid ?? uid
    const refuse = (problem: string, remedy: string) =>
      new KeystoreLocked({ keystore: paths.keystore, problem: `${path} ${problem}`, remedy })
    const entries = yield* (yield* Ownership)
      .entriesAt(path)
      .pipe(Effect.mapError((error) => refuse(`cannot be looked at: ${error.message}`, error.next)))
    const closed = container ? 0o022 : 0o077
    for (const { kind, mode, uid: owner } of entries) {
      if (user !== null && owner !== user && owner !== 0)
        return yield* refuse(
          `belongs to user ${owner}, who is neither you nor root`,
          "Put the master password into a file of your own, then run the command again.",
        )
      if (kind !== "link" && (mode & closed) !== 0)
        return yield* refuse(
          `can be read or written by others (mode ${(mode & 0o777).toString(8)})`,
          owner === user
            ? `chmod go= ${shellWord(path)}`
            : "Close the file for others, then run the command again.",
        )
    }
  })
