import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto"
import { join } from "node:path"
import { AgentId } from "@waiaas/domain/DaemonApi"
import { type FileFailed, KeystoreDamaged, NotInitialised } from "@waiaas/domain/DataErrors"
import { NOT_A_FILE, NOT_UTF8 } from "@waiaas/domain/FileWords"
import { agentsOfKeyFiles } from "@waiaas/domain/KeyFile"
import { keystoreLoss, type PublicKeys, publicKeysOnFile } from "@waiaas/services/KeystoreFiles"
import { DataDir, type DataPaths } from "@waiaas/services/platform/DataDir"
import { DurableFile } from "@waiaas/services/platform/DurableFile"
import type { Environment } from "@waiaas/services/platform/Environment"
import type { SealedKeys } from "@waiaas/services/SealedKeys"
import * as Array from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { KeystoreLocked } from "./KeystoreErrors.ts"
import { readPassword } from "./MasterPassword.ts"
import { deriveKey, freshKdf, Kdf, Sealed, seal, unseal } from "./Sealed.ts"

/** Shorter master passwords get a warning when a keystore is made. */
const SHORT_PASSWORD = 12

export const KeySource = Schema.Literal("password", "key-file")
export type KeySource = typeof KeySource.Type

/** `keystore/master.json`: how the data key is derived, and a known value sealed with it. */
const Master = Schema.Struct({ format: Schema.Literal(1), source: KeySource, kdf: Kdf, check: Sealed })

/** `keystore/<agent id>.json`: a private key (PKCS#8, DER), sealed. */
const KeyFile = Schema.Struct({
  format: Schema.Literal(1),
  publicKey: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/)),
  ...Sealed.fields,
})

const CHECK_CONTEXT = "waiaas-keystore-check-1"
const CHECK_VALUE = Buffer.from("the data key of this keystore")
/** Binds a sealed key to its agent: a file under another agent's name, or with another public key, does not open. */
const keyContext = (agent: string, publicKey: string) => `waiaas-agent-key-1\n${agent}\n${publicKey}`

const keystorePaths = (paths: DataPaths) => ({
  master: join(paths.keystore, "master.json"),
  keyFile: join(paths.keystore, "key"),
  agent: (id: string) => join(paths.keystore, `${id}.json`),
})

const rawPublicKey = (key: KeyObject): string =>
  // The last 32 bytes of an Ed25519 key's SPKI form are the key itself.
  key.export({ type: "spki", format: "der" }).subarray(-32).toString("hex")

type OpenError = KeystoreLocked | KeystoreDamaged | NotInitialised | FileFailed
type OpenNeeds = DataDir | DurableFile | Environment

/** The agents' private Ed25519 keys, sealed at rest; they are opened one at a time, for one signature. */
export class Keystore extends Context.Tag("@waiaas/daemon/Keystore")<
  Keystore,
  {
    readonly source: KeySource
    /** Makes a key pair and seals the private key; the file is durable when this ends. Gives the public key, 64 hex digits. */
    readonly createKey: (agent: string) => Effect.Effect<string, KeystoreDamaged | FileFailed>
    /** Ed25519 signature (64 bytes). Fails if the sealed key is not the one of `publicKey`. */
    readonly sign: (
      agent: string,
      publicKey: string,
      message: Uint8Array,
    ) => Effect.Effect<Uint8Array, KeystoreDamaged | FileFailed>
    /** Whether an agent has the file of a sealed key. */
    readonly has: (agent: string) => Effect.Effect<boolean, KeystoreDamaged | FileFailed>
    /** The sealed keys as their files have them, unopened: the public key of each agent's. */
    readonly onFile: Effect.Effect<PublicKeys, FileFailed>
  }
