import { strict as assert } from "node:assert"
import { createPublicKey, verify } from "node:crypto"
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Keystore } from "../src/Keystore.ts"
import { initialise, layerPlatform, temporaryDirectory, type Variables } from "./support.ts"

const alice = "11111111-1111-4111-8111-111111111111"
const bob = "22222222-2222-4222-8222-222222222222"
const password = { WAIAAS_MASTER_PASSWORD: "correct horse" }
const message = Buffer.from("pay 1 SOL to bob")

const withKeystore = <A, E>(
  root: string,
  variables: Variables,
  use: (keystore: Keystore["Type"]) => Effect.Effect<A, E>,
) =>
  Effect.flatMap(Keystore, use).pipe(
    Effect.provide(Keystore.layer),
    Effect.scoped,
    Effect.provide(layerPlatform(root, variables)),
  )
const passwordFile = (root: string, content: string | Buffer): string => {
  const file = join(root, "password")
  writeFileSync(file, content, { mode: 0o600 })
  return file
}
const check = (root: string, variables: Variables) =>
  Effect.flip(Keystore.proveKeys).pipe(Effect.provide(layerPlatform(root, variables)))

const verifies = (publicKey: string, signature: Uint8Array) => {
  const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(publicKey, "hex")])
  return verify(null, message, createPublicKey({ key: spki, format: "der", type: "spki" }), signature)
}

for (const [title, variables] of [
  ["a master password", password],
  ["a key file", {}],
] as const)
  it.scopedLive(`a key sealed under ${title} signs after the keystore was closed and opened again`, () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      yield* initialise(root, variables)
      const publicKey = yield* withKeystore(root, variables, (keystore) => keystore.createKey(alice))
      const signature = yield* withKeystore(root, variables, (keystore) =>
        keystore.sign(alice, publicKey, message),
      )
      assert.equal(signature.length, 64)
      assert.ok(verifies(publicKey, signature))
      yield* Keystore.proveKeys.pipe(Effect.provide(layerPlatform(root, variables)))
      for (const name of readdirSync(join(root, "keystore")))
        assert.equal(statSync(join(root, "keystore", name)).mode & 0o777, 0o600, name)
      assert.equal(readdirSync(join(root, "keystore")).includes("key"), variables !== password)
    }),
  )

it.scopedLive("the private key is nowhere in the keystore in the clear", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root, password)
    yield* withKeystore(root, password, (keystore) => keystore.createKey(alice))
    const text = readFileSync(join(root, "keystore", `${alice}.json`), "latin1")
    // Every PKCS#8 form of an Ed25519 key begins like this.
    assert.ok(!text.includes("302e020100300506032b6570"))
    assert.deepEqual(Object.keys(JSON.parse(text)), ["format", "publicKey", "nonce", "tag", "ciphertext"])
  }),
)

it.scopedLive(
  "a wrong, a missing and an ambiguous master password are refused, and the message says what to set",
  () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      yield* initialise(root, password)
      for (const [variables, problem] of [
        [{ WAIAAS_MASTER_PASSWORD: "wrong horse" }, /password is wrong/],
        [{}, /none is set/],
        [{ WAIAAS_MASTER_PASSWORD: "" }, /is set and empty/],
        [{ WAIAAS_MASTER_PASSWORD_FILE: "" }, /is set and empty/],
        [{ ...password, WAIAAS_MASTER_PASSWORD_FILE: "/x" }, /both set/],
        [{ WAIAAS_MASTER_PASSWORD_FILE: "/does/not/exist" }, /cannot be read/],
      ] as const) {
        const error = yield* check(root, variables)
        assert.equal(error._tag, "KeystoreLocked")
        assert.match(error.message, problem)
        assert.ok(!error.message.includes("horse"))
        assert.ok(error.next.length > 0)
      }
      const layerError = yield* Effect.flip(withKeystore(root, {}, () => Effect.void))
      assert.equal(layerError._tag, "KeystoreLocked")
      assert.match(layerError.next, /WAIAAS_MASTER_PASSWORD/)
    }),
)

it.scopedLive("the password file counts without its last newline", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root, password)
    const file = join(root, "password")
    writeFileSync(file, "correct horse\n", { mode: 0o600 })
    yield* Keystore.proveKeys.pipe(Effect.provide(layerPlatform(root, { WAIAAS_MASTER_PASSWORD_FILE: file })))
    writeFileSync(file, "\n")
    assert.match((yield* check(root, { WAIAAS_MASTER_PASSWORD_FILE: file })).message, /is empty/)
  }),
)