>() {
  /** Derives the data key once and proves it by the check value, before anything else is done. */
  static readonly layer: Layer.Layer<Keystore, OpenError, OpenNeeds> = Layer.effect(
    this,
    Effect.gen(function* () {
      const { key, source } = yield* openDataKey
      const files = yield* DurableFile
      const directory = yield* DataDir
      const { paths } = directory
      const pathOf = keystorePaths(paths).agent

      const createKey = Effect.fn("Keystore.createKey")(function* (agent: string) {
        const path = pathOf(yield* checkedId(agent))
        // Where its file system is gone, what is written in its place is lost once that comes back.
        if (!(yield* files.exists(keystorePaths(paths).master)))
          return yield* new KeystoreDamaged({
            path: paths.keystore,
            problem: "holds no master.json any more",
            missing: true,
          })
        // A key is never replaced: whatever made the id clash, the old key may own something.
        if (yield* files.exists(path)) return yield* new KeystoreDamaged({ path, problem: "exists already" })
        const pair = generateKeyPairSync("ed25519")
        const publicKey = rawPublicKey(pair.publicKey)
        const plain = pair.privateKey.export({ type: "pkcs8", format: "der" })
        const sealed = seal(key, plain, keyContext(agent, publicKey))
        plain.fill(0)
        yield* files.write(path, `${JSON.stringify({ format: 1, publicKey, ...sealed })}\n`, 0o600)
        return publicKey
      }, Effect.uninterruptible)

      const signWith = Effect.fn("Keystore.sign")(function* (
        agent: string,
        publicKey: string,
        message: Uint8Array,
      ) {
        const path = pathOf(yield* checkedId(agent))
        const text = yield* asKeyText(path, files.readTextIfThere(path))
        if (Option.isNone(text)) return yield* new KeystoreDamaged({ path, problem: "does not exist" })
        const { used } = yield* openSealed(
          { dataKey: key, path, agent, text: text.value, publicKey },
          (privateKey) => sign(null, message, privateKey),
        )
        return used
      })

      const onFile = publicKeysOnFile.pipe(
        Effect.provideService(DataDir, directory),
        Effect.provideService(DurableFile, files),
      )

      const has = (agent: string) => Effect.flatMap(checkedId(agent), (id) => files.exists(pathOf(id)))

      return { source, createKey, sign: signWith, has, onFile }
    }),
  )

  /** Whether there is one. It is the first init's last irreplaceable part. */
  static readonly exists: Effect.Effect<boolean, FileFailed, DataDir | DurableFile> = Effect.gen(
    function* () {
      const { paths } = yield* DataDir
      return yield* (yield* DurableFile).exists(keystorePaths(paths).master)
    },
  ).pipe(Effect.withSpan("Keystore.exists"))

  /**
   * Whether the keystore opens from this environment, and which of its sealed keys do: derives once, opens each,
   * and forgets.
   */
  static readonly proveKeys: Effect.Effect<SealedKeys, OpenError, OpenNeeds> = Effect.gen(function* () {
    const { key } = yield* openDataKey
    return yield* Effect.gen(function* () {
      const files = yield* DurableFile
      const { paths } = yield* DataDir
      const proved = yield* Effect.forEach(
        yield* sealedAgents,
        (agent) =>
          Effect.gen(function* () {
            const path = keystorePaths(paths).agent(agent)
            const text = yield* asKeyText(path, files.readText(path))
            const { publicKey } = yield* openSealed(
              { dataKey: key, path, agent, text, publicKey: null },
              () => undefined,
            )
            return { agent, publicKey }
          }).pipe(
            // What cannot be read for another reason, such as an error of the disk, may open the next time.
            Effect.catchTag("KeystoreDamaged", () => Effect.succeed({ agent, publicKey: null })),
          ),
        // Reading one is mostly waiting, and the daemon is down.
        { concurrency: 16 },
      )
      const [damaged, open] = Array.partitionMap(proved, ({ agent, publicKey }) =>
        publicKey === null ? Either.left(agent) : Either.right({ agent, publicKey }),
      )
      return { open, damaged }
    }).pipe(Effect.ensuring(Effect.sync(() => key.fill(0))))
  }).pipe(Effect.withSpan("Keystore.proveKeys"))

  /**
   * What opens it, as its master file says, without opening it. None where there is no such file, or none that can
   * be read.
   */
  static readonly sourceOf: Effect.Effect<Option.Option<KeySource>, FileFailed, DataDir | DurableFile> =
    Effect.gen(function* () {
      const { paths } = yield* DataDir
      const text = yield* (yield* DurableFile).readAnyTextIfThere(keystorePaths(paths).master)
      return Option.map(
        Option.flatMap(text, Schema.decodeUnknownOption(Schema.parseJson(Master))),
        ({ source }) => source,
      )
    }).pipe(Effect.withSpan("Keystore.sourceOf"))

  /** Fails where `initialise` would, before anything is made: a lost keystore, or a password that cannot be used. */
  static readonly expectMakeable: Effect.Effect<void, OpenError, OpenNeeds> = Effect.gen(function* () {
    if (yield* Keystore.exists) return void (yield* openDataKey)
    yield* expectNotLost
    yield* readPassword
  }).pipe(Effect.withSpan("Keystore.expectMakeable"))

  /**
   * Creates an empty keystore, under the master password where one is set, else under a random key
   * file. An existing one is opened instead, and left as it is. Gives what opens it.
   */
  static readonly initialise: Effect.Effect<KeySource, OpenError, OpenNeeds> = Effect.gen(function* () {
    const files = yield* DurableFile
    const { paths } = yield* DataDir
    const { master, keyFile } = keystorePaths(paths)
    if (yield* files.exists(master)) return (yield* openDataKey).source
    yield* expectNotLost
    const password = yield* readPassword
    if (Option.isSome(password) && [...password.value].length < SHORT_PASSWORD)
      yield* Effect.logWarning(
        `the master password has fewer than ${SHORT_PASSWORD} characters: who gets a copy of the keystore tries short ones first`,
      )
    yield* files.makeDirectory(paths.keystore)
    const source: KeySource = Option.isSome(password) ? "password" : "key-file"
    const secret = Option.getOrElse(password, () => randomBytes(32).toString("hex"))
    if (source === "key-file") yield* files.write(keyFile, `${secret}\n`, 0o600)
    const kdf = freshKdf()
    const key = yield* deriveKey(secret, kdf)
    const check = seal(key, CHECK_VALUE, CHECK_CONTEXT)
    key.fill(0)
    yield* files.write(master, `${JSON.stringify({ format: 1, source, kdf, check })}\n`, 0o600)
    return source
  }).pipe(Effect.uninterruptible, Effect.withSpan("Keystore.initialise"))
}

/** A file name is made of it: nothing but a UUID gets there. */
const checkedId = (agent: string) =>
  Schema.decodeUnknown(AgentId)(agent).pipe(
    Effect.mapError(
      () => new KeystoreDamaged({ path: JSON.stringify(agent), problem: "is not the id of an agent" }),
    ),
  )

/** What is in the place of a file of the keystore and can be none of it. */
const odd: Readonly<Record<string, string>> = {
  [NOT_UTF8]: "holds bytes that are not text",
  [NOT_A_FILE]: "is not a file",
  EISDIR: "is a directory",
  EFBIG: "is too large for a file of the keystore",
  ENOENT: "is a link to nothing",
  ELOOP: "is a link to nothing",
}

/** The text of a file of the keystore; damage where it is none. */
const asKeyText = <A, R>(path: string, read: Effect.Effect<A, FileFailed, R>) =>
  Effect.mapError(read, (error) => {
    const problem = odd[error.code]
    return problem === undefined ? error : new KeystoreDamaged({ path, problem })
  })

/** Ids of the agents that have a sealed key. */
const sealedAgents = Effect.gen(function* () {
  const { paths } = yield* DataDir
  const names = yield* (yield* DurableFile).list(paths.keystore)
  return agentsOfKeyFiles(names)
})

interface SealedFile {
  readonly dataKey: Buffer
  readonly path: string
  readonly agent: string
  /** What the file holds. */
  readonly text: string
  /** The one that it must be of; null where its own word is taken. */
  readonly publicKey: string | null
}