it.scopedLive(
  "a password or a key that is not UTF-8 text is refused, so that two files never open one keystore",
  () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      // What bytes that are not UTF-8 are read as elsewhere.
      yield* initialise(root, { WAIAAS_MASTER_PASSWORD_FILE: passwordFile(root, "pass\uFFFD word") })
      for (const [bytes, problem] of [
        [Buffer.from("pass\xff word", "latin1"), /not UTF-8 text/],
        [Buffer.from("pass\xfe word", "latin1"), /not UTF-8 text/],
        ["\uFEFFpass\uFFFD word", /byte order mark/],
      ] as const) {
        const error = yield* check(root, { WAIAAS_MASTER_PASSWORD_FILE: passwordFile(root, bytes) })
        assert.equal(error._tag, "KeystoreLocked")
        assert.match(error.message, problem)
        assert.match(error.next, /as UTF-8 text/)
      }
      const direct = yield* check(root, { WAIAAS_MASTER_PASSWORD: "pass\uFFFD word" })
      assert.match(direct.message, /WAIAAS_MASTER_PASSWORD holds bytes that are not UTF-8/)
      const other = yield* temporaryDirectory
      yield* initialise(other)
      for (const name of ["key", "master.json"]) {
        const path = join(other, "keystore", name)
        const whole = readFileSync(path)
        writeFileSync(path, Buffer.concat([whole, Buffer.from([0xff])]))
        assert.equal((yield* check(other, {}))._tag, "KeystoreDamaged", name)
        writeFileSync(path, whole)
      }
    }),
)

it.scopedLive("every changed part of a sealed file is detected", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root)
    const path = join(root, "keystore", `${alice}.json`)
    const publicKey = yield* withKeystore(root, {}, (keystore) => keystore.createKey(alice))
    const whole = JSON.parse(readFileSync(path, "utf8"))
    const flip = (hex: string) => (hex[0] === "0" ? "1" : "0") + hex.slice(1)
    for (const part of ["publicKey", "nonce", "tag", "ciphertext"]) {
      const changed = { ...whole, [part]: flip(whole[part]) }
      writeFileSync(path, JSON.stringify(changed))
      const wanted = part === "publicKey" ? changed.publicKey : publicKey
      const error = yield* Effect.flip(
        withKeystore(root, {}, (keystore) => keystore.sign(alice, wanted, message)),
      )
      assert.equal(error._tag, "KeystoreDamaged", part)
      assert.match(error.message, /was changed, or/, part)
    }
    for (const text of ["", "{", "{}", JSON.stringify({ ...whole, tag: whole.tag.slice(0, 8) })]) {
      writeFileSync(path, text)
      const error = yield* Effect.flip(
        withKeystore(root, {}, (keystore) => keystore.sign(alice, publicKey, message)),
      )
      assert.match(error.message, /is not a sealed key/)
    }
  }),
)

it.scopedLive("a sealed key does not open under another agent's name, nor with another public key", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root)
    const [a, b] = yield* withKeystore(root, {}, (keystore) =>
      Effect.all([keystore.createKey(alice), keystore.createKey(bob)]),
    )
    const fails = (publicKey: string) =>
      Effect.flip(withKeystore(root, {}, (keystore) => keystore.sign(bob, publicKey, message)))
    assert.match((yield* fails(a)).message, /key of another agent/)
    renameSync(join(root, "keystore", `${alice}.json`), join(root, "keystore", `${bob}.json`))
    assert.match((yield* fails(b)).message, /key of another agent/)
    assert.match((yield* fails(a)).message, /was changed, or/)
  }),
)

const proved = (root: string) => Keystore.proveKeys.pipe(Effect.provide(layerPlatform(root)))