/** Opens one sealed key for as long as `use` takes; what was opened is wiped. */
const openSealed = <A>(
  { dataKey, path, agent, text, publicKey }: SealedFile,
  use: (privateKey: KeyObject) => A,
): Effect.Effect<{ readonly used: A; readonly publicKey: string }, KeystoreDamaged> =>
  Effect.gen(function* () {
    const damaged = (problem: string) => new KeystoreDamaged({ path, problem })
    const file = Schema.decodeUnknownOption(Schema.parseJson(KeyFile))(text)
    if (Option.isNone(file)) return yield* damaged("is not a sealed key")
    const wanted = publicKey ?? file.value.publicKey
    if (file.value.publicKey !== wanted) return yield* damaged("is the key of another agent")
    const plain = unseal(dataKey, file.value, keyContext(agent, wanted))
    if (Option.isNone(plain)) return yield* damaged("was changed, or is not of this keystore")
    const used = yield* Effect.try({
      try: () => {
        const privateKey = createPrivateKey({ key: plain.value, format: "der", type: "pkcs8" })
        return rawPublicKey(createPublicKey(privateKey)) === wanted
          ? Option.some(use(privateKey))
          : Option.none()
      },
      catch: () => damaged("does not hold a private key"),
    }).pipe(Effect.ensuring(Effect.sync(() => plain.value.fill(0))))
    return Option.isSome(used)
      ? { used: used.value, publicKey: wanted }
      : yield* damaged("does not hold the private key of its public key")
  })

/** One that was made and is gone must not get a successor: that would never open the keys of the agents. */
const expectNotLost = Effect.flatMap(
  keystoreLoss,
  Option.match({ onNone: () => Effect.void, onSome: Effect.fail }),
)

const openDataKey: Effect.Effect<{ readonly key: Buffer; readonly source: KeySource }, OpenError, OpenNeeds> =
  Effect.gen(function* () {
    const files = yield* DurableFile
    const { paths } = yield* DataDir
    const { master, keyFile } = keystorePaths(paths)
    const text = yield* asKeyText(master, files.readTextIfThere(master))
    if (Option.isNone(text)) {
      yield* expectNotLost
      // An init makes the configuration last: where it is, with data, there was a keystore, even if the token is gone as well.
      const { config, data, logs, backups } = paths
      const left = yield* Effect.forEach([data, logs, backups], (each) => files.list(each))
      if ((yield* files.exists(config)) && left.flat().length > 0)
        return yield* new KeystoreDamaged({
          path: paths.keystore,
          problem: (yield* files.isDirectory(paths.keystore)) ? "holds no master.json" : "does not exist",
          missing: true,
        })
      return yield* new NotInitialised({ dataDir: paths.root })
    }
    const decoded = Schema.decodeUnknownOption(Schema.parseJson(Master))(text.value)
    if (Option.isNone(decoded))
      return yield* new KeystoreDamaged({ path: master, problem: "is not a master file of format 1" })
    const { source, kdf, check } = decoded.value
    const locked = (problem: string) =>
      new KeystoreLocked({
        keystore: paths.keystore,
        problem,
        remedy:
          "Set WAIAAS_MASTER_PASSWORD, or WAIAAS_MASTER_PASSWORD_FILE to a file that holds it, to the password of `waiaas init`, then run the command again.",
      })
    const secret = yield* Effect.gen(function* () {
      const password = yield* readPassword
      if (source === "password")
        return Option.isSome(password)
          ? password.value
          : yield* locked("it needs the master password, and none is set")
      if (Option.isSome(password))
        yield* Effect.logWarning(
          `A master password is set, but the keystore is under its key file ${keyFile}.`,
        )
      const key = yield* asKeyText(keyFile, files.readTextIfThere(keyFile))
      return Option.isSome(key)
        ? key.value.trim()
        : yield* new KeystoreDamaged({ path: keyFile, problem: "does not exist", missing: true })
    })
    const key = yield* deriveKey(secret, kdf)
    const opened = unseal(key, check, CHECK_CONTEXT)
    if (Option.isSome(opened) && opened.value.equals(CHECK_VALUE)) return { key, source }
    return yield* source === "password"
      ? locked("the master password is wrong")
      : new KeystoreDamaged({ path: keyFile, problem: "is not the key of this keystore" })
  })