it.scopedLive(
  "every sealed key is proved to open: one of a flipped byte, in another's place, or none at all is named by its id",
  () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      yield* initialise(root)
      assert.deepEqual(yield* proved(root), { open: [], damaged: [] })
      const [aliceKey, bobKey] = yield* withKeystore(root, {}, (keystore) =>
        Effect.all([keystore.createKey(alice), keystore.createKey(bob)]),
      )
      const open = [{ agent: alice, publicKey: aliceKey }]
      const [a, b] = [alice, bob].map((id) => join(root, "keystore", `${id}.json`)) as [string, string]
      writeFileSync(`${b}.tmp`, "no key of anybody")
      const both = yield* proved(root)
      assert.deepEqual(both.damaged, [])
      assert.deepEqual(
        new Map(both.open.map(({ agent, publicKey }) => [agent, publicKey])),
        new Map([
          [alice, aliceKey],
          [bob, bobKey],
        ]),
      )
      const whole = readFileSync(b, "utf8")
      const at = whole.indexOf('"ciphertext":"') + 20
      for (const text of [
        `${whole.slice(0, at)}${whole[at] === "0" ? "1" : "0"}${whole.slice(at + 1)}`,
        readFileSync(a, "utf8"),
        "",
        "{}",
        Buffer.from([0xff, 0xfe]),
      ]) {
        writeFileSync(b, text)
        assert.deepEqual(yield* proved(root), { open, damaged: [bob] })
      }
      // In other letters an id is another one.
      const carol = "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
      yield* withKeystore(root, {}, ({ createKey }) => createKey(carol))
      const other = join(root, "keystore", `${carol.toUpperCase()}.json`)
      renameSync(join(root, "keystore", `${carol}.json`), other)
      rmSync(b)
      assert.deepEqual(yield* proved(root), { open, damaged: [carol.toUpperCase()] })
      rmSync(other)
      mkdirSync(b)
      assert.deepEqual(yield* proved(root), { open, damaged: [bob] })
      rmdirSync(b)
      symlinkSync("/nowhere", b)
      assert.deepEqual(yield* proved(root), { open, damaged: [bob] })
    }),
)

it.scopedLive("an id that is no UUID reaches no file", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root)
    for (const id of ["../../etc/passwd", "master", ""]) {
      const error = yield* Effect.flip(withKeystore(root, {}, (keystore) => keystore.createKey(id)))
      assert.match(error.message, /is not the id of an agent/)
    }
  }),
)

it.scopedLive("a key is never replaced", () =>
  Effect.gen(function* () {
    const root = yield* temporaryDirectory
    yield* initialise(root)
    const publicKey = yield* withKeystore(root, {}, (keystore) => keystore.createKey(alice))
    const error = yield* Effect.flip(withKeystore(root, {}, (keystore) => keystore.createKey(alice)))
    assert.match(error.message, /exists already/)
    yield* withKeystore(root, {}, (keystore) => keystore.sign(alice, publicKey, message))
  }),
)

it.scopedLive(
  "a second initialise changes nothing; sealed keys without their master file get no new one",
  () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      const master = join(root, "keystore", "master.json")
      yield* initialise(root)
      const before = readFileSync(master, "utf8")
      yield* initialise(root)
      assert.equal(readFileSync(master, "utf8"), before)
      yield* withKeystore(root, {}, (keystore) => keystore.createKey(alice))
      rmSync(master)
      const error = yield* Effect.flip(initialise(root))
      assert.equal(error._tag, "KeystoreDamaged")
      assert.match(error.message, /1 sealed key need/)
      assert.equal((yield* check(root, {}))._tag, "KeystoreDamaged")
    }),
)

it.scopedLive(
  "a data directory without a keystore is not initialised; a lost or foreign key file is damage",
  () =>
    Effect.gen(function* () {
      const root = yield* temporaryDirectory
      assert.equal((yield* check(root, {}))._tag, "NotInitialised")
      yield* initialise(root)
      // Token and keystore gone together are no data directory that was never initialised: an init would make another keystore.
      renameSync(join(root, "keystore"), join(root, "away"))
      rmSync(join(root, "api.token"), { force: true })
      writeFileSync(join(root, "config.toml"), "")
      mkdirSync(join(root, "logs"), { recursive: true })
      writeFileSync(join(root, "logs", "daemon.log"), "")
      const lost = yield* check(root, {})
      assert.equal(lost._tag, "KeystoreDamaged")
      assert.match(lost.message, /keystore does not exist/)
      rmSync(join(root, "config.toml"))
      renameSync(join(root, "away"), join(root, "keystore"))
      writeFileSync(join(root, "keystore", "key"), `${"0".repeat(64)}\n`)
      assert.match((yield* check(root, {})).message, /is not the key of this keystore/)
      rmSync(join(root, "keystore", "key"))
      assert.match((yield* check(root, {})).message, /does not exist/)
      writeFileSync(join(root, "keystore", "master.json"), '{"format":1,"kdf":{"N":1e9}}')
      assert.match((yield* check(root, {})).message, /not a master file/)
    }),
)
